#!/bin/bash
# A journal of single renames with an appended counter of those begun; recovery always takes back from the last to the first; iterative lookup.
set -e
cat > mvplan <<'EOF'
#!/bin/bash
# mvplan ROOT <PLAN: rename what the plan says, see docs/mvplan.md
#
# A plan is done as a list of single renames, out of the tree and into it again. They are written to .mvplan/journal before the first;
# the number of each is added to .mvplan/begun before it is done. A run that finds a journal takes all of them back, from the last to the first,
# so a plan counts from the moment when its journal is removed.
LC_ALL=C
export LC_ALL
shopt -u patsub_replacement 2>/dev/null

quit() {
    printf 'mvplan: %s\n' "$2" >&2
    exit "$1"
}

[[ $# -eq 1 && -d $1 ]] || quit 64 'usage: mvplan ROOT <PLAN'
case $1 in
    /*) builtin cd -P -- "$1" ;;
    *) builtin cd -P -- "./$1" ;;
esac || quit 1 "cannot enter $1"

own=.mvplan
is_any() { [[ -L $1 || -e $1 ]]; }
is_dir() { [[ ! -L $1 && -d $1 ]]; }
step() { mv -fT -- "$1" "$2" 0</dev/null; }
drop() { rm -rf -- "$own" 0</dev/null; }

# slurp: the fields of standard input as `field`, and what follows the last NUL as `rest`
slurp() {
    field=()
    while IFS= read -r -d '' rest; do
        field[${#field[@]}]=$rest
    done
}

# The journal is pairs FROM, TO: first all that lead to the stage, then all that lead from it.
# In which state is rename number N (from 0)? It is done if its thing is in the stage (a way out), or is not (a way in).
is_done() {
    if (($1 < ${#field[@]} / 4)); then
        is_any "${field[2 * $1 + 1]}"
    else
        ! is_any "${field[2 * $1]}"
    fi
}

# take_back: bring the tree to what it was before the journal
take_back() {
    local last=-1 number
    slurp <"$own/journal"
    while IFS= read -r number; do
        last=$number
    done <"$own/begun"
    while ((last >= 0)); do
        if is_done "$last"; then
            step "${field[2 * last + 1]}" "${field[2 * last]}" || return 1
        fi
        ((last--))
        printf '%d\n' "$last" >>"$own/begun" || return 1
    done
    rm -f -- "$own/journal" 0</dev/null && drop
}

recover() {
    is_any "$own" || return 0
    if [[ -e $own/journal ]]; then
        take_back
    else
        drop
    fi || quit 1 "the plan before is not taken back yet: $own is kept"
}

plain() {
    local path=$1/ part first=${1%%/*}
    [[ $first != "$own" ]] || return 1
    ((${#1} <= 4000)) || return 1
    while [[ -n $path ]]; do
        part=${path%%/*}
        path=${path#*/}
        case $part in
            '' | . | ..) return 1 ;;
        esac
        ((${#part} <= 255)) || return 1
    done
}

# upper PATH: `dir` is its parent with a / at the end, or nothing; `base` its last component
upper() {
    base=${1##*/}
    dir=${1%"$base"}
}

recover
slurp
[[ -z $rest ]] || quit 2 'the last field has no NUL'
((${#field[@]} % 2 == 0)) || quit 2 'a NEW is missing'
pairs=$((${#field[@]} / 2))
((pairs)) || exit 0

# Keys have an x in front, for none may be empty.
declare -A gone from
for ((i = 0; i < pairs; i++)); do
    old=${field[2 * i]} new=${field[2 * i + 1]}
    plain "$old" || quit 2 "not a path that may be named: $old"
    plain "$new" || quit 2 "not a path that may be named: $new"
    [[ ! ${gone[x$old]+set} ]] || quit 2 "OLD twice: $old"
    [[ ! ${from[x$new]+set} ]] || quit 2 "NEW twice: $new"
    gone[x$old]=1
    from[x$new]=$old
    upper "$old"
    walk=
    remaining=$dir
    while [[ -n $remaining ]]; do
        walk+=${remaining%%/*}
        remaining=${remaining#*/}
        is_dir "./$walk" || quit 2 "OLD does not exist: $old"
        walk+=/
    done
    is_any "./$old" || quit 2 "OLD does not exist: $old"
done

# locate DIRECTORY: its path before the plan, of a directory (with / at its end, or nothing for ROOT) after the plan, as `home`
locate() {
    local left=$1 way= name
    home=
    while [[ -n $left ]]; do
        name=${left%%/*}
        left=${left#*/}
        way+=$name
        if [[ ${from[x$way]+set} ]]; then
            home=${from[x$way]}
        else
            home+=$name
            [[ ! ${gone[x$home]+set} ]] || return 1
        fi
        is_dir "./$home" || return 1
        home+=/
        way+=/
    done
}

for ((i = 0; i < pairs; i++)); do
    new=${field[2 * i + 1]}
    upper "$new"
    locate "$dir" || quit 2 "no directory for NEW: $new"
    place=$home$base
    if [[ ! ${gone[x$place]+set} ]] && is_any "./$place"; then
        quit 2 "the place of NEW is taken: $new"
    fi
done

# ranked WHICH: the numbers of the pairs by the depth of their OLD (WHICH 0) or NEW (1), as `rank`
ranked() {
    local i depth slashes most=0
    local -a depths=()
    for ((i = 0; i < pairs; i++)); do
        slashes=${field[2 * i + $1]//[!\/]/}
        depths[i]=${#slashes}
        ((depths[i] <= most)) || most=${depths[i]}
    done
    rank=()
    for ((depth = 0; depth <= most; depth++)); do
        for ((i = 0; i < pairs; i++)); do
            ((depths[i] != depth)) || rank+=("$i")
        done
    done
}

journal=()
ranked 0
for ((i = pairs - 1; i >= 0; i--)); do
    journal+=("./${field[2 * rank[i]]}" "$own/stage.${rank[i]}")
done
ranked 1
for ((i = 0; i < pairs; i++)); do
    journal+=("$own/stage.${rank[i]}" "./${field[2 * rank[i] + 1]}")
done

mkdir -- "$own" 0</dev/null || quit 1 "cannot make $own"
if ! { printf '%s\0' "${journal[@]}" >"$own/draft" && : >"$own/begun" && step "$own/draft" "$own/journal"; }; then
    drop
    quit 1 'cannot write the journal'
fi
for ((i = 0; i < 2 * pairs; i++)); do
    if ! { printf '%d\n' "$i" >>"$own/begun" && step "${journal[2 * i]}" "${journal[2 * i + 1]}"; }; then
        take_back || quit 1 "a rename failed, and $own is kept for the next run to take the plan back"
        quit 1 'a rename failed, the plan is taken back'
    fi
done
if ! rm -f -- "$own/journal" 0</dev/null; then
    take_back || quit 1 "$own is kept for the next run"
    quit 1 'the journal could not be removed, the plan is taken back'
fi
drop || quit 1 "cannot remove $own"
EOF
chmod 755 mvplan
