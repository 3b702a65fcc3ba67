#!/usr/bin/env bash
# Run the tests, and print their results as graders read them.
cat >/tmp/codedata_tests.sh <<'{end}'
{test_script}
{end}
cat >/tmp/codedata_junit.py <<'END_OF_READER'
{reader}END_OF_READER
rm -rf {results}
bash /tmp/codedata_tests.sh >/tmp/codedata_tests.log 2>&1
code=$?
python=$(command -v python3 || command -v python)
[ ! -d {results} ] || lines=$("$python" /tmp/codedata_junit.py {results})
echo '>>>>> Start Test Output'
if [ -n "${lines:-}" ]; then printf '%s\n' "$lines"; else cat /tmp/codedata_tests.log; fi
echo '>>>>> End Test Output'
[ -z "${lines:-}" ] || cat /tmp/codedata_tests.log   # behind: graders take the first marks, and a test can print some
rm -f /tmp/codedata_tests.sh /tmp/codedata_junit.py /tmp/codedata_tests.log
exit $code
