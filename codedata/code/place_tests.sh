cd {folder} || exit 1
# Put the tests in place as they were, whatever lies there by now: a text of this script is unpacked beside the source,
# where no settings of its repository count
work=$(mktemp -d) || exit 1
mkdir "$work/tests"
cat >"$work/patch" <<'END_OF_TESTS'
{patch}END_OF_TESTS
(
    cd "$work/tests" && unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
    export HOME=$work XDG_CONFIG_HOME=$work GIT_CEILING_DIRECTORIES=$work
    export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1
    git apply --whitespace=nowarn ../patch
) || exit 1
while IFS= read -r -d '' file; do
    folder=.
    while IFS= read -r -d / part; do
        folder=$folder/$part
        [ -d "$folder" ] && [ ! -L "$folder" ] || rm -f -- "$folder"
    done <<<"$file"
    name=${file##*/}
    rm -rf -- "$file" && mkdir -p -- "$folder" && cp -- "$work/tests/$file" "$file" || exit 1
    rm -rf -- "$folder/__pycache__/${name%.*}".*
done < <(cd "$work/tests" && find . -type f -printf '%P\0')
rm -rf "$work"
