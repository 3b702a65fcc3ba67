#!/bin/sh
# The scripts, one after the other, on turns of the samples with the embedded model. Again: nothing to do.
set -u
home=$(cd "$(dirname "$0")/.." && pwd)
root=$1
[ "${2:-}" != --root ] || root=$3
mkdir -p "$root"
# a root's own settings, as any root may have
[ -e "$root/chain.toml" ] || sed "s|\"samples/|\"$home/samples/|" "$home/samples/demo.toml" > "$root/chain.toml"
"${CODEDATA_PYTHON:-python}" "$home/tools/chain" "prompt king ch validate report export" --root "$root" --no-retry
code=$?
[ $code -le 1 ]
