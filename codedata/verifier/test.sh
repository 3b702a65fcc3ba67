#!/bin/bash
# Grade the agent's work. verify.py writes the reward as its last step.
here=$(dirname "$0")
if [ -e "$here/tests.sh" ]; then   # a project's suite; without a reward, Harbor reports an error
    python=$(command -v python3 || command -v python)
    exec "$python" -I "$here/verify.py" "$@"
fi
# Weighted tests: if anything fails here, the reward is 0. No setting of the agent has an effect.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
out=/logs/verifier
mkdir -p $out && rm -rf $out/reward.* && echo 0 >$out/reward.txt
/usr/bin/python3 -I "$here/verify.py" "$@"
exit 0
