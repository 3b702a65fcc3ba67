#!/bin/bash
# Grade as terminal-bench does: the reward is 1 where the summary of pytest that run-tests.sh prints lists tests, and none of them failed.
export TEST_DIR=/tests
out=/logs/verifier
mkdir -p $out && rm -rf $out/reward.* && echo 0 >$out/reward.txt
cd {workdir} || exit 1
bash /tests/run-tests.sh >$out/tests.log 2>&1 </dev/null   # a file: what it leaves running would hold a pipe open
cat $out/tests.log
summary=$(sed -n '/==* *short test summary info *==*/,$p' $out/tests.log)
passed='^[[:space:]]*(PASSED|SKIPPED|XFAIL):*[[:space:]]+[^[:space:]]'
failed='^[[:space:]]*(FAILED|ERROR|XPASS):*[[:space:]]+[^[:space:]]'
if grep -qE "$passed" <<<"$summary" && ! grep -qE "$failed" <<<"$summary"; then
    echo 1 >$out/reward.txt
fi
exit 0
