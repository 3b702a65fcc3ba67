# Apply PATCH to the files in FOLDER, without the settings of its repository. Copy the files that it
# changes to OUT/before and OUT/after. If it does not apply, print why and fail.
#   bash apply_patch.sh FOLDER PATCH OUT
set -euo pipefail
cd -P "$1"
patch=$2 out=$3 work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1 GIT_DIR=$work/git GIT_WORK_TREE=$PWD
git init -q --template=
for either in "" -R; do git apply $either --numstat -z "$patch"; done | cut -z -f3- | sort -zu >"$work/paths"   # both names of a renamed file

copy() {
    mkdir -p "$out/$1"
    while IFS= read -r -d '' path; do
        if [ -L "$path" ]; then
            echo "$path is a link"
            exit 1
        fi
        [ ! -f "$path" ] || cp --parents -- "$path" "$out/$1/"
    done <"$work/paths"
}
copy before
git apply --whitespace=nowarn "$patch"
copy after
