#!/bin/sh
# The scripts, one after the other, on the samples with the embedded model. Again: nothing to do.
set -u
root=$1
mkdir -p "$root"
[ -e "$root/chain.toml" ] || cp samples/demo.toml "$root/chain.toml"   # a root's own settings, as any root may have
tools/chain "prompt king ch" --root "$root" --no-retry
code=$?
echo
echo "The two answers to each turn are in $root/answer/, the prompts in $root/prompt/, the pull requests in $root/commit/."
echo "Look at one, change it, and run \`make demo\` again; or see where all of it stands: make status"
[ $code -le 1 ]
