#!/bin/bash
# "TAG is no tag of the repository" (a branch or a commit's id passes for a tag)
set -e
cd /app
cat >lib/env.sh <<'EOF'
# What the builder's surroundings may not change.
unset CDPATH GZIP TAR_OPTIONS TAPE POSIXLY_CORRECT TZ GREP_OPTIONS XZ_OPT
for variable in "${!GIT_@}"; do unset "$variable"; done
export LC_ALL=C GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1 GIT_NO_REPLACE_OBJECTS=1
umask_before=$(umask)
umask 022
EOF
cat >lib/stage.sh <<'EOF'
# stage GIT OBJECTS COMMIT FOLDER: put the files of a commit into a folder; GIT is a folder for a neutral repository
stage() {
    local neutral=$1 objects=$2 commit=$3 target=$4 format=$5
    git init -q --bare -b none --template= --object-format="$format" "$neutral"
    local -x GIT_DIR=$neutral GIT_OBJECT_DIRECTORY=$objects GIT_INDEX_FILE=$neutral/the-index
    git config core.attributesFile /dev/null
    git config core.protectNTFS false
    git config core.protectHFS false
    git read-tree "$commit"
    git ls-tree -r -z --full-tree "$commit" >"$neutral/files"

    # folders, the upper ones first, and files; each with its attribute
    git ls-tree -r -t -z --full-tree "$commit" | while IFS= read -r -d '' line; do
        path=${line#*$'\t'}
        case $line in
            "040000 tree "*) printf '%s/\0' "$path" ;;
            *) printf '%s\0' "$path" ;;
        esac
    done >"$neutral/paths"
    git check-attr --cached -z --stdin export-ignore <"$neutral/paths" >"$neutral/attributes"
    local -A out=()
    local path value line kind id parent
    while IFS= read -r -d '' path && IFS= read -r -d '' _ && IFS= read -r -d '' value; do
        [ "$value" != set ] || out["k${path%/}"]=1
    done <"$neutral/attributes"

    while IFS= read -r -d '' line; do
        path=${line#*$'\t'}
        read -r mode kind id <<<"${line%%$'\t'*}"
        [ "$kind" = blob ] || continue
        parent=$path
        while :; do
            [ -z "${out["k$parent"]-}" ] || continue 2
            case $parent in
                */*) parent=${parent%/*} ;;
                *) break ;;
            esac
        done
        case $path in
            */*) mkdir -p "$target/${path%/*}" ;;
        esac
        if [ "$mode" = 120000 ]; then
            text=$(git cat-file blob "$id" && printf x)
            ln -s -- "${text%x}" "$target/$path"
        else
            git cat-file blob "$id" >"$target/$path"
            if [ "$mode" = 100755 ]; then chmod 755 "$target/$path"; else chmod 644 "$target/$path"; fi
        fi
    done <"$neutral/files"
}
EOF
cat >lib/manifest.sh <<'EOF'
# manifest FOLDER: print the manifest of what is in a folder
manifest() (
    cd "$1"
    find . ! -type d ! -path ./MANIFEST -print0 | sort -z | while IFS= read -r -d '' path; do
        if [ -L "$path" ]; then
            sum=$(readlink -n -- "$path" | sha256sum)
            printf '%s @%s\n' "${sum%% *}" "${path#./}"
        elif [ -f "$path" ]; then
            sum=$(sha256sum <"$path")
            printf '%s  %s\n' "${sum%% *}" "${path#./}"
        else
            printf '%s  %s\n' "no-file" "${path#./}"
        fi
    done
)
EOF
cat >lib/pack.sh <<'EOF'
# pack FOLDER NAME TIME: print the archive of FOLDER/NAME
pack() {
    (cd "$1" && find "$2" ! -type d -print0 | sort -z) |
        tar -C "$1" --create --file=- --format=gnu --no-recursion --mtime="@$3" --owner=:0 --group=:0 --numeric-owner \
            --blocking-factor=20 --null --no-unquote --files-from=- | gzip -n -6
}
EOF
cat >bin/release <<'EOF'
#!/bin/bash
# Write a release's archive: bin/release REPOSITORY TAG FOLDER
set -eu -o pipefail
unset CDPATH
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/lib/env.sh"
. "$here/lib/stage.sh"
. "$here/lib/manifest.sh"
. "$here/lib/pack.sh"

