# Print, as "key: value", the version of Python, and the name and release of the project from its metadata.
shopt -s nullglob
lib=$(find / "$PWD" -xdev -type d -name _pytest -not -path '/usr/lib/*' -printf '%h\n' 2>/dev/null | LC_ALL=C sort | head -n 1)
[ -z "$lib" ] || export PATH=${lib%/lib*/python*}/bin:$PATH
[ -z "$lib" ] || python3 --version | sed 's/^Python /python: /'
for url in "${lib:-/nothing}"/*.dist-info/direct_url.json; do
    grep -q "file://$PWD[\"/]" "$url" && linked=${url%/*}/METADATA
done
for data in $linked *.egg-info/PKG-INFO src/*.egg-info/PKG-INFO; do
    sed -En '/^$/q; s/^Name: /project: /p; s/^Version: ([1-9][0-9]*(\.[0-9]+)+|0(\.[0-9]+)*\.[1-9][0-9]*)$/release: \1/p' "$data"
    break
done
