# Builds into build/ and prints one "ok" or "not ok" line a test.
mkdir -p build
cc -std=c99 -Wall -Wextra -o build/linefold fold.c main.c || exit 1
status=0

# folds NAME OPTIONS INPUT EXPECTED
folds() {
    found=$(printf "$3" | build/linefold $2; echo .)
    if [ "$found" = "$(printf "$4"; echo .)" ]; then
        echo "ok $1"
    else
        echo "not ok $1"
        status=1
    fi
}

folds empty '-w 10' '' ''
folds one_line '-w 10' 'one two\n' 'one two\n'
folds breaks_at_spaces '-w 7' 'one two three\n' 'one two\nthree\n'
folds exact_width '-w 9' 'four five six\n' 'four five\nsix\n'
folds runs_of_spaces '-w 20' 'a   b\tc\n' 'a b c\n'
folds joins_lines '-w 20' 'a\nb\n' 'a b\n'
folds indents '-w 9 -i 2' 'one two three\n' '  one two\n  three\n'
folds wide_word '-w 4' 'a longest b\n' 'a\nlongest\nb\n'
exit $status
