# Print a line for each place in the file system, other than REPOSITORY, where a history may be.
#   bash find_history.sh REPOSITORY COMMIT
cd "$1" || exit 1
base=$2
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'   # tests may run as another user
# bare repositories among the files of the source, or of dependencies, count only if they have this history
first=$(git rev-list --max-parents=0 "$base" | head -1)
find / -xdev \( -path /proc -o -path /sys -o -path "$PWD/.git" \) -prune -o -name HEAD -type f -printf '%h\n' 2>/dev/null | while read -r place; do
    [ -d "$place/objects" ] && [ -d "$place/refs" ] && [ "${place##*/}" != .git ] || continue
    case $place in
        "$PWD"/* | */.cargo/* | */.cache/* | */pkg/mod/cache/*)
            git --git-dir="$place" cat-file -e "$base" 2>/dev/null || git --git-dir="$place" cat-file -e "$first" 2>/dev/null || continue ;;
    esac
    echo "another repository: $place"
done
find / -xdev \( -path /proc -o -path /sys \) -prune -o -type f -name '*.bundle' -print 2>/dev/null | head -1000 | while read -r file; do
    head -c 20 "$file" 2>/dev/null | grep -q '^# v[0-9]* git bundle' && echo "a bundle of a repository: $file"
done
find / -xdev \( -path /proc -o -path /sys \) -prune -o -name .git -not -path "$PWD/.git" -printf 'another repository: %p\n' 2>/dev/null | head -5
exit 0
