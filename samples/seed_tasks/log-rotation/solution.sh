#!/bin/bash
set -euo pipefail
cat > /app/rotate.sh <<'END'
#!/bin/bash
set -euo pipefail
cd -- "$1"
keep=$2
for log in ./*.log; do
    [ -s "$log" ] || continue
    for old in "$log".*; do
        number=${old#"$log".}
        number=${number%.gz}
        [[ $number =~ ^[0-9]+$ ]] && [ "$number" -ge "$keep" ] && rm -- "$old"
    done
    for ((number = keep - 1; number >= 2; number--)); do
        [ ! -e "$log.$number.gz" ] || mv -- "$log.$number.gz" "$log.$((number + 1)).gz"
    done
    if [ -e "$log.1" ]; then
        gzip -c -- "$log.1" >"$log.2.gz"
        rm -- "$log.1"
    fi
    mode=$(stat -c %a -- "$log")
    mv -- "$log" "$log.1"
    : >"$log"
    chmod "$mode" -- "$log"
done
END
chmod +x /app/rotate.sh
