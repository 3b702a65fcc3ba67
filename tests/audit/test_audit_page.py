"""Check the page of audits: what it holds and marks, and that what it shows cannot run."""
from __future__ import annotations

import re

from a_task import a_bug, a_datapoint, edited, write_task

from codedata.audit.index_page import page, read_audits, write_index
from codedata.disk.layouts import files_digest, to_json
from codedata.records import TaskAudit
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


def write_audit(root, task, *checks, has_folder: bool = True) -> None:
    """Write a task, and its audit as of now."""
    if has_folder:
        write_task(root, task)
    audit = TaskAudit(task.instance_id, task.kind, audited_digest(task), files_digest({}),
                      [*checks], 3.0)
    (root / "audit").mkdir(exist_ok=True)
    (root / f"audit/{task.instance_id}.json").write_bytes(to_json(vars(audit)))


def write_some(root) -> None:
    """Write audits of five tasks: passed, to review, failed, of an edited folder and of none."""
    strength = a_check("strength", "review", "2 of 8 are rewarded", tries=[
        a_survivor(), a_survivor(place=1)], figures={"tried": 8, "killed": 6})
    write_audit(root, a_datapoint("a"), a_check("gold"), a_check("rivals", "no case"))
    write_audit(root, a_datapoint("b"), a_check("gold"), strength)
    write_audit(root, a_bug("c.agent-1.0123abcd"), strength, a_check(
        "cheats", "failed", "it can be cheated", evidence=["by a plugin"],
        figures={"tried": 4, "rewarded": 1}))
    write_audit(root, a_datapoint("d"), a_check("gold", "of a later version"))
    write_task(root, edited(a_datapoint("d"), solution={"solve.sh": b"true\n"}))
    write_audit(root, a_datapoint("e"), a_check("gold"), has_folder=False)


def page_of(root) -> bytes:
    """Write the page, and return it."""
    write_index(root)
    return (root / "audit/index.html").read_bytes()


def test_the_worst_come_first_and_edited_and_missing_folders_are_marked(tmp_path):
    assert write_index(tmp_path) == [] and not (tmp_path / "audit").exists()
    write_some(tmp_path)
    html = page_of(tmp_path)
    assert page_of(tmp_path) == html and str(tmp_path).encode() not in html
    (tmp_path / "audit/f.json").write_text("{}")
    rows, details, broken = read_audits(tmp_path)
    assert [(row["id"], row["result"], row["mark"]) for row in rows] == [
        ("c.agent-1.0123abcd", "failed", ""), ("d", "not checked", "was edited since its audit"),
        ("b", "review", ""), ("a", "passed", ""), ("e", "passed", "is missing")]
    assert len(details) == 5 and len(broken) == 1 and "audit/f.json" in broken[0]
    (tmp_path / "task/a/rivals").mkdir()
    (tmp_path / "task/a/rivals/wrong-1.sh").write_text("true\n")   # is an edit, too
    assert read_audits(tmp_path)[0][3]["folder"] == "was edited since its audit"


def test_shares_have_intervals_and_figures_that_are_no_counts_are_passed_over(tmp_path, show):
    write_some(tmp_path)
    odd = {"tried": "x", "runs": -1, "failed": 1e300, "right": True}
    write_audit(tmp_path, a_datapoint("g"), a_check("strength", figures=odd, tries=[{"diff": [1]}]),
                a_check("flakes", figures=odd), a_check("rivals", figures=odd))
    tab = show(page_of(tmp_path), "#task=g")
    rows = tab.locator(".card:last-child tbody tr").all_inner_texts()
    assert re.split(r"\t", rows[0].replace("\xa0", " ")) == [
        "wrong variants killed", "12 of 16", "75.0 %", "50.5 % – 89.8 %"]
    assert "not tried" in rows[1] and "1 of 4" in rows[3] and "not tried" in rows[4]


def test_cells_and_filters_choose_tasks(tmp_path, show):
    write_some(tmp_path)
    tab = show(page_of(tmp_path))
    names = tab.locator(".rows tr[data-at] .name")
    assert names.all_inner_texts() == ["c.agent-1.0123abcd", "d", "b", "a", "e"]
    for key, value, wanted in (
            ("kind", "bug", "c"), ("result", "review", "b"), ("check", "strength: review", "cb"),
            ("folder", "is missing", "e"), ("folder", "was edited since its audit", "d")):
        tab.select_option(f"#filter-{key}", value)
        assert [name[0] for name in names.all_inner_texts()] == [*wanted] and f"{key}=" in tab.url
        tab.click("button.clear")
    tab.click(".card tr:has-text('strength') button.link")
    assert [name[0] for name in names.all_inner_texts()] == ["c", "b"]


def test_a_task_shows_its_survivors_side_by_side_and_its_files(tmp_path, show):
    write_some(tmp_path)
    (tmp_path / "task/b/tests/long.txt").write_text("y" * 20_001)
    html = page_of(tmp_path)
    tab = show(html, "#task=b")
    shown = tab.inner_text("#reader")
    for text in ("2 of 8 are rewarded", "killed 6, tried 8", "Place 2 of 2", "m.py:4",
                 "python audit.py --checks strength", "was edited since its audit"):
        assert text in shown, text
    tab.click("text=tests/long.txt")
    tab.wait_for_selector("text=The first 20,000 of 20,001 characters")
    left, right = (tab.locator(f".diff .line.{side}").first for side in ("old", "new"))
    assert left.inner_text().split("\n") == ["4", "    return a + 1"]
    assert [one.locator("mark").inner_text() for one in (left, right)] == ["+", "-"]
    assert left.bounding_box()["y"] == right.bounding_box()["y"]
    narrow = show(html, "#task=b", width=360, scheme="dark")
    old, new = (narrow.locator(f".diff .line.{side}").first.bounding_box()
                for side in ("old", "new"))
    assert new["y"] > old["y"] and new["x"] == old["x"]
    in_short = show(page(*read_audits(tmp_path, room=0)), "#task=b")
    assert "it holds 0 of 5 tasks in full" in in_short.inner_text("#reader")


def test_what_is_hostile_runs_nowhere(tmp_path, show):
    line = HOSTILE[:-1]   # a record's texts hold no NUL
    tests = {"test.sh": line.encode(), "b": b"\xff\0"}
    task = edited(a_datapoint("a"), tests=tests, instruction=line)
    write_audit(tmp_path, task, a_check(
        line, line, line, evidence=[line], command=line, figures={HOSTILE: 1},
        tries=[a_survivor(HOSTILE, path=HOSTILE, operator=HOSTILE),
               a_survivor(DIFF.replace("a + 1", HOSTILE))]))
    html = page_of(tmp_path)
    for anchor in ("", "#task=a"):   # the fixture sees whatever runs
        for width in (1280, 360):
            tab = show(html, anchor, width=width)
            tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = 1; })")
            assert tab.locator("main img, dialog img, main script, dialog script").count() == 0
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
    shown = tab.inner_text("#reader")
    assert shown.count(SHOWN) >= 4 and shown.count(SHOWN[:-2]) >= 10
