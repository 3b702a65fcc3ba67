#!/bin/sh
# The scripts, one after the other, on the samples with the embedded model. Again: nothing to do.
set -u
root=$1
mkdir -p "$root"
[ -e "$root/chain.toml" ] || cp samples/demo.toml "$root/chain.toml"   # a root's own settings, as any root may have
tools/chain "prompt king ch validate report export" --root "$root" --no-retry
code=$?
echo
echo "Open $root/report/report.html in a browser (or read report.md); the turns are in $root/final/, refined/ and defeat/, what the judge said in $root/score/."
echo "Training sets made of them, each with a card, are in $root/export/."
echo "Look at one, change it, and run \`make demo\` again; or see where all of it stands: make status"
[ $code -le 1 ]
