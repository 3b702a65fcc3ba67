#!/bin/sh
# Set up three of the sample repositories in containers, by recipe, and analyse them: no model. Again: nothing to do.
set -eu
root=$1
mkdir -p "$root"
for name in spanset romanist querywren; do
    printf '{"repo": "samples/%s", "repo_name": "%s", "reformat_path": "%s/samples/repos/%s"}\n' "$name" "$name" "$PWD" "$name"
done > "$root/repos.jsonl"
python env_setup.py --root "$root" --input "$root/repos.jsonl" --planner recipe
python analyze.py --root "$root"
echo
image=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))["image_name"])' "$root/env/spanset.json")
echo "Scripts, results and images stand in $root/env/*.json. To look into one: docker run --rm -it $image bash"
echo "What their tests execute is in $root/coverage/, their structure in $root/analysis/: read $root/analysis/spanset.json"
