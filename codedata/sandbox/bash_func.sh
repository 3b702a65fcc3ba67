# Sourced before each command of a sandbox. The command starts where the one before ended: in its directory, with its
# exported variables and its functions, even if that one failed or exited. Nothing is kept of a command that was killed,
# or that exits with its own EXIT trap. $CODEDATA_ENV names the variables that only this command gets.

__codedata_state=${BASH_SOURCE[0]%/*}/state
declare -A __codedata_given=()
for __codedata_name in ${CODEDATA_ENV-}; do __codedata_given[$__codedata_name]=${!__codedata_name}; done

__codedata_save() {
    { set +eux; } 2>/dev/null
    unset -v "${!__codedata_given[@]}"
    unset -f __codedata_save
    { printf '__codedata_dir=%q __codedata_before=%q\n' "$PWD" "${OLDPWD-}"; declare -px; declare -f; } >| "$__codedata_state.new" &&
        command -p mv -f "$__codedata_state.new" "$__codedata_state"   # a kill in between leaves the old state whole
}

if [ -e "$__codedata_state" ]; then
    __codedata_start=$PWD
    unset -v $(compgen -e) 2>/dev/null        # what the last command unset stays unset
    . "$__codedata_state"
    cd -- "$__codedata_dir" 2>/dev/null || {
        cd -- "$__codedata_start"
        printf '%s is gone: now in %s\n' "$__codedata_dir" "$PWD" >&2
    }
    OLDPWD=$__codedata_before
    for __codedata_name in "${!__codedata_given[@]}"; do
        export "$__codedata_name=${__codedata_given[$__codedata_name]}"
    done
fi
export -n CODEDATA_ENV
trap __codedata_save EXIT
