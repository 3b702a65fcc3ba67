# Break a project's source, except its tests, so that no suite that runs it can pass. Each source file keeps its text and gets
# more lines; built files are removed. Print the number of broken files, and how many of these have to be compiled.
#   bash break_source.sh REPOSITORY FOLDER [MODULE…]     break_python.py is in FOLDER; installed MODULEs are broken, too
cd "$1" || exit 1
tools=$2
shift 2
said='codedata broke this'
of_tests='(^|/)(tests?|__tests__|specs?|e2e)/|(^|/)(conftest|tests?|test_[^/]*|[^/]*_tests?)\.[a-z]+$|[.-](test|spec)\.[cm]?[jt]sx?$'
of_tests+='|(^|/)(Test[A-Z][^/]*|[^/]*(Test|Tests|TestCase|IT))\.(java|kt|scala|cs)$|(^|/)(\.[^/]*|[^/]*\.config\.[^/]*)$'
list() {
    git -c safe.directory='*' ls-files -z "$@" -x node_modules -x '*-packages' -x .tox -x .nox
}
installed() {
    for module; do
        module=${module//.//}
        find / -xdev -type f \( -path "*-packages/$module/*" -o -path "*-packages/$module.*" \) -print0 2>/dev/null
    done
}
n=0 built=0
trap_at_start='__attribute__((constructor)) static void codedata_broke_this(void) { __builtin_trap(); }'
put_first() {   # LINE FILE: insert LINE at the start of FILE, but after a `#!` line
    local at=1
    head -c 2 "$2" | grep -q '#!' && at=2
    if [ "$at" = 1 ]; then sed -i "1i $1" "$2"; else sed -i "1a $1" "$2"; fi
    n=$((n + 1))
}
python=() headers=()
while IFS= read -r -d '' file; do
    [ -f "$file" ] && [ ! -L "$file" ] && [ -s "$file" ] || continue
    case $file in
        *.py) python+=("$file") ;;
        *.js | *.mjs | *.cjs | *.ts | *.mts | *.cts | *.jsx | *.tsx) put_first "throw new Error(\"$said\");" "$file" ;;
        *.go) printf '\nfunc init() { panic("%s") }\n' "$said" >>"$file"; n=$((n + 1)) ;;
        *.rb) put_first "raise \"$said\"" "$file" ;;
        *.pl | *.pm) put_first "die \"$said\";" "$file" ;;
        *.lua) put_first "error(\"$said\")" "$file" ;;
        *.php) sed -i "s/<?php/<?php throw new Exception('$said');/" "$file"; n=$((n + 1)) ;;
        *.c | *.cc | *.cpp | *.cxx) printf '\n%s\n' "$trap_at_start" >>"$file"; n=$((n + 1)) built=$((built + 1)) ;;
        *.h | *.hh | *.hpp) headers+=("$file") ;;
        *.java | *.kt | *.scala | *.cs | *.rs | *.swift | *.zig | *.hs | *.ml | *.ex | *.dart | *.pyx | *.pxd)
            put_first "$said" "$file"; built=$((built + 1)) ;;
    esac
done < <({ list -c -o; installed "$@"; } | grep -zEv "$of_tests")
if [ $n = 0 ] && [ ${#python[@]} = 0 ]; then   # a library that consists of headers
    for file in "${headers[@]}"; do put_first "#error $said" "$file"; built=$((built + 1)); done
fi
while IFS= read -r -d '' file; do   # remove built files, as they hold the source's code, too
    magic=
    [ ! -e "${file%/bin/*}/pyvenv.cfg" ] || continue
    [ ! -f "$file" ] || [ -L "$file" ] || IFS= read -r -N 4 magic <"$file"
    case $magic:$file in
        $'\x7fELF':* | *.so | *.node | *.class | *.jar | *.pyc | *.[oa] | *.wasm) rm -f "$file" ;;
    esac
done 2>/dev/null < <(list -o; installed "$@")
if [ ${#python[@]} -gt 0 ]; then
    more=$(printf '%s\0' "${python[@]}" | python3 "$tools/break_python.py") || more=0
    n=$((n + more))
fi
export GIT_AUTHOR_NAME=codedata GIT_AUTHOR_EMAIL=codedata@example.org GIT_COMMITTER_NAME=codedata GIT_COMMITTER_EMAIL=codedata@example.org
git -c safe.directory='*' commit -q --no-verify -am "$said" >/dev/null 2>&1   # as a script may restore the committed files
echo "$n $built"
