#!/bin/bash
# Two single scripts: git archive from a neutral repository whose info/attributes switches conversions off; verify by sort, cut and comm.
set -e
cd /app
rm -rf lib
cat >bin/release <<'EOF'
#!/bin/bash
# Write a release's archive: bin/release REPOSITORY TAG FOLDER
set -euo pipefail
unset CDPATH GZIP TAR_OPTIONS TAPE POSIXLY_CORRECT TZ GREP_OPTIONS XZ_OPT
for variable in "${!GIT_@}"; do unset "$variable"; done
export LC_ALL=C GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1 GIT_NO_REPLACE_OBJECTS=1
umask_before=$(umask)
umask 022

main() {
    local source=$1 tag=$2 folder=$3
    [[ $source == /* ]] || source=$PWD/$source
    [[ $folder == /* ]] || folder=$PWD/$folder
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT

    local commit name
    commit=$(tagged "$source" "$tag") && name=$(name_of "$source" "$commit") || return 2
    local top=$name-${tag#v}
    export_tree "$source" "$commit" "$work/out/$top"
    rm -f "$work/out/$top/MANIFEST"
    list "$work/out/$top" >"$work/list"
    cp "$work/list" "$work/out/$top/MANIFEST"
    normalise "$work/out"
    archive "$work/out" "$(git_of "$source" cat-file commit "$commit" | committed)" >"$work/$top.tar.gz"
    deliver "$work/$top.tar.gz" "$folder"
}

git_of() {
    git -c safe.directory='*' -C "$@"
}

tagged() {
    [[ ${2#v} =~ ^[A-Za-z0-9.-]+$ ]] || return 1
    local found
    found=$(git_of "$1" for-each-ref --format='%(refname)' "refs/tags/$2" 2>/dev/null) || return 1
    [[ $found == "refs/tags/$2" ]] || return 1
    git_of "$1" rev-parse --quiet --verify "refs/tags/$2^{commit}" 2>/dev/null
}

name_of() {
    git_of "$1" cat-file blob "$2:release.conf" >"$work/conf" 2>/dev/null || return 1
    local line pattern='^[[:blank:]]*name[[:blank:]]*=[[:blank:]]*([A-Za-z0-9.-]+)[[:space:]]*$'
    while IFS= read -r line || [[ -n $line ]]; do
        if [[ $line =~ $pattern ]]; then
            printf '%s\n' "${BASH_REMATCH[1]}"
            return 0
        fi
    done <"$work/conf" 2>/dev/null
    return 1
}

committed() {
    sed -n -E '1,/^$/s/^committer .*> ([0-9]+) [-+][0-9]+$/\1/p'
}

# git's own export, from a repository that has nothing but the objects and switches all conversions off
export_tree() {
    local objects
    objects=$(git_of "$1" rev-parse --path-format=absolute --git-path objects)
    git init -q --bare -b none --template= --object-format="$(git_of "$1" rev-parse --show-object-format)" "$work/git"
    mkdir -p "$work/git/info" "$3"
    echo '* -text !eol -ident -filter !working-tree-encoding -export-subst' >"$work/git/info/attributes"
    GIT_OBJECT_DIRECTORY=$objects git --git-dir="$work/git" -c core.attributesFile=/dev/null -c core.autocrlf=false \
        -c core.protectNTFS=false -c tar.umask=0022 archive --format=tar "$2^{tree}" >"$work/tree.tar"
    tar -C "$3" -xf "$work/tree.tar" --no-same-owner
}

list() (
    cd "$1"
    {
        find . -type f ! -path ./MANIFEST -print0 | xargs -0 -r sha256sum -z -- | tr '\0' '\n' | sed 's,^\(.\{64\}\)  \./,\1  ,'
        find . -type l ! -path ./MANIFEST -print0 | while IFS= read -r -d '' link; do
            readlink -n -- "$link" | sha256sum | tr -d '\n -'
            printf ' @%s\n' "${link#./}"
        done
    } | sort -s -t '\0' -k 1.67
)

normalise() {
    find "$1" -type f -perm -100 -exec chmod 0755 {} +
    find "$1" -type f ! -perm -100 -exec chmod 0644 {} +
}

archive() {
    find "$1" -mindepth 1 ! -type d -printf '%P\0' | sort -z >"$work/names"
    tar -C "$1" -cf "$work/plain.tar" --format=gnu --no-recursion --mtime="@$2" --owner=0 --group=0 --numeric-owner \
        --null --no-unquote -T "$work/names"
    gzip -9 -n <"$work/plain.tar"
}

deliver() {
    local target=$2/${1##*/}
    if [[ -e $target || -L $target ]]; then
        cmp -s -- "$1" "$target" || return 3
        return 0
    fi
    umask "$umask_before"
    mkdir -p -- "$2"
    part=$(mktemp "$2/.release.XXXXXX")
    trap 'rm -rf "$work" "$part"' EXIT
    cat -- "$1" >"$part"
    chmod "$(printf '%o' $((0666 & ~$(umask))))" "$part"
    if ! ln -T -- "$part" "$target" 2>/dev/null; then
        cmp -s -- "$1" "$target" || return 3
    fi
    rm -f -- "$part"
}

main "$@"
EOF
cat >bin/verify <<'EOF'
#!/bin/bash
# Compare an archive with its manifest: bin/verify ARCHIVE
set -euo pipefail
unset CDPATH GZIP TAR_OPTIONS TAPE POSIXLY_CORRECT TZ GREP_OPTIONS XZ_OPT
for variable in "${!GIT_@}"; do unset "$variable"; done
export LC_ALL=C GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1 GIT_NO_REPLACE_OBJECTS=1
umask_before=$(umask)
umask 022

work=$(mktemp -d)
trap 'chmod -R u+rwX "$work"; rm -rf "$work"' EXIT
mkdir "$work/in"
gzip -dc <"$1" >"$work/plain" 2>/dev/null && [[ -s $work/plain ]] &&
    tar -C "$work/in" -xf "$work/plain" --no-same-owner --no-same-permissions --delay-directory-restore 2>/dev/null || exit 2
chmod -R u+rwX "$work/in"
[[ $(find "$work/in" -mindepth 1 -maxdepth 1 -printf x) == x ]] || exit 2
[[ $(find "$work/in" -mindepth 2 -maxdepth 2 -type f -name MANIFEST -printf x) == x ]] || exit 2
shopt -s dotglob
cd "$work/in"/*/

# both sides as lines of a path, NUL's stand-in \001, and what is there
{
    find . -type f ! -path ./MANIFEST -print0 | xargs -0 -r sha256sum -z -- | tr '\0' '\n' | sed 's,^\(.\{64\}\)  \./,\1  ,'
    find . -type l ! -path ./MANIFEST -print0 | while IFS= read -r -d '' link; do
        readlink -n -- "$link" | sha256sum | tr -d '\n -'
        printf ' @%s\n' "${link#./}"
    done
    find . ! -type d ! -type f ! -type l -printf 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx  %P\n'
} | sort -u >"$work/is"
sed -e '$a\' MANIFEST | sort -u >"$work/said"
cut -c 67- "$work/is" | sort -u >"$work/is.paths"
cut -c 67- "$work/said" | sort -u >"$work/said.paths"
comm -23 "$work/said.paths" "$work/is.paths" | sed 's/^/missing /' >"$work/differences"
comm -13 "$work/said.paths" "$work/is.paths" | sed 's/^/extra /' >>"$work/differences"
comm -23 "$work/said" "$work/is" | cut -c 67- | sort -u | comm -12 - "$work/is.paths" | sed 's/^/changed /' >>"$work/differences"
sort "$work/differences"
[[ ! -s $work/differences ]]
EOF
chmod 755 bin/release bin/verify
