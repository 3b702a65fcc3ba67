#!/bin/sh
# Prove a bug that was put into a sample repository by hand, in containers, and report it by a template: no model.
set -eu
root=$1
mkdir -p "$root/bug/_candidates"
printf '{"repo": "samples/spanset", "repo_name": "spanset", "reformat_path": "%s/samples/repos/spanset"}\n' "$PWD" > "$root/repos.jsonl"
cp samples/bugs/by_hand/spanset.agent-1.json "$root/bug/_candidates/"
python env_setup.py --root "$root" --input "$root/repos.jsonl" --planner recipe
python bug_inject.py agent --root "$root" --steps preprocess,prove,issue --issue-writer template
