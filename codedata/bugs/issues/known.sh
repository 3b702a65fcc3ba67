# Print what a user of the project knows of it, as "key: value": its name, release and summary from its metadata, the Python, and
# the first sentence of the docstring of each function whose name occurs once, as "does NAME: sentence".
shopt -s nullglob
lib=$(find / "$PWD" -xdev -type d -name _pytest -not -path '/usr/lib/*' -printf '%h\n' 2>/dev/null | LC_ALL=C sort | head -n 1)
[ -z "$lib" ] || export PATH=${lib%/lib*/python*}/bin:$PATH
[ -z "$lib" ] || python3 --version | sed 's/^Python /python: /'
for url in "${lib:-/nothing}"/*.dist-info/direct_url.json; do
    grep -q "file://$PWD[\"/]" "$url" && linked=${url%/*}/METADATA
done
for data in $linked *.egg-info/PKG-INFO src/*.egg-info/PKG-INFO; do
    sed -En '/^$/q; s/^Name: /project: /p; s/^Version: ([1-9][0-9]*(\.[0-9]+)+|0(\.[0-9]+)*\.[1-9][0-9]*)$/release: \1/p
             s/^Summary: ([^`]{10,120}[^.`])\.?$/summary: \1/p' "$data"
    break
done
find . -name '*.py' -not -path '*/test*' -size -500k -exec cat {} + | awk '
    /^[ \t]*(def|class) / {
        name = $2; sub(/[^A-Za-z0-9_].*/, "", name); n[name]++
        is_next = /:[ \t]*$/; next
    }
    is_next && /^[ \t]*[rR]?"""[A-Z]/ {
        text = $0; sub(/^[ \t]*[rR]?"""/, "", text)
        if (match(text, /\.( |"""|$)/)) text = substr(text, 1, RSTART)
        else if (!sub(/[ \t]*""".*/, "", text)) text = ""
        if (text !~ /`/ && length(text) > 15 && length(text) < 140) does[name] = text
    }
    { is_next = 0 }
    END { for (name in does) if (n[name] == 1) print "does " name ": " does[name] }'
