#!/bin/sh
# Make tasks of four pull requests of a sample project: its history is made of patches, with the same commit ids everywhere;
# each request's environment is set up by recipe and its tests run before and after it: no model. Again: nothing to do.
set -eu
root=$1
clone=$root/berthbook
rm -rf "$clone"
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_COMMITTER_NAME="Sample Author" GIT_COMMITTER_EMAIL=author@example.org
git init --quiet --initial-branch=main "$clone"
git -C "$clone" remote add origin https://example.org/samples/berthbook.git
git -C "$clone" am --quiet --committer-date-is-author-date "$PWD"/samples/pulls/*.patch
code=0
python pr_tasks.py --root "$root" --prs "git:$clone" --setup --planner recipe --workers 2 || code=$?
task=$(find "$root/task" -mindepth 1 -maxdepth 1 -name '[a-z]*' 2> /dev/null | sort | head -n 1)
if [ -n "$task" ]; then
    printf '\n%s pull requests stand in %s/task/, each a task of Harbor with an image of its own. One of them, %s:\n\n' \
        "$(find "$root/task" -mindepth 1 -maxdepth 1 -name '[a-z]*' | wc -l)" "$root" "$task"
    cat "$task/instruction.md" 2> /dev/null || echo "(no instruction yet)"
    echo
    cat "$task/solution/gold.patch"
    echo
    echo "What is wrong with it, if anything: python -m codedata.tasks check $task"
    echo "To look into its image: docker run --rm -it $(sed -n 's/^FROM //p' "$task/environment/Dockerfile") bash"
    echo "How good its tests are: python audit.py --root $root; python status.py --root $root --html"
    echo "The next step: python export.py --root $root --formats harbor,swebench"
fi
exit $code
