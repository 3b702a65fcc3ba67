"""Check the step inject of bug_inject.py: what its agents are told, and what leaves their
sandboxes."""
import threading
from pathlib import Path

import pytest
from conftest import ledger_lines, run_script
from heron_environment import TEST_SCRIPT, an_environment
from line_tables import toml_beside
from projects import Project
from root import read_json, write_json
from scenario import Scenario
from setups import CA_FLAGS

from codedata.analysis.analyse import analysis_of
from codedata.bugs.inject import RefusedChange, agent_items, diff_and_symbol
from codedata.code.entities import SourceFile, Sources, is_test_file, language_of
from codedata.disk.store import Store
from codedata.llm.replies import current_reply_log
from codedata.records import Candidates, parse
from codedata.run import cli, start
from codedata.run.stage import Reads, Stage, Writes
from codedata.suites.environments import Environments

FILES = {"long beak.py": "def peck(n):\n    # from above\n    return n - 1\n",
         "latin.py": b"# -*- coding: latin-1 -*-\nBIRD = 'h\xe9ron'\n",
         "tests/test_marsh.py": """import runpy
import latin

def test_peck():
    assert runpy.run_path("long beak.py")["peck"](3) == 2
"""}
MARSH = Project("heron", """git init -q; git add -A; mkdir -p lib/site-packages; git commit -qm one
echo EGRET = 1 >lib/site-packages/egret.py; mkdir -p /opt/marsh/bin
echo export MARSH=wet >/opt/marsh/bin/activate""", FILES)
CASES = [*an_environment()["test_case_result"],
         {"name": "tests/test_marsh.py::test_peck", "status": "passed"}]
SCRIPT = ["agent", "--steps", "inject", "--per-repo", 1, *CA_FLAGS]


@pytest.fixture(scope="session")
def marsh_image():
    MARSH.make()


def analysed(files: dict[str, bytes], tests=(), name: str = "heron", commit: str = "0" * 40):
    sources = [SourceFile(path, language_of(path), text, is_test_file(path))
               for path, text in files.items() if language_of(path)]
    tests = [{**test, "flaky": False} for test in tests]
    return analysis_of(f"birds/{name}", name, commit, Sources(sources), tests)


def write_root(root: Path, *names: str, files=MARSH.contents, **fields) -> None:
    """Write environments of the marsh, with the analyses of their source."""
    for name in names:
        one = an_environment(name, **{"image_name": MARSH.image,
                                      "test_case_result": CASES, **fields})
        root.with_env(one)
        analysis = analysed(files, one["test_case_result"], name, one["base_commit"])
        write_json(root / f"analysis/{name}.json", vars(analysis))


def inject(root: Path, model: Scenario, *flags):
    return run_script("bug_inject.py", root, *SCRIPT, "--llm-base-url", model.base_url, *flags,
                      timeout_s=300)


def act(*calls, after: str = "") -> dict:
    return {"calls": [*calls], "after": after}


def bash(command: str) -> list:
    return ["bash", {"command": command}]


def edit(path: str, old: str, new: str) -> list:
    return ["edit_file", {"path": path, "old": old, "new": new}]


SUBMIT = ["submit", {"answer": "Herons wade too deep."}]
DEEP = edit("heron.py", "return 2 * depth", "times = 2 if depth < 15 else 3\n"
            "    return times * depth")
FOREIGN = "only sources that tests load may change, as texts in UTF-8; undo this: "
UNDO = bash("rm -rf blob.bin crane.py conftest.py sub tests; "
            "[ ! -e /tmp/kept ] || mv -T /tmp/kept /tmp/clean; (cd /tmp/clean && find . -type f "
            "-exec cp --remove-destination --parents {} /testbed/ ';')")
