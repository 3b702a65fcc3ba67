# Builds everything into build/ and prints one "ok" or "not ok" line a test.
mkdir -p build
cc -std=c99 -Wall -Wextra -o build/test_ring ring.c tests/test_ring.c || exit 1
cc -std=c99 -Wall -Wextra -o build/rtail ring.c rtail.c || exit 1
status=0
build/test_ring || status=1

# rtail_is NAME INPUT LINES EXPECTED: what rtail makes of the input
rtail_is() {
    found=$(printf "$2" | build/rtail "$3"; echo .)
    if [ "$found" = "$(printf "$4"; echo .)" ]; then
        echo "ok $1"
    else
        echo "not ok $1"
        status=1
    fi
}

rtail_is rtail_last_two 'a\nb\nc\n' 2 'b\nc\n'
rtail_is rtail_short_input 'a\n' 5 'a\n'
rtail_is rtail_none 'a\nb\n' 0 ''
exit $status
