#!/bin/sh
# Put bugs into four of the sample repositories by operators, prove them in containers and report them: no model. Again:
# nothing to do. Further words go to `bug_inject.py scale`: --limit 2, say, for a taste.
set -eu
root=$1
shift
mkdir -p "$root"
for name in spanset duecalc tallybook romanist; do
    printf '{"repo": "samples/%s", "repo_name": "%s", "reformat_path": "%s/samples/repos/%s"}\n' "$name" "$name" "$PWD" "$name"
done > "$root/repos.jsonl"
cmp -s samples/demo-bugs.toml "$root/chain.toml" || cp samples/demo-bugs.toml "$root/chain.toml"
python env_setup.py --root "$root" --input "$root/repos.jsonl" --planner recipe --workers 2
python analyze.py --root "$root" --workers 2
code=0
python bug_inject.py scale --root "$root" --workers 2 "$@" || code=$?
task=$(find "$root/task" -mindepth 2 -maxdepth 2 -name instruction.md -printf '%h\n' 2> /dev/null | sort | head -n 1)
if [ -n "$task" ]; then
    printf '\n%s bugs stand in %s/task/, each a task of Harbor with an image of its own. One of them, %s:\n\n' \
        "$(find "$root/task" -mindepth 1 -maxdepth 1 -name '[a-z]*' | wc -l)" "$root" "$task"
    cat "$task/solution/reverse.patch"
    echo
    cat "$task/instruction.md"
    echo
    echo "What is wrong with it, if anything: python -m codedata.tasks check $task"
    echo "To look into its image: docker run --rm -it $(sed -n 's/^FROM //p' "$task/environment/Dockerfile") bash"
    echo "How long each step took: python status.py --root $root --summary"
    echo "The next steps: python export.py --root $root --formats swebench; tools/test-swebench $root"
fi
exit $code
