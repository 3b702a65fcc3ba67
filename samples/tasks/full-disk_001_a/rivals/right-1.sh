#!/bin/bash
# find and awk do the counting, bash the policy
set -e
cat > /app/reclaim <<'END_OF_PROGRAM'
#!/bin/bash
set -uo pipefail
export LC_ALL=C
need=$2 apply=${3:-}
cd -- "$1" || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

is_date() {
    [[ $1 =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}$ ]] && [[ $(date -u -d "$1" +%F 2>/dev/null) == "$1" ]]
}

rests=() snapshots=()
for name in .removing-* [0-9]*; do
    [[ -d $name && ! -L $name ]] || continue
    if [[ $name == .removing-* ]]; then
        is_date "${name#.removing-}" && rests+=("$name")
    else
        is_date "$name" && snapshots+=("$name")
    fi
done

last=3 monthly=6
declare -A stays=()
if [[ -f reclaim.conf ]]; then
    while read -r line || [[ -n $line ]]; do
        [[ -z $line || $line == \#* ]] && continue
        read -r key <<< "${line%%=*}"
        read -r value <<< "${line#*=}"
        case $key in
            keep_last) last=$value ;;
            keep_monthly) monthly=$value ;;
            pin) stays[$value]=1 ;;
        esac
    done < reclaim.conf
fi
month=
for ((i = ${#snapshots[@]} - 1, seen = 0; i >= 0; i--)); do
    name=${snapshots[i]}
    (( ${#snapshots[@]} - i <= last )) && stays[$name]=1
    if [[ ${name%-*} != "$month" ]]; then
        month=${name%-*}
        (( seen++ < monthly )) && stays[$name]=1
    fi
done

folders=("${rests[@]}")
for name in "${snapshots[@]}"; do
    [[ ${stays[$name]:-} ]] || folders+=("$name")
done

stat -L -c 'H %d:%i' /proc/[0-9]*/fd/* > "$work/facts" 2>/dev/null
for i in "${!folders[@]}"; do
    echo "N $i ${folders[i]}"
    find "./${folders[i]}" -type f -printf "F $i %D:%i %n %b\n"
done >> "$work/facts"

awk -v need="$need" -v rests="${#rests[@]}" '
    $1 == "H" { held[$2] = 1 }
    $1 == "N" { name[$2] = $3; count = $2 + 1 }
    $1 == "F" { n = ++files[$2]; file[$2, n] = $3; left[$3] = $4; size[$3] = ($3 in held) ? 0 : $5 * 512 }
    function take(i,   n, f, gain) {
        for (n = 1; n <= files[i]; n++) { f = file[i, n]; if (--left[f] == 0) gain += size[f] }
        freed += gain
        return gain + 0
    }
    function back(i,   n, f) {
        for (n = 1; n <= files[i]; n++) { f = file[i, n]; if (left[f]++ == 0) freed -= size[f] }
    }
    END {
        freed = 0
        for (i = 0; i < count && (i < rests || freed < need + 0); i++) { take(i); chosen[i] = 1 }
        if (freed < need + 0) exit 3
        while (--i >= rests) {
            back(i)
            if (freed >= need + 0) delete chosen[i]; else take(i)
        }
        for (i = 0; i < count; i++) if (i in chosen) back(i)
        for (i = 0; i < count; i++) if (i in chosen) printf "%s %.0f\n", name[i], take(i)
        printf "total %.0f\n", freed
    }' "$work/facts" > "$work/plan"
if (( $? != 0 )); then
    echo "reclaim: $need bytes cannot be freed" >&2
    exit 3
fi
cat "$work/plan"
[[ $apply == --apply ]] || exit 0
sed '$d' "$work/plan" | while read -r name _; do
    if [[ $name != .removing-* ]]; then
        mv -T -- "$name" ".removing-$name"
        name=.removing-$name
    fi
    find "./$name" -type d ! -perm -u=wx -exec chmod u+wx {} +
    rm -rf -- "./$name"
done
END_OF_PROGRAM
chmod +x /app/reclaim
