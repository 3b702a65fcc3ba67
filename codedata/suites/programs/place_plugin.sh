# Place the plugin FOLDER/pytest_NAME.py next to each pytest of the file system as codedata_NAME, so that an unchanged test
# script loads it, whatever interpreter it calls. Exit with 1 if there is no pytest, or if the plugin cannot be written.
#   bash place_plugin.sh FOLDER NAME           places it
#   bash place_plugin.sh FOLDER NAME remove    removes it again
folder=$1 name=codedata_$2
places() { find / "$PWD" -xdev -type d -name _pytest -printf '%h\0' 2>/dev/null | sort -zu; }
if [ "${3:-}" = remove ]; then
    places | while IFS= read -r -d '' place; do
        rm -rf "$place/$name.py" "$place/$name-1.dist-info" "$place"/__pycache__/"$name".*
    done
    exit 0
fi
chmod 777 "$folder"   # tests may run as another user
found=1
while IFS= read -r -d '' place; do
    about=$place/$name-1.dist-info
    cp "$folder/pytest_$2.py" "$place/$name.py" && mkdir -p "$about" &&
        printf 'Metadata-Version: 2.1\nName: codedata-%s\nVersion: 1\n' "$2" >"$about/METADATA" &&
        printf '[pytest11]\n%s = %s\n' $name $name >"$about/entry_points.txt" || exit 1
    found=0
done < <(places)
exit $found
