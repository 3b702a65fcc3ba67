#!/bin/bash
set -e
cat > mvplan <<'E'
#!/bin/bash
# mvplan ROOT <PLAN: rename what the plan says, see docs/mvplan.md
#
# All OLD are moved aside to .mvplan/aside (deepest first), then to their NEW (shallowest first). As long as
# .mvplan/onward is not there, what lies aside belongs to its OLD; from then on to its NEW. An empty aside means
# that the tree is whole.

export LC_ALL=C
unset CDPATH
state=.mvplan
old=() new=() order=()

complain() {
    printf 'mvplan: %s\n' "$2" >&2
    exit "$1"
}

there() { [[ -e $1 || -L $1 ]]; }

directory() { [[ -d $1 && ! -L $1 ]]; }

# order = the indices of the paths in an array, those with the fewest components first
by_depth() {
    local -n paths=$1
    local levels=() i slashes
    for i in "${!paths[@]}"; do
        slashes=${paths[i]//[!\/]/}
        levels[${#slashes}]+=" $i"
    done
    order=(${levels[*]})
}

# old and new from the fields of standard input; false if they are no pairs
read_pairs() {
    local field fields=() i
    old=() new=()
    while IFS= read -r -d '' field; do
        fields+=("$field")
        field=
    done
    for ((i = 0; i + 1 < ${#fields[@]}; i += 2)); do
        old+=("${fields[i]}")
        new+=("${fields[i + 1]}")
    done
    [[ -z $field ]] && ((${#fields[@]} % 2 == 0))
}

clean_up() { rm -rf -- "$state" || complain 1 "cannot remove $state"; }

go_back() {
    local i
    by_depth old
    for i in "${order[@]}"; do
        ! there "$state/aside/$i" || mv -T -- "$state/aside/$i" "./${old[i]}" || complain 1 "cannot take back ${old[i]@Q}"
    done
}

go_on() {
    local i
    by_depth new
    for i in "${order[@]}"; do
        ! there "$state/aside/$i" || mv -T -- "$state/aside/$i" "./${new[i]}" || complain 1 "cannot finish ${new[i]@Q}"
    done
}

recover() {
    there "$state" || return
    if [[ -f $state/plan ]]; then
        read_pairs <"$state/plan"
        if [[ -e $state/onward ]]; then go_on; else go_back; fi
    fi
    clean_up
}

good_path() {
    local rest=$1/ name
    case /$1/ in
        *//* | */./* | */../* | /.mvplan/*) return 1 ;;
    esac
    while [[ $rest ]]; do
        name=${rest%%/*}
        ((${#rest} <= 4001 && ${#name} <= 255)) || return 1
        rest=${rest#*/}
    done
}

# true if each directory on the way to a path is one
reachable() {
    local way=. rest=$1
    while [[ $rest == */* ]]; do
        way+=/${rest%%/*}
        rest=${rest#*/}
        directory "$way" || return 1
    done
}

declare -A from to      # index by "/OLD" and by "/NEW"

# REPLY = where that is now (./PATH) which is at a path in the tree after; false if nothing is
found_after() {
    local path=$1 parent= index
    if [[ -z $path ]]; then
        REPLY=.
        return
    fi
    index=${to["/$path"]-}
    if [[ $index ]]; then
        REPLY=./${old[index]}
        return
    fi
    [[ $path != */* ]] || parent=${path%/*}
    found_after "$parent" && directory "$REPLY" || return 1
    REPLY+=/${path##*/}
    [[ -z ${from["/${REPLY#./}"]-} ]] && there "$REPLY"
}

check() {
    local i path parent
    for path in "${old[@]}" "${new[@]}"; do
        good_path "$path" || complain 2 "not a path for a plan: ${path@Q}"
    done
    for i in "${!old[@]}"; do
        [[ -z ${from["/${old[i]}"]-} ]] || complain 2 "twice an OLD: ${old[i]@Q}"
        [[ -z ${to["/${new[i]}"]-} ]] || complain 2 "twice a NEW: ${new[i]@Q}"
        from["/${old[i]}"]=$i
        to["/${new[i]}"]=$i
        reachable "${old[i]}" && there "./${old[i]}" || complain 2 "does not exist: ${old[i]@Q}"
    done
    for path in "${new[@]}"; do
        parent=
        [[ $path != */* ]] || parent=${path%/*}
        found_after "$parent" && directory "$REPLY" || complain 2 "no directory for ${path@Q}"
        REPLY+=/${path##*/}
        [[ ${from["/${REPLY#./}"]-} ]] || ! there "$REPLY" || complain 2 "is taken: ${path@Q}"
    done
}

take_back() {
    go_back
    clean_up
    complain 1 "$1"
}

carry_out() {
    local k i fields=()
    mkdir -- "$state" "$state/aside" || complain 1 "cannot make $state"
    for i in "${!old[@]}"; do
        fields+=("${old[i]}" "${new[i]}")
    done
    printf '%s\0' "${fields[@]}" >"$state/plan" || complain 1 "cannot write the plan"
    by_depth old
    for ((k = ${#order[@]} - 1; k >= 0; k--)); do
        i=${order[k]}
        mv -T -- "./${old[i]}" "$state/aside/$i" || take_back "cannot move ${old[i]@Q}"
    done
    mkdir -- "$state/onward" || take_back "cannot go on"
    go_on
    clean_up
}

[[ $# -eq 1 && -d $1 ]] || complain 64 "usage: mvplan ROOT <PLAN"
case $1 in
    /*) cd -- "$1" ;;
    *) cd -- "./$1" ;;
esac || complain 64 "cannot go to ${1@Q}"

recover </dev/null
read_pairs || complain 2 "the plan is not made of pairs"
check
((${#old[@]} == 0)) || carry_out
exit 0
E
chmod 755 mvplan
