# Restore the files of a commit, and print a line for each that was changed or deleted. With SINCE, a time in seconds, also
# print those that were written after that time, even if their content is the same.
#   bash restore.sh REPOSITORY COMMIT [SINCE]
cd "$1" || exit 1
commit=$2 since=${3:-} work=$(mktemp -d)
[ "$commit" != HEAD ] || commit=$(git rev-parse HEAD) || exit 1   # the repository that is used below has another HEAD
trap 'rm -rf "$work"' EXIT
# use a temporary repository, so that settings, filters and index flags that a script has set do not count
export GIT_DIR=$work/git GIT_WORK_TREE=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.fileMode GIT_CONFIG_VALUE_0=false   # files may be handed to the tests' user
git() { command git "$@" 2>"$work/said" || { cat "$work/said"; exit 1; }; }
sums() { xargs -0r sha1sum <"$work/changed" 2>/dev/null | sort; }   # git also reports a file if it only converts line ends
git init -q --template=
mkdir -p "$GIT_DIR/objects/info"
echo "$PWD/.git/objects" >"$GIT_DIR/objects/info/alternates"
git read-tree "$commit"
git diff --name-only -z >"$work/changed"
sums >"$work/before"
[ -z "$since" ] || command git ls-files -z | sed -z 's|^|./|' |
    xargs -0r sh -c 'find "$@" -maxdepth 0 -newermt "$0" 2>/dev/null' "@$since" | cut -c3- >"$work/written"
[ ! -s "$work/changed" ] || git checkout -q --pathspec-from-file="$work/changed" --pathspec-file-nul
{ cat "$work/written" 2>/dev/null; sums | comm -13 "$work/before" - | cut -c43-; } | sort -u
cp "$GIT_DIR/index" .git/index
rm -f .git/info/attributes
command git config --file .git/config --unset-all core.worktree || true
