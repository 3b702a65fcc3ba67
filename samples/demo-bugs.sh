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
bug=$(find "$root/bug" -maxdepth 1 -name '[a-z]*.json' | sort | head -n 1)
if [ -n "$bug" ]; then
    echo
    python - "$bug" "$root" <<'END'
import json, pathlib, sys
bug = json.load(open(sys.argv[1]))
n = len([*pathlib.Path(sys.argv[2], "bug").glob("[!_]*.json")])
print(f"{n} bugs stand in {sys.argv[2]}/bug/, each an instance of SWE-bench with an image of its own. One of them:\n")
print(bug["bug_patch"] + "\n" + (bug["problem_statement"] or "(no report yet)"))
print(f"Fails: {', '.join(bug['FAIL_TO_PASS'][:3])}")
print(f"To look into its image: docker run --rm -it {bug['image']} bash")
END
    echo "What the candidates came to, by operator: open $root/bug/_report.html"
    echo "The next steps: python export.py --root $root --formats swebench; tools/test-swebench $root"
fi
exit $code
