# Turn the source in REPOSITORY into the source of a task, and print its commit: apply PATCH, make one root commit, and remove
# the former history and everything that was compiled, cached or measured from the former text.
#   bash derive.sh REPOSITORY PATCH
set -euo pipefail
cd "$1"
patch=$2 work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1 GIT_LITERAL_PATHSPECS=1
export GIT_AUTHOR_NAME=codedata GIT_AUTHOR_EMAIL=codedata@example.org GIT_AUTHOR_DATE=2000-01-01T00:00:00Z
export GIT_COMMITTER_NAME=codedata GIT_COMMITTER_EMAIL=codedata@example.org GIT_COMMITTER_DATE=2000-01-01T00:00:00Z
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'   # the tests' user may own the source

owner=$(stat -c %u:%g .)
if [ -e .git ]; then
    owner=$(stat -c %u:%g .git)
    git ls-files -z
else
    find . \( -type f -o -type l \) -printf '%P\0'
fi | while IFS= read -r -d '' file; do
    case $file in *.pyc | *.pyo) continue ;; esac
    [ ! -f "$file" ] && [ ! -L "$file" ] || printf '%s\0' "$file"
done >"$work/tracked"
find . -name .git -prune -exec rm -rf {} +   # also in submodules and dependencies

# apply the patch in a temporary repository, so that no object of the former text gets into the new one
GIT_DIR=$work/git GIT_WORK_TREE=$PWD
export GIT_DIR GIT_WORK_TREE
git init -q --template=
git add -f --pathspec-from-file="$work/tracked" --pathspec-file-nul
[ ! -s "$patch" ] || git apply --index --whitespace=nowarn "$patch"
git ls-files -z >"$work/files"
git ls-files -z --others >"$work/others"
git ls-files -z --others --ignored --exclude-standard --directory >"$work/ignored"
unset GIT_DIR GIT_WORK_TREE
stale='(^|/)(__pycache__|htmlcov|\.(pytest|mypy|ruff)_cache|\.hypothesis)/|\.py[co]$|(^|/)(\.coverage(\..*)?|coverage\.(xml|json|lcov))$'
built='(^|/)build/|\.egg-info/.*\.(py|so)$'   # builds of the source itself, not of packages installed among its files
{ grep -zE "$stale" "$work/others" || true
  grep -zE "$built" "$work/others" | grep -zvE '(^|/)(node_modules|site-packages)/' || true; } | xargs -0r rm -f --
# remove ignored build outputs that hold a line which the patch removes: the tests show whether they need them. As compilers
# rewrite lines, remove all outputs in the package of a changed file of JavaScript or TypeScript, and its compiled copies beside it
sed -n 's/^-[[:blank:]]*\(.\{16,\}\)$/\1/p' "$patch" | sed '/^-- /d' >"$work/removed"
sed -nE 's,^(---|\+\+\+) [ab]/(.*\.)[cm]?[jt]sx?$,\2,p' "$patch" | sort -u >"$work/copies"   # starts of paths
while IFS= read -r file; do
    folder=$file
    while [[ $folder == */* ]]; do
        folder=${folder%/*}
        [ ! -e "$folder/package.json" ] || break
    done
    if [ -e "$folder/package.json" ]; then echo "$folder/"; else echo; fi
done <"$work/copies" >"$work/packages"
outputs='(^|/)(dist|out|lib|es|esm|cjs|umd|target|build|compiled|coverage|\.nyc_output|\.turbo)/|\.tsbuildinfo$'
starts() { while IFS= read -r start; do [[ $1 != "$start"* ]] || return 0; done <"$work/$2"; return 1; }
holds() { [ -s "$work/removed" ] && grep -rqFf "$work/removed" -- "$1"; }
{ grep -zvE '(^|/)(node_modules|site-packages)/' "$work/ignored" || true; } | while IFS= read -r -d '' place; do
    if starts "$place" copies || { [[ $place =~ $outputs ]] && { starts "$place" packages || holds "$place"; }; }; then
        rm -rf -- "$place"
    fi
done
[ ! -s "$work/copies" ] || find . -path '*/node_modules/.cache' -prune -exec rm -rf {} +   # of compilers
rm -rf /var/log/apt/*.xz /tmp/results /tmp/pytest_cache /tmp/pytest-of-*
{ echo ~; cut -d: -f6 /etc/passwd; } | while IFS= read -r home; do
    rm -rf "$home"/.cache/{pip,uv,pypoetry,yarn} "$home"/.npm/_cacache
done
# remove files that the search of the image does not read: git packs outside of the source, archives of installed packages
find / -xdev \( -path /proc -o -path "$(pwd -P)" \) -prune -o -type f \( -path '*/objects/pack/pack-*' -o \
    -path '*/pkgs/*.conda' -o -path '*/pkgs/*.tar.bz2' \) -exec rm -f {} +

git init -q -b main --template= .
git config gc.auto 0
git config core.logAllRefUpdates false
git add -f --pathspec-from-file="$work/files" --pathspec-file-nul
git commit -q --no-verify --allow-empty -m "As it was handed over"
git gc -q --prune=now
rm -f .git/COMMIT_EDITMSG
chown -R "$owner" .git
git rev-parse HEAD
