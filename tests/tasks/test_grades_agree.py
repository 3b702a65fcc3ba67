"""Check that an agent's patch is graded alike in each harness: as Harbor does, with the task's
verifier in a container of its own, as TRL does, with it in the agent's, and as SWE-bench does, with
the evaluation script in place."""
import json
import os

import pytest
from a_task import STRIP, write_task
from in_place import SOLVED, graded_in_place
from proof_heron import (  # noqa: F401  fixture
    BUG,
    ONE_FILE,
    RUN,
    environment_of,
    factory_of,
    heron,
    prove,
)

from codedata.records import BUG as BUG_KIND
from codedata.records import STRIPPED_PATCH, Task
from codedata.sandbox.docker import engine
from codedata.tasks.folder.eval_script import printed_results, run_evaluation, script_of
from codedata.tasks.folder.task_folder import ARCHIVE, image_of, verifier_config
from codedata.tasks.prove.grader import Grader, tree_of
from codedata.verifier.junit import restored_name

pytestmark = pytest.mark.docker


KINDS = {BUG_KIND: (BUG, {}), STRIPPED_PATCH: (STRIP, ONE_FILE)}
WORDS = """import re
s = open('heron.py').read()
open('heron.py', 'w').write(re.sub(r'(def words.*\\n)(.*\\n)', r'\\1    return {}\\n', s))"""
# an agent's own tar packs a program for the verifier, also behind a link
OWN_TAR = f"""mkdir -p /e/usr/local/bin; cd /e; ln -s usr out; p=usr/local/bin/cat
printf '#!/bin/sh\necho 0.9' >$p; chmod 755 $p
tar -cf a out $p; tar -rf a --transform s,usr,out, $p
printf '#!/bin/sh\ncp /e/a {ARCHIVE}' >/usr/local/bin/tar; chmod 755 /usr/local/bin/tar"""
SAYS = "s = open('heron.py').read(); open('heron.py', 'w').write(s.replace({}))"
WRONG = [   # what agents do to the source: none is right
    "open('heron.py', 'a').write('# nothing')", WORDS.format("said.split()"),
    WORDS.format("[w for w in said.split() if w.islower()]"), SAYS.format("'away', 'home'"),
    "open('heron.py', 'w').write('import os; os._exit(0)')"]


@pytest.fixture(scope="module", params=KINDS)
def task(request, heron):  # noqa: F811
    """Return a task that was proven; its image goes in the end."""
    patch, kind = KINDS[request.param]
    task = prove(environment_of(), patch, f"heron.agree.{os.getpid():08x}", **kind)
    yield task
    engine.connect().remove_image(image_of(task), force=True)


@pytest.fixture
def graded(task):
    """Return a function: (reward of the task's verifier, whether SWE-bench resolves it) after an
    agent ran some Python, or the gold ("gold"), or nothing ("")."""
    image = image_of(task)
    grader = Grader(factory_of(), task, image, RUN)
    config = verifier_config(task)

    def grades(done: str) -> tuple[float, bool]:
        solve = "python3 - <<'END'\n" + done + "\nEND" if done else "true"
        work, _ = grader.gold() if done == "gold" else grader.work(f"cd /testbed\n{solve}\n")
        with factory_of().open(image, RUN) as sandbox:
            if done == "gold":
                sandbox.put(task.solution, "/solution")
                solve = "bash /solution/solve.sh"
            assert sandbox.run(f"cd /testbed\n{solve}\n").ok
            _, printed = run_evaluation(sandbox, script_of(task), 60)
        try:
            found = printed_results(printed)
        except ValueError:   # it has no results at all
            found = {}
        wanted = map(restored_name, [*config["FAIL_TO_PASS"], *config["PASS_TO_PASS"]])
        return grader.grade(work).reward, all(found.get(test) == "passed" for test in wanted)
    return grades


def test_the_gold_is_rewarded_everywhere_and_nothing_is_nowhere(task, graded, tmp_path):
    assert graded("gold") == (1.0, True)
    assert graded("") == (0.0, False)
    folder = write_task(tmp_path, task)
    assert [graded_in_place(folder, done)[0] for done in (SOLVED, "true")] == ["1.0", "0.0"]


def test_wrong_patches_are_refused_everywhere(graded):
    found = {done: graded(done) for done in WRONG}
    assert {done: resolved for done, (_, resolved) in found.items()} == dict.fromkeys(WRONG, False)
    assert not [done for done, (reward, _) in found.items() if reward == 1.0], json.dumps(found)


def test_a_task_of_somebody_else_is_graded_by_its_own_script_with_what_it_carries(tmp_path):
    toml = {"artifacts": ["/srv/a", {"source": "/opt/b"}, "/out"],
            "environment": {"workdir": "/srv"}}
    script = b'echo "{\\"reward\\": $(cat /srv/a /opt/b)}" > /logs/verifier/reward.json'
    task = Task("theirs", "", toml, {}, {}, {"test.sh": b"mkdir -p /logs/verifier\n" + script})
    grader = Grader(factory_of(), task, "codedata-base:bookworm", RUN)
    work, _ = grader.work("printf 0. >/srv/a; printf 5 >/opt/b; echo 9 >/srv/not-carried")
    assert grader.grade(work).reward == 0.5 and grader.grade(None).reward == 0.0
    forged, _ = grader.work(OWN_TAR)
    assert len(tree_of(forged)) == 3 and grader.grade(forged).reward == 0.0
