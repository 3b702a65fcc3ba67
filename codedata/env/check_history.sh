# What of a history beside that of one commit a repository holds, a line each; nothing where there is none.
#   bash check_history.sh REPOSITORY COMMIT
cd "$1" || exit 1
base=$2
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'   # tests may run as another user
[ "$(git rev-parse HEAD)" = "$base" ] || echo "HEAD is not at $base"
git for-each-ref --format='%(refname)' | while read -r ref; do
    git merge-base --is-ancestor "$ref" "$base" 2>/dev/null || echo "$ref leads past it"
done
git reflog --all --format=%H 2>/dev/null | sort -u | while read -r commit; do
    git merge-base --is-ancestor "$commit" "$base" 2>/dev/null || echo "the reflog names $commit"
done
git remote | sed 's/^/a remote: /'
[ ! -s .git/objects/info/alternates ] || echo "objects are taken from elsewhere: $(head -1 .git/objects/info/alternates)"
find .git -maxdepth 1 -name '?*_HEAD' -printf 'left over: .git/%f\n'
[ ! -d .git/modules ] || echo "repositories of submodules"
all=$(mktemp) reached=$(mktemp)
git cat-file --batch-all-objects --unordered --batch-check='%(objecttype) %(objectname)' | grep -E '^(commit|tag)' | cut -d' ' -f2 | sort -u >"$all"
{ git rev-list --all; git for-each-ref --format='%(objecttype) %(objectname)' | grep ^tag | cut -d' ' -f2; } | sort -u >"$reached"
comm -23 "$all" "$reached" | head -5 | sed 's/^/a commit that nothing leads to: /'
rm -f "$all" "$reached"
# bare ones among the files of the source, or of dependencies, count where they know this history
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
