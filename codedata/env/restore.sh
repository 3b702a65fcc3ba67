# Put the files that a repository tracks back as they were committed; prints those that were not, a line each.
#   bash restore.sh REPOSITORY
cd "$1" || exit 1
export GIT_CONFIG_COUNT=3 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' GIT_CONFIG_KEY_1=core.hooksPath GIT_CONFIG_VALUE_1=/dev/null
export GIT_CONFIG_KEY_2=core.fileMode GIT_CONFIG_VALUE_2=false   # files may be handed to the tests' user
changed=$(mktemp) before=$(mktemp) said=$(mktemp)
trap 'rm -f "$changed" "$before" "$said"' EXIT
sums() { xargs -0r sha1sum <"$changed" 2>/dev/null | sort; }   # where line ends are converted, git sees changes in what has none
git() { command git "$@" 2>"$said" || { cat "$said"; exit 1; }; }
rm -f .git/index                                               # with what git was told to overlook
git read-tree HEAD
git diff --name-only -z >"$changed"
sums >"$before"
[ ! -s "$changed" ] || git checkout -q --pathspec-from-file="$changed" --pathspec-file-nul
sums | comm -13 "$before" - | cut -c43-