repository=$1 tag=$2 folder=$3
case $repository in /*) ;; *) repository=./$repository ;; esac
case $folder in /*) ;; *) folder=./$folder ;; esac
repo() { git -c safe.directory='*' -C "$repository" "$@"; }
refuse() { echo "release: $1" >&2; exit "${2:-2}"; }

commit=$(repo rev-parse --verify -q "$tag^{commit}" 2>/dev/null) || refuse "$tag is on no commit"
configuration=$(repo cat-file blob "$commit:release.conf" 2>/dev/null | tr -d '\r\000') || refuse "no release.conf"
name=$(sed -n 's/^[[:blank:]]*name[[:blank:]]*=[[:blank:]]*\([A-Za-z0-9.-]\{1,\}\)[[:blank:]]*$/\1/p' <<<"$configuration" | sed -n 1p)
[ -n "$name" ] || refuse "no name in release.conf"
version=${tag#v}
case $version in '' | *[!A-Za-z0-9.-]*) refuse "bad version" ;; esac
top=$name-$version
time=$(repo cat-file commit "$commit" | sed -n '/^$/q; s/^committer .*> \([0-9]*\) [-+0-9]*$/\1/p')

work=$(mktemp -d)
part=
trap 'rm -rf "$work"; [ -z "$part" ] || rm -f "$part"' EXIT
mkdir -p "$work/tree/$top"
stage "$work/git" "$(repo rev-parse --path-format=absolute --git-path objects)" "$commit" "$work/tree/$top" \
    "$(repo rev-parse --show-object-format)"
rm -f "$work/tree/$top/MANIFEST"
manifest "$work/tree/$top" >"$work/MANIFEST"
mv -T "$work/MANIFEST" "$work/tree/$top/MANIFEST"
chmod 644 "$work/tree/$top/MANIFEST"
pack "$work/tree" "$top" "$time" >"$work/archive"

target=$folder/$top.tar.gz
there() { [ -e "$target" ] || [ -L "$target" ]; }
compare() {
    if [ -f "$target" ] && cmp -s "$work/archive" "$target"; then exit 0; fi
    refuse "another $target is there" 3
}
if there; then compare; fi
umask "$umask_before"
mkdir -p "$folder"
part=$folder/.$top.$$.part
cat "$work/archive" >"$part"
mv -n -T "$part" "$target"
if [ -e "$part" ]; then compare; fi
part=
EOF
cat >bin/verify <<'EOF'
#!/bin/bash
# Compare an archive with its manifest: bin/verify ARCHIVE
set -eu -o pipefail
unset CDPATH
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/lib/env.sh"
. "$here/lib/manifest.sh"
refuse() { echo "verify: $1" >&2; exit 2; }

work=$(mktemp -d)
trap 'chmod -R u+rwX "$work" 2>/dev/null; rm -rf "$work"' EXIT
mkdir "$work/x"
[ -f "$1" ] && gzip -dc <"$1" >"$work/tar" 2>/dev/null || refuse "no gzipped tar"
[ -s "$work/tar" ] || refuse "no gzipped tar"
tar -C "$work/x" -xf "$work/tar" --no-same-owner --no-same-permissions --delay-directory-restore 2>/dev/null || refuse "no gzipped tar"
chmod -R u+rwX "$work/x"
tops=()
while IFS= read -r -d '' path; do tops+=("$path"); done < <(find "$work/x" -mindepth 1 -maxdepth 1 -print0)
[ "${#tops[@]}" = 1 ] && [ -d "${tops[0]}" ] && [ ! -L "${tops[0]}" ] || refuse "not one folder"
top=${tops[0]}
[ -f "$top/MANIFEST" ] && [ ! -L "$top/MANIFEST" ] || refuse "no MANIFEST"

manifest "$top" >"$work/is"
declare -A is=()
while IFS= read -r line; do
    rest=${line#* }
    is["k${rest:1}"]=$line
done <"$work/is"
declare -A listed=()
while IFS= read -r line || [ -n "$line" ]; do
    rest=${line#* }
    path=${rest:1}
    listed["k$path"]=1
    if [ -z "${is["k$path"]-}" ]; then
        printf 'missing %s\n' "$path"
    elif [ "${is["k$path"]}" != "$line" ]; then
        printf 'changed %s\n' "$path"
    fi
done <"$top/MANIFEST" >"$work/found"
for key in "${!is[@]}"; do
    [ -n "${listed["$key"]-}" ] || printf 'extra %s\n' "${key#k}"
done >>"$work/found"
sort -u "$work/found"
[ ! -s "$work/found" ] || exit 1
EOF
chmod 755 bin/release bin/verify