WRONG = {   # a command of an agent, and what it is told when it hands in then
    "true": "the source is as it was",
    "echo >>tests/test_marsh.py; ln -s /etc/passwd crane.py; head -c 9 /dev/zero >blob.bin":
    f"{FOREIGN}blob.bin, crane.py, tests/test_marsh.py.",
    "echo EGRET = 2 >lib/site-packages/egret.py; mv latin.py $'/tmp/e\ngret'":
    f"{FOREIGN}latin.py, lib/site-packages/egret.py.",
    "mkdir -p sub/lib .git; echo x >.git/config; git init -q sub; echo >.gitmodules; "
    "echo >conftest.py; echo >sub/lib/sitecustomize.py; echo >sub/x.pth; mv heron.py ../egret.py":
    f"{FOREIGN}conftest.py, heron.py, sub/lib/sitecustomize.py and 1 more.",
    "rm heron.py; mkfifo heron.py": f"{FOREIGN}heron.py.",
    "rm -r tests; ln -s /etc tests": f"{FOREIGN}tests, tests/__init__.py, ",
    "head -c 60000000 /dev/zero | tr '\\0' x >heron.py": "/tmp/clean: more than 20,000,000 bytes",
    "mv /tmp/clean /tmp/kept": "cannot be compared with /tmp/clean: ",
    "chmod 000 heron.py; touch -d @0 latin.py": "the source is as it was",
    "printf '\\0' >>heron.py; ln -sf /etc/passwd 'long beak.py'; echo >>latin.py":
    f"{FOREIGN}heron.py, latin.py, long beak.py.",
    "sed -i 's/2 [*] depth/depth * 2/' heron.py":
    "It does not count: no test that passed before fails.\n22 tests pass, 0 fail",
    "sed -i 's/def wade/def soar/' heron.py": "these are not collected: tests.test_heron",
    # what lies beside the installed packages makes tests fail, for this agent alone
    "at=$(python3 -c 'import site; print(site.getsitepackages()[0])'); mkdir -p $at; echo 'import "
    "sys; sys.path.insert(0, \"/testbed\"); import heron; heron.wade = print' >$at/bird.pth; "
    "pytest 2>&1 | tail -n 2; rm written.txt": "the source is as it was"}


@pytest.mark.docker
def test_an_agent_is_told_what_to_undo_and_only_a_bug_of_the_source_leaves(marsh_image, tmp_path):
    write_root(tmp_path, "heron", test_script=f". /opt/marsh/bin/activate\n{TEST_SCRIPT}")
    look = act(bash("ls -a; git log; ls /sys/class/net; echo $MARSH; cat /tmp/run_tests.sh"),
               ["get_hotspots", {}], ["inspect_symbol", {"name": "wade"}])
    replies, told = [look], ""
    for command, answer in WRONG.items():
        replies.append(act(UNDO, bash(command), SUBMIT, after=told))
        told = answer
    replies.append(act(UNDO, edit("long beak.py", "n - 1", "n - 2"), DEEP, SUBMIT, after=told))
    with Scenario({"scenes": [{"native": replies}]}) as model:
        done = inject(tmp_path, model)
        assert (done.returncode, model.n_requests) == (0, len(replies)), done.stderr
        assert "nothing to do" in inject(tmp_path, model).stderr
        assert model.n_requests == len(replies)
    record = parse(Candidates, read_json(tmp_path / "bug/_candidates/heron.agent-1.json"), "")
    bug, = record.candidates
    assert (bug["symbol"], bug["summary"]) == ("heron.py::wade", SUBMIT[1]["answer"])
    assert record.usage["calls"] == len(replies) and record.method == "agent"
    assert [line for line in bug["diff"].split("\n") if line[:1] in ("+", "-")] == [
        "--- a/heron.py", "+++ b/heron.py", "-    return 2 * depth",
        "+    times = 2 if depth < 15 else 3", "+    return times * depth",
        "--- a/long beak.py\t", "+++ b/long beak.py\t", "-    return n - 1", "+    return n - 2"]
    trajectory = read_json(tmp_path / record.trajectory)
    texts = [message["content"] for message in trajectory["messages"]]
    assert "/tmp/clean . shows" in texts[1] and "at most 5 times" in texts[1]
    assert "\nlo\nwet\n" in texts[3] and "eth0" not in texts[3]
    assert "not a git repository" in texts[3] and ".git" not in texts[3].split("\n")
    assert any("FAILED tests/test_heron.py::test_wade" in str(text) for text in texts)
    assert TEST_SCRIPT in texts[3] and "heron.py::wade  2 lines" in texts[4]


