# Copy the files that git tracks in FOLDER (all files if it is no repository) to TO, without links that lead out of FOLDER.
#   bash copy_source.sh FOLDER TO
set -euo pipefail
cd -P "$1"
mkdir -p "$2"
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
if [ -e .git ]; then git ls-files -z; else find . \( -type f -o -type l \) -printf '%P\0'; fi |
    while IFS= read -r -d '' file; do
        if [ -L "$file" ]; then
            target=$(readlink -- "$file")
            case $target in /* | *[!./]*/../*) continue ;; esac
            case $(realpath -ms -- "/-/$file/../$target") in /-/*) ;; *) continue ;; esac   # it leaves FOLDER and comes back by its name
            case $(realpath -m -- "$file") in "$PWD"/*) ;; *) continue ;; esac
        elif [ ! -f "$file" ]; then
            continue
        fi
        printf '%s\0' "$file"
    done | tar -cf - --null --no-recursion -T - | tar -xf - -C "$2"
