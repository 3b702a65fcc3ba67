#!/bin/sh
# The scripts, one after the other, on turns of the samples with the embedded model. Again: nothing to do.
set -u
root=$1
n_turns=${2:-8}
mkdir -p "$root"
# a root's own settings, as any root may have
[ -e "$root/chain.toml" ] || sed "s/^count = .*/count = $n_turns/" samples/demo.toml > "$root/chain.toml"
tools/chain "prompt king ch validate report export" --root "$root" --no-retry
code=$?
[ $code -le 1 ]