@pytest.mark.docker
def test_bugs_of_a_repository_come_in_turn_and_a_failed_agent_is_asked_anew(
        marsh_image, tmp_path):
    write_root(tmp_path, "crane", "egret")
    harmless = act(edit("heron.py", "2 * depth", "depth * 2"), SUBMIT)
    scenes = [{"when": "birds/egret", "native": [
                  harmless, *(act(["submit", {"answer": f"Try {n}."}]) for n in range(4))]},
              {"when": "- crane.agent-1, in", "native": [
                  act(["get_hotspots", {}]), act(edit("heron.py", "'away'", "'here'"), SUBMIT,
                                                 after="earlier bug: crane.agent-1")]},
              {"native": [act(bash("sleep 1")), act(DEEP, SUBMIT)]}]
    scenes[1]["native"].append(act(DEEP, SUBMIT))
    flags = ("--workers", 4, "--per-repo", 2, "--strategy", "promise")
    with Scenario({"scenes": scenes}) as model:
        done = inject(tmp_path, model, *flags)
        assert done.returncode == 1 and "wrote 2, failed 2: egret.agent-1, egret.agent-2" in \
            done.stderr
        assert model.n_requests == 2 + 3 + 2 * 5
    errors = {line["error"] for line in
              ledger_lines(tmp_path / "bug/_candidates", state="failed", item="egret.agent-1")}
    assert errors == {"egret.agent-1 its agent made no bug (tool_stop): the tool submit asked to "
                      "stop; its last bug: no test that passed before fails"}
    rules, task = (message["content"] for message in read_json(
        tmp_path / "bug/_trajectories/crane.agent-2.0.json")["messages"][:2])
    assert "Change all callers but one" in rules
    assert "crane.agent-1, in heron.py::wade: Herons wade too deep." in task
    edited = tmp_path / "bug/_candidates/crane.agent-1.json"
    edited.write_text(edited.read_text().replace("too deep", "too far"))
    analysis = tmp_path / "analysis/crane.json"
    analysis.write_text(analysis.read_text().replace('"reason"', '"reason" '))
    with Scenario({"scenes": scenes}) as model:
        said = inject(tmp_path, model, *flags, "--only", "crane", "--status").stderr
    assert "done 1" in said and "edited 1" in said and "stale" not in said


@pytest.mark.docker
def test_a_feature_is_built_without_the_tests_and_is_not_told_which_of_them_fail(
        marsh_image, tmp_path):
    write_root(tmp_path, "heron")
    tmp_path.with_candidates("heron.agent-2", {"symbol": "heron.py::fly", "summary": "A slip."})
    new = ["create_file", {"path": "mud.py", "content": '"""Tell of mud."""\nDEPTH = 3\n'}]
    replies = [
        act(bash("ls tests /tmp/clean/tests; ls -a /tmp; grep -r test_ . /tmp; pytest"),
            edit("heron.py", "2 * depth", "2 * depth  # mud"), SUBMIT),
        act(new, SUBMIT, after="a feature changes two files or more"),
        act(["create_file", {"path": "tests/test_mud.py", "content": "1"}], SUBMIT,
            after="0 fail that passed before\nThe suite may be run 4 more times"),
        act(bash("rm tests/*; sed -i 's/def wade/def soar/' heron.py"), SUBMIT,
            after="only sources and new ones may change, as texts in UTF-8; undo this: tests/test"),
        act(bash("sed -i 's/def soar/from mud import DEPTH\\ndef wade/' heron.py"),
            edit("heron.py", "2 * depth", "(2 if depth < 15 else DEPTH) * depth"), SUBMIT,
            after="these are not collected.\n")]
    with Scenario({"scenes": [{"native": replies}]}) as model:
        done = inject(tmp_path, model, "--strategy", "feature")
    assert done.returncode == 0, done.stderr
    record = parse(Candidates, read_json(tmp_path / "bug/_candidates/heron.agent-1.json"), "")
    bug, = record.candidates
    assert bug["family"] == "feature" and "--- /dev/null\n+++ b/mud.py" in bug["diff"]
    texts = [message["content"] or "" for message in read_json(
        tmp_path / record.trajectory)["messages"]]
    assert "A slip." not in texts[1]
    assert not [text for text in texts if "test_heron" in text or "test_wade" in text]
    assert "inspect_symbol" not in str(model.requests[0].body["tools"])


