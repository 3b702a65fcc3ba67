"""Check the figures of audits in exports: in task.toml, in manifests, on cards, as rules."""
import json

import pytest
from a_task import BUG_ID, STRIP_ID, a_bug, a_datapoint, a_strip, edited, write_task
from conftest import edit
from exports import card, config, left_out, left_out_lines, manifest
from fake_judges import exported as make
from root import write_files

from codedata.disk.layouts import files_digest
from codedata.records import Object, Task, TaskAudit
from codedata.tasks.folder.task_folder import audited_digest
from codedata.texts import tomllib

SECRET = "survivor-of-the-gold"
FIGURES = json.loads("""{
    "gold": {"runs": 4, "rewarded": 4}, "cheats": {"tried": 20, "rewarded": 0},
    "strength": {"possible": 30, "tried": 20, "killed": 18, "places": 2},
    "fairness": {"rewrites": 3, "accepted": 3, "texts": 1, "unseen": 1},
    "rivals": {"right": 2, "wrong": 1, "wrong accepted": 1},
    "flakes": {"runs": 10, "failed": 0, "at_most": "edited"}, "answer": {}}""")
EXPORTED = tomllib.loads("""
worst = "review"
gold = {runs = 4, rewarded = 4}
cheats = {tried = 20, rewarded = 0}
strength = {tried = 20, killed = 18}
rewrites = {tried = 3, accepted = 3}
rivals = {right = 2, right_refused = 0, wrong = 1, wrong_accepted = 1}
flakes = {runs = 10, failed = 0, at_most = 0.259}
""")


def write_audit(root, task: Task, results: dict | None = None, **figures: Object) -> None:
    """Write the audit of a task with FIGURES and others, and with other results of checks."""
    results = {"strength": "review", "answer": "no case", **(results or {})}
    checks = [{"name": name, "version": "1", "result": results.get(name, "passed"), "why": SECRET,
               "evidence": [SECRET], "figures": one, "tries": [{"path": "a", "diff": SECRET}],
               "seconds": 1.0, "command": SECRET} for name, one in {**FIGURES, **figures}.items()]
    root.put(task.instance_id, TaskAudit(task.instance_id, task.kind, audited_digest(task),
                                         files_digest({}), checks, 1.0))


@pytest.fixture
def root(tmp_path):
    """Return a root with a task of each kind, of which the bug is audited."""
    tmp_path.with_settings()
    for task in (a_bug(), a_strip(), a_datapoint()):
        write_task(tmp_path, task)
    write_audit(tmp_path, a_bug())
    return tmp_path


def known(root, name: str = BUG_ID) -> Object:
    return config(root, name)["metadata"]["codedata"]


def audits(root, name: str = "harbor") -> str:
    return card(root, name).partition("## Audit\n\n")[2]


def test_figures_are_in_task_toml_and_manifests_and_nothing_that_hints_at_the_gold(root):
    make(root)
    assert known(root)["audit"] == EXPORTED and known(root)["kind"] == "bug"
    assert "audit" not in known(root, STRIP_ID)
    for name in ("harbor", "swebench", "swesmith"):
        tasks = manifest(root, name)["tasks"]
        assert {one["name"]: one["audit"] for one in tasks}[BUG_ID] == EXPORTED
    files = [path for path in (root / "export").rglob("*") if path.is_file()]
    assert len(files) > 30 and not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_a_card_adds_the_figures_up_or_says_that_there_are_none(root):
    write_audit(root, a_strip(), {"gold": "failed"}, gold={"runs": 2, "rewarded": 1},
                strength={"tried": 20, "killed": 25}, flakes={})
    make(root)
    for line in ("audited as they are now | 2 of 3 tasks", "rewarded | 40 of 40 (95 %: 91.2% to",
                 "gold that are rewarded | 6 of 6", "cheats rewarded | 0 of 40",
                 "gold that are not rewarded | 1 of 6 (with 95 % at most 58.2%)",
                 "under load | 0 of 10 (with 95 % at most 25.9%)", "right rivals refused | 0 of 4",
                 "wrong rivals accepted | 2 of 2"):
        assert line in audits(root)
    assert known(root, STRIP_ID)["audit"]["worst"] == "failed"
    assert "| 1 of 1 task |" in audits(root, "swebench")
    assert "| 1 of 1 task |" in audits(root, "nl2repo")
    (root / "audit" / f"{BUG_ID}.json").unlink()
    make(root)
    assert audits(root, "swebench").startswith("None of these tasks is audited")


def test_an_export_is_written_again_when_an_audit_changes(root):
    make(root)
    assert make(root).count("unchanged") == 4
    write_audit(root, a_bug(), strength={"tried": 20, "killed": 19})
    assert make(root, "--status").count("rows would change") == 3
    assert make(root).count("unchanged") == 1 and known(root)["audit"]["strength"]["killed"] == 19


def test_an_audit_of_an_edited_task_counts_as_none_and_figures_that_came_with_it_are_dropped(root):
    task = edited(a_datapoint(), {"audit": {"worst": "passed"}}, tests={"more.txt": b"1"})
    write_audit(root, a_datapoint())
    write_task(root, task)
    write_task(root, edited(a_strip(), {"audit": {"worst": "passed"}}))
    root.with_settings(more="[export]\naudited_only = true\n")
    make(root)
    assert left_out(root) == {
        STRIP_ID: "not audited", "tally": "not as proven"}
    root.with_settings()
    make(root)
    assert "audit" not in known(root, STRIP_ID)


def test_rivals_that_changed_since_have_no_figures(root):
    write_files(root, {f"task/{BUG_ID}/rivals/right-1.sh": "true\n"})
    make(root)
    assert known(root)["audit"] == {key: one for key, one in EXPORTED.items() if key != "rivals"}


@pytest.mark.parametrize("result, reason", [("review", None), ("failed", "failed its audit")])
def test_tasks_that_fail_their_audit_are_left_out_as_set(root, result, reason):
    figures = {"strength": FIGURES["strength"]}
    write_audit(root, a_bug(), dict.fromkeys(("strength", "cheats"), result), **figures)
    root.with_settings(more="[export]\naudited_only = true\n")
    make(root)
    assert left_out(root).get(BUG_ID) == reason
    details = [line["detail"] for line in left_out_lines(root) if line["name"] == BUG_ID]
    assert reason is None or details[0].startswith("cheats, strength")


def test_a_broken_audit_is_named_and_counts_as_none(root):
    edit(root / f"audit/{BUG_ID}.json", checks="x")
    assert f"{BUG_ID}.json" in make(root, code=1)
    assert "audit" not in known(root)
