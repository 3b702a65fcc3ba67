#!/bin/sh
# The scripts, one after the other, on the samples with the embedded model. Again: nothing to do.
set -u
root=$1
export PYTHONUNBUFFERED=1
tools/chain "prompt king ch" --root "$root" --config samples/demo.toml --no-retry
code=$?
echo
echo "The two answers to each turn are in $root/answer/, the prompts in $root/prompt/, the pull requests in $root/commit/."
echo "Look:  less $root/answer/prompts_8_1_1.json      Edit one and run \`make demo\` again."
[ $code -le 1 ]