@pytest.mark.docker
def test_what_cannot_be_broken_is_named(marsh_image, tmp_path):
    write_root(tmp_path, "heron")
    (tmp_path / "analysis/heron.json").unlink()
    write_root(tmp_path, "stork", test_case_result=[{"name": "t", "status": "failed"}])
    with Scenario({"scenes": []}) as model:
        said = inject(tmp_path, model).stderr
        local = inject(tmp_path, model, "--sandbox", "local")
    assert "waiting 1" in said and "no analysis/ yet" in said and model.n_requests == 0
    excluded, = ledger_lines(tmp_path / "bug/_candidates", state="excluded")
    assert (excluded["item"], excluded["error"]) == ("stork.agent-1", "has no test that passes.")
    assert local.returncode == 2 and "isolates nothing" in local.stderr


# without a sandbox -------------------------------------------------------------------------------

def test_agents_of_one_repository_wait_for_the_earlier_ones(tmp_path):
    tmp_path.with_env(*map(an_environment, ("crane", "stork")))
    items = agent_items(Environments(tmp_path), 2).open()
    names = ["crane.agent-1", "stork.agent-1", "crane.agent-2", "stork.agent-2"]
    assert [*items.names()] == names
    others = ("crane.agent-9", "ibis.agent-1", "ibis.procedural", "ibis.7")
    assert [*map(items.covers, others)] == [True, False, True, True]
    meet, on_disk = threading.Barrier(2), {}

    def make(item) -> Candidates:
        files = (tmp_path / "bug/_candidates").glob("*.json")
        on_disk[current_reply_log().item] = {path.stem for path in files}
        meet.wait(30)   # both repositories are worked on at once
        return Candidates(item.repo, item.repo_name, item.base_commit, "agent", [], "", {}, 0.1)

    args = cli.parser("toy.py").parse_args(["--root", str(tmp_path)])
    stage = Stage("toy", make=make, reads=Reads(agent_items(Environments(tmp_path), 2), ()),
                       writes=Writes(Store(tmp_path, Candidates)),
                       after_same=lambda name: name.rpartition(".")[0])
    assert start.run(lambda _: stage, *cli.read(args)) == 0
    assert names[0] in on_disk[names[2]] and names[1] in on_disk[names[3]]


@pytest.mark.parametrize("change", toml_beside(__file__, "changes.toml")["change"])
def test_what_people_read_and_the_size_of_a_change_are_facts(change):
    path, before, after, told = change.values()
    after, said = after.replace("LONG", "x = 1\n" * 151), ""
    try:
        diff_and_symbol({path: before.encode()}, {path: after.encode()}, "break")
    except RefusedChange as e:
        said = str(e)
    assert told in said and bool(told) == bool(said)


def test_a_diff_is_named_after_the_function_that_it_changes():
    path = "a b/\u0444.py"
    before = b"A = 1\n\nclass C:\n    b = 1\n\n    def f(self):\n        x = 1\n        return x"
    for old, new, name in ((b"A = 1", b"A = 2", ""), (b"return x", b"return -x", f"{path}::C.f")):
        diff, symbol = diff_and_symbol({path: before}, {path: before.replace(old, new)}, "break")
        assert symbol == name and f"--- a/{path}\t\n" in diff
    assert diff.count("\\ No newline at end of file") == 2
