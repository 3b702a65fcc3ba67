# Make a repository TO of the source in FROM, whose history ends at one commit, and print that commit. FROM is removed.
#   bash clean_history.sh FROM TO [COMMIT [keep]]     keep: files in TO that its repository does not track stay
# If FROM is a repository, TO has COMMIT (or HEAD) with its ancestors and their tags (only COMMIT if FROM lacks an object of
# theirs). If no COMMIT is given, one more commit has the uncommitted changes and the files of submodules. If FROM is not a
# repository, TO has one commit of all files, with the same id at each run; if FROM has a .git that git cannot read (a
# worktree's), ignored files are left out.
set -euo pipefail
from=$1 to=$2 wanted=${3:-}
export GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 GIT_AUTHOR_NAME=codedata GIT_AUTHOR_EMAIL=codedata@example.org
export GIT_COMMITTER_NAME=codedata GIT_COMMITTER_EMAIL=codedata@example.org
export GIT_AUTHOR_DATE=2000-01-01T00:00:00Z GIT_COMMITTER_DATE=2000-01-01T00:00:00Z

cd "$from"
chown -R "$(id -u):$(id -g)" .
find . -mindepth 2 -name .git -prune -exec rm -rf {} +   # the submodules' history is not this repository's
mkdir -p "$to"
if [ "${4:-}" = keep ]; then
    git -C "$to" -c safe.directory='*' -c core.fsmonitor= -c core.hooksPath=/dev/null rm -rfq --ignore-unmatch -- .
    rm -rf "$to/.git"
else
    find "$to" -mindepth 1 -maxdepth 1 -exec rm -rf {} +
fi
git init -q -b main "$to"
git -C "$to" config gc.auto 0
base=
if [ -d .git ] && [ ! -s .git/objects/info/alternates ]; then
    base=$(git rev-parse -q --verify "${wanted:-HEAD}^{commit}") || base=
fi
if [ -n "$wanted" ] && [ -z "$base" ]; then
    echo "commit $wanted is not in the source" >&2
    exit 3
fi
if [ -n "$base" ]; then
    fetch=(git -C "$to" fetch -q --no-tags --update-shallow --upload-pack "git -c uploadpack.allowAnySHA1InWant=true upload-pack" "$from")
    tags=--merged
    "${fetch[@]}" "$base" 2>/dev/null || {   # an object of its history is missing, as in a partial clone
        "${fetch[@]}" --depth=1 "$base"
        tags=--points-at
    }
    git -C "$to" reset -q --hard "$base"
    git tag $tags "$base" | sed 's,.*,refs/tags/&:refs/tags/&,' | xargs -rd '\n' "${fetch[@]}"
    [ -n "$wanted" ] || git ls-files -s -z | sed -nz 's/^160000 [^\t]*\t//p' | while IFS= read -r -d '' module; do
        [ -z "$(ls -A "$module" 2>/dev/null)" ] || for one in . "$to"; do   # files of a submodule count as the source's
            git -C "$one" update-index --force-remove -- "$module"
        done
    done
    if [ -z "$wanted" ] && [ -n "$(git status --porcelain)" ]; then
        git -C "$to" ls-files -s -z | sed -nz '/^160000 /!s/^[^\t]*\t//p' | (cd "$to" && xargs -0r rm -f --)
        git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
            [ ! -f "$file" ] && [ ! -L "$file" ] || printf '%s\0' "$file"
        done | tar -c --null -T - -f - | tar -x -f - -C "$to"
        git -C "$to" add -A
        git -C "$to" commit -q --no-verify -m "As it was handed over"
    fi
else
    ignore=(-f)
    [ ! -e .git ] || ignore=()
    rm -rf .git
    tar -c -f - . | tar -x -f - -C "$to"
    git -C "$to" add -A "${ignore[@]}"
    git -C "$to" clean -q -f -d -X
    git -C "$to" commit -q --no-verify --allow-empty -m "As it was handed over"
fi
cd "$to"
rm -rf "$from" .git/logs .git/FETCH_HEAD .git/ORIG_HEAD .git/hooks
git -c core.logAllRefUpdates=false gc -q --prune=now
git rev-parse HEAD
