#!/bin/bash
# terminal-bench reads a summary from the terminal, on which nothing else is printed.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 HOME=$(getent passwd {user} | cut -d: -f6) USER={user} LOGNAME={user}
mkdir -p /logs/verifier && rm -rf /logs/verifier/*
cd {workdir} && /usr/bin/python3 -I "$TEST_DIR/score.py" "$TEST_DIR/weights.json" {user} summary
