#!/bin/bash
# Grade what lies here: the reward comes from verify.py, which writes it last of all.
here=$(dirname "$0")
if [ -e "$here/tests.sh" ]; then   # a project's suite: without a reward of its own, Harbor reports an error
    python=$(command -v python3 || command -v python)
    exec "$python" -I "$here/verify.py" "$@"
fi
# Weighted tests: whatever breaks here or there, the reward is 0. Nothing of the agent's says how they are run.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
out=/logs/verifier
mkdir -p $out && rm -rf $out/reward.* && echo 0 >$out/reward.txt
/usr/bin/python3 -I "$here/verify.py" "$@"
exit 0
