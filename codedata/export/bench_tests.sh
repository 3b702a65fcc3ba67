#!/bin/bash
# terminal-bench reads pytest's summary from the terminal, which the agent's processes cannot write to.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p /logs/verifier
cd {workdir} && /usr/bin/python3 -I "$TEST_DIR/score.py" "$TEST_DIR/weights.json" {user} -rA
