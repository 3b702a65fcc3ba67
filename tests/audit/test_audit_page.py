"""Check what the page of a root shows of audits, and that what it shows cannot run."""
from a_task import a_bug, a_datapoint, edited, write_task
from browser import block_of

from codedata.disk.layouts import files_digest, to_json
from codedata.records import TaskAudit
from codedata.report.root_page import write_index
from codedata.settings import Settings
from codedata.tasks.folder.folder import audited_digest

HOSTILE = "</script><img src=x onerror=hacked(1)><!--<script>hacked(2)</script>\u202e \x00"
SHOWN = "</script><img src=x onerror=hacked(1)><!--<script>hacked(2)</script>⟨U+202E⟩ ␀"
DIFF = """diff --git a/m.py b/m.py
--- a/m.py
+++ b/m.py
@@ -3,3 +3,3 @@ def f():
     a = 1
-    return a + 1
+    return a - 1
 # end
"""


def a_check(name: str, result: str = "passed", why: str = "", **more) -> dict:
    """Return a check of an audit."""
    return {"name": name, "version": "1", "result": result, "why": why, "evidence": [],
            "figures": {}, "tries": [], "seconds": 1.5,
            "command": f"python audit.py --checks {name}", **more}


def a_survivor(diff: str = DIFF, place: int = 0, **more) -> dict:
    """Return a variant that is still rewarded."""
    return {"path": "m.py", "line": 4, "operator": "plus-to-minus", "place": place, "diff": diff,
            **more}


def write_audit(root, task, *checks) -> None:
    """Write a task, and its audit as of now."""
    write_task(root, task)
    audit = TaskAudit(task.instance_id, task.kind, audited_digest(task), files_digest({}),
                      [*checks], 3.0)
    (root / "audit").mkdir(exist_ok=True)
    (root / f"audit/{task.instance_id}.json").write_bytes(to_json(vars(audit)))


def write_some(root) -> None:
    """Write audits of four tasks: passed, to review, failed, and of a folder that was edited."""
    strength = a_check("strength", "review", "2 of 8 are rewarded", tries=[
        a_survivor(), a_survivor(place=1)], figures={"tried": 8, "killed": 6})
    write_audit(root, a_datapoint("a"), a_check("gold"), a_check("rivals", "no case"))
    write_audit(root, a_datapoint("b"), a_check("gold"), strength)
    write_audit(root, a_bug("c.agent-1.0123abcd"), strength, a_check(
        "cheats", "failed", "it can be cheated", evidence=["by a plugin"]))
    write_audit(root, a_datapoint("d"), a_check("gold", "of a later version"))
    write_audit(root, a_datapoint("e"), strength)
    write_task(root, edited(a_datapoint("e"), solution={"solve.sh": b"true\n"}))


def page_of(root) -> bytes:
    """Write the page, and return it."""
    return write_index([(Settings(root=root), [])]).read_bytes()


def test_a_task_shows_the_worst_of_its_audit_if_its_folder_is_as_it_was(tmp_path):
    write_some(tmp_path)
    odd = {"tried": "x", "killed": 1e300}
    write_audit(tmp_path, a_datapoint("g"), a_check("strength", figures=odd, tries=[{"diff": [1]}]))
    assert [(row["name"][0], row["checked"], row["killed"])
            for row in block_of(page_of(tmp_path), "rows")] == [
        ("a", "passed", None), ("b", "review", [6, 8]), ("c", "failed", [6, 8]),
        ("d", "not checked", None), ("e", "not validated", None), ("g", "passed", None)]


def test_a_task_shows_its_survivors_side_by_side_and_its_files(tmp_path, show):
    write_some(tmp_path)
    (tmp_path / "task/e/tests/long.txt").write_text("y" * 20_001)
    html = page_of(tmp_path)
    tab = show(html, "#item=task/b")
    shown = tab.inner_text("#reader")
    for text in ("2 of 8 are rewarded", "killed 6, tried 8", "Place 2 of 2", "m.py:4",
                 "python audit.py --checks strength"):
        assert text in shown, text
    left, right = (tab.locator(f".diff .line.{side}").first for side in ("old", "new"))
    assert left.inner_text().split("\n") == ["4", "    return a + 1"]
    assert [one.locator("mark").inner_text() for one in (left, right)] == ["+", "-"]
    assert left.bounding_box()["y"] == right.bounding_box()["y"]
    narrow = show(html, "#item=task/b", width=360, scheme="dark")
    old, new = (narrow.locator(f".diff .line.{side}").first.bounding_box()
                for side in ("old", "new"))
    assert new["y"] > old["y"] and new["x"] == old["x"]
    tab = show(html, "#item=task/e")
    tab.click("text=tests/long.txt")
    tab.wait_for_selector("text=The first 20,000 of 20,001 characters")


def test_what_is_hostile_runs_nowhere(tmp_path, show):
    line = HOSTILE[:-1]   # a record's texts hold no NUL
    tests = {"test.sh": line.encode(), "b": b"\xff\0"}
    task = edited(a_datapoint("a"), tests=tests, instruction=line)
    write_audit(tmp_path, task, a_check(
        line, line, line, evidence=[line], command=line, figures={HOSTILE: 1},
        tries=[a_survivor(HOSTILE, path=HOSTILE, operator=HOSTILE),
               a_survivor(DIFF.replace("a + 1", HOSTILE))]))
    html = page_of(tmp_path)
    for anchor in ("", "#item=task/a"):   # the fixture sees whatever runs
        for width in (1280, 360):
            tab = show(html, anchor, width=width)
            tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = 1; })")
            assert tab.locator("main img, dialog img, main script, dialog script").count() == 0
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
    shown = tab.inner_text("#reader")
    assert shown.count(SHOWN) >= 4 and shown.count(SHOWN[:-2]) >= 10
