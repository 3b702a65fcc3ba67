#!/bin/bash
# All out to a stage, then all in; the name of the plan's file tells the phase, recovery goes back from the first phase and on from the second; recursive lookup in the tree after.
set -e
cat > mvplan <<'EOF'
#!/bin/bash
# mvplan ROOT <PLAN: rename what the plan says, see docs/mvplan.md
#
# Everything that a plan names is first moved out to .mvplan/stage/NUMBER (the deepest first), then in to its new place
# (the shallowest first). The plan is kept in a file whose name says how far this is:
#   .mvplan/out    things are on their way out; to be brought back
#   .mvplan/in     all were out, they are on their way in; to be brought to the end
#   .mvplan/back   something went wrong on the way in, they are on their way to the stage again, and then back
# Without such a file the stage is empty, and .mvplan can go.
export LC_ALL=C
set -f

say() { printf 'mvplan: %s\n' "$1" >&2; }
refuse() { say "$1"; exit 2; }
fail() { say "$1"; exit 1; }

if [ $# -ne 1 ] || [ ! -d "$1" ]; then
    echo "usage: mvplan ROOT <PLAN" >&2
    exit 64
fi
root=$1
[[ $root == /* ]] || root=./$root
cd -P -- "$root" || fail "cannot enter $1"

work=.mvplan
olds=()
news=()

there() { [[ -e $1 || -L $1 ]]; }
directory() { [[ -d $1 && ! -L $1 ]]; }
rename() { mv -f -T -- "$1" "$2" </dev/null; }

depth_of() { local slashes=${1//[!\/]/}; depth=${#slashes}; }

# order PATH...: the indices of the paths, the shallowest first, as array `sorted`
order() {
    local levels=() index=0 path depth level
    for path; do
        depth_of "$path"
        levels[depth]+=" $index"
        index=$((index + 1))
    done
    sorted=()
    for level in "${levels[@]}"; do
        sorted+=($level)
    done
}

# read_plan: olds and news from standard input; false if it is cut off
read_plan() {
    local old new
    olds=()
    news=()
    while IFS= read -r -d '' old; do
        IFS= read -r -d '' new || return 1
        olds+=("$old")
        news+=("$new")
    done
    [[ -z $old ]]
}

move_out() {
    local at
    order "${olds[@]}"
    for ((at = ${#sorted[@]} - 1; at >= 0; at--)); do
        rename "./${olds[sorted[at]]}" "$work/stage/${sorted[at]}" || return 1
    done
}

bring_back() {
    local index
    order "${olds[@]}"
    for index in "${sorted[@]}"; do
        ! there "$work/stage/$index" || rename "$work/stage/$index" "./${olds[index]}" || return 1
    done
}

move_in() {
    local index
    order "${news[@]}"
    for index in "${sorted[@]}"; do
        ! there "$work/stage/$index" || rename "$work/stage/$index" "./${news[index]}" || return 1
    done
}

take_in_back() {
    local at
    order "${news[@]}"
    for ((at = ${#sorted[@]} - 1; at >= 0; at--)); do
        there "$work/stage/${sorted[at]}" || rename "./${news[sorted[at]]}" "$work/stage/${sorted[at]}" || return 1
    done
}

clean_up() {
    rm -f -- "$work/$1" </dev/null && rm -rf -- "$work" </dev/null
}

# settle: from wherever a plan stopped to before it (false) or after it (true)
settle() {
    if [[ -e $work/in ]]; then
        if move_in; then
            clean_up in || fail "cannot remove $work"
            return 0
        fi
        rename "$work/in" "$work/back" || fail "$work is left to be used by the next run"
    fi
    if [[ -e $work/back ]]; then
        take_in_back && rename "$work/back" "$work/out" || fail "$work is left to be used by the next run"
    fi
    if [[ -e $work/out ]]; then
        bring_back || fail "$work is left to be used by the next run"
        clean_up out || fail "cannot remove $work"
    fi
    return 1
}

recover() {
    local name
    there "$work" || return 0
    for name in out in back; do
        if [[ -e $work/$name ]]; then
            read_plan <"$work/$name" || fail "$work/$name cannot be read"
            settle
            return 0
        fi
    done
    rm -rf -- "$work" </dev/null || fail "cannot remove $work"
}

check_path() {
    local rest=$1/ part
    [[ -n $1 ]] || refuse "an empty path"
    (( ${#1} <= 4000 )) || refuse "too long: $1"
    while [[ -n $rest ]]; do
        part=${rest%%/*}
        rest=${rest#*/}
        (( ${#part} <= 255 )) || refuse "too long a name: $part"
    done
    case /$1/ in
        *//* | */./* | */../*) refuse "not a plain path below ROOT: $1" ;;
        /.mvplan/*) refuse "$1 is mvplan's own" ;;
    esac
}

# before PATH: whether there is such a thing in the tree before
before() {
    local rest=$1 head=.
    while [[ $rest == */* ]]; do
        head+=/${rest%%/*}
        rest=${rest#*/}
        directory "$head" || return 1
    done
    there "./$1"
}

declare -A at_old=() at_new=()

# after PATH: where what is at PATH in the tree after is in the tree before, as `place`; false if there is nothing
after() {
    local parent name
    if [[ -z $1 ]]; then
        place=.
        return 0
    fi
    if [[ -n ${at_new["/$1"]} ]]; then
        place=./${olds[${at_new["/$1"]}]}
        return 0
    fi
    name=${1##*/}
    parent=
    [[ $1 != */* ]] || parent=${1%/*}
    after "$parent" && directory "$place" || return 1
    place+=/$name
    [[ -z ${at_old["/${place#./}"]} ]] && there "$place"
}

check_plan() {
    local index old new parent
    for index in "${!olds[@]}"; do
        old=${olds[index]}
        new=${news[index]}
        check_path "$old"
        check_path "$new"
        [[ -z ${at_old["/$old"]} ]] || refuse "twice to be renamed: $old"
        [[ -z ${at_new["/$new"]} ]] || refuse "twice a new name: $new"
        at_old["/$old"]=$index
        at_new["/$new"]=$index
        before "$old" || refuse "$old does not exist"
    done
    for new in "${news[@]}"; do
        parent=
        [[ $new != */* ]] || parent=${new%/*}
        after "$parent" && directory "$place" || refuse "no directory for $new"
        place+=/${new##*/}
        if [[ -z ${at_old["/${place#./}"]} ]] && there "$place"; then
            refuse "$new is held by something else"
        fi
    done
}

recover
read_plan || refuse "the plan is cut off"
check_plan
[[ ${#olds[@]} -gt 0 ]] || exit 0

give_up() {
    rm -rf -- "$work" </dev/null
    fail "$1"
}
mkdir -- "$work" </dev/null || fail "cannot make $work"
mkdir -- "$work/stage" </dev/null || give_up "cannot make $work/stage"
pairs=()
for index in "${!olds[@]}"; do
    pairs+=("${olds[index]}" "${news[index]}")
done
printf '%s\0' "${pairs[@]}" >"$work/new" || give_up "cannot write $work/new"
rename "$work/new" "$work/out" || give_up "cannot begin"
move_out && rename "$work/out" "$work/in"
settle || fail "the plan could not be done and was taken back"
EOF
chmod 755 mvplan
