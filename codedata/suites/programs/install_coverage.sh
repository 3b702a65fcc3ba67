# Install coverage.py, version 7 or later, into a folder of its own for each kind of interpreter that has pytest. The tests'
# packages stay as they are; pytest_contexts.py imports it from there. Exit with 1 if it cannot be installed.
#   bash install_coverage.sh FOLDER
shopt -s nullglob
mkdir -p "$1"
source=$PWD
cd /   # python -m pip would import the source's own modules
candidates() {
    find / "$source" -xdev -type d -name _pytest -printf '%h\0' 2>/dev/null | sort -zu |
        while IFS= read -r -d '' place; do printf '%s\0' "${place%/lib*/python*}"/bin/python3; done
    for name in python3 python; do type -aP $name | tr '\n' '\0'; done
    printf '%s\0' /usr/bin/python3.* /usr/local/bin/python3.*
}
tag_of='import _pytest, sys, sysconfig as s; print(s.get_config_var("SOABI") or sys.implementation.cache_tag)'
while IFS= read -r -d '' python; do
    tag=$("$python" -c "$tag_of" 2>/dev/null) || continue
    to=$1/coverage/$tag
    [ ! -e "$to" ] || continue
    words=(install -q --no-deps --target "$to" 'coverage>=7')
    "$python" -m pip "${words[@]}" || python3 -m pip --python "$python" "${words[@]}" ||
        uv pip "${words[@]}" --python "$python" || exit 1
done < <(candidates)
chmod -R a+rX "$1"
