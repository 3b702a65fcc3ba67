# List the paths that differ between FOLDER and CLEAN, a copy of it, in TO/paths, with a NUL after each; copy those that are
# ordinary files, new ones too, to TO/files. Leave out Python's bytecode, and new hidden files, such as caches.
#   bash changed_files.sh FOLDER CLEAN TO
set -euo pipefail
export LC_ALL=C
clean=$2 to=$3
rm -rf "$to"
mkdir -p "$to/files"
cd -P "$1"

list() {
    cd -P "$1"
    find . -name __pycache__ -prune -o -type f -print0 | xargs -0r sha256sum -z --
    find . -name __pycache__ -prune -o -type l -printf 'link  %p\0'
}
list "$clean" | sort -z >"$to/before"
list . | sort -z | comm -z -3 "$to/before" - | sed -z 's/^\t//; s/^[^ ]*  \.\///' | sort -zu >"$to/all"
while IFS= read -r -d '' path; do
    case /$path in */.*) [ -e "$clean/$path" ] || continue ;; esac
    printf '%s\0' "$path"
    [ -f "$path" ] && [ ! -L "$path" ] && [ ! -L "$clean/$path" ] || continue
    cp --parents -- "$path" "$to/files/"
done <"$to/all" >"$to/paths"
rm "$to/before" "$to/all"
