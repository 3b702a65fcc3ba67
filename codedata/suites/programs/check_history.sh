# Print a line for each trace in REPOSITORY of a history other than the history of COMMIT.
#   bash check_history.sh REPOSITORY COMMIT
cd "$1" || exit 1
base=$2
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'   # tests may run as another user
[ "$(git rev-parse HEAD)" = "$base" ] || echo "HEAD is not at $base"
git for-each-ref --format='%(refname)' | while read -r ref; do
    git merge-base --is-ancestor "$ref" "$base" 2>/dev/null || echo "$ref leads past $base"
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
exit 0
