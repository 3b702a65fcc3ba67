"""Check the page of terminal tasks: what it holds, and that what it shows cannot run."""
from __future__ import annotations

import json
import os
import re

from a_datapoint import write_approved, write_datapoint
from browser import block_of, wait
from recorded import write_checks

from codedata.datapoints.index_page import PAGE, page, read_tasks, write_index

HOSTILE = "</script><img src=x onerror=hacked(1)><!--<script>hacked(2)</script>\u202e \x00"
SHOWN = "</script><img src=x onerror=hacked(1)><!--<script>hacked(2)</script>⟨U+202E⟩ ␀"
HEAD = b"<title>Terminal tasks</title>"


def write_some(root) -> None:
    """Write four tasks of two seeds: with a failed check, cancelled, approved, edited since."""
    write_approved(root / "task/a")
    write_checks(root, root / "task/a")
    (write_approved(root / "task/b") / "instruction.md").write_text("Add up, quickly.")
    c = write_datapoint(root / "dp/c", {"category": "Debugging", "languages": ["go", "sql"],
                                        "lineage": {"seed": "rows", "agent": "x"}}, tests="1 / 0")
    write_checks(root, c, "solvable", "run 1 gets 0.3")
    write_datapoint(root / "dp/d", {"status": "cancelled", "difficulty": "hard"}, prompt="Do.")


def page_of(root) -> bytes:
    """Write the page, and return it."""
    write_index(root)
    return (root / "dp" / PAGE).read_bytes()


def test_tasks_are_read_with_their_status_and_their_checks(tmp_path):
    assert write_index(tmp_path) == [] and not (tmp_path / "dp").exists()
    write_some(tmp_path)
    html = page_of(tmp_path)
    assert page_of(tmp_path) == html and not re.search(b"https?://", html)
    (tmp_path / "dp/_drafts").mkdir()
    (tmp_path / "dp/_drafts/b.md").write_text("## Task")
    tasks, details, broken = read_tasks(tmp_path)
    assert [(one["id"], one["status"]) for one in tasks] == [
        ("c", "in review"), ("d", "cancelled"), ("a", "approved"), ("b", "approved, edited")]
    assert [bool(one["checks"]) for one in tasks] == [True, False, True, False]
    assert tasks[0]["checks"][1]["evidence"] == ["run 1 gets 0.3"]
    drafts = [re.findall(r"_drafts/\w+.md", json.dumps(block_of(page_of(tmp_path), f"row-{k}")))
              for k in range(4)]
    assert drafts == [[], [], [], ["_drafts/b.md"]]
    assert len(details) == 4 and broken == []


def test_what_does_not_fit_is_left_out_and_odd_values_end_nothing(tmp_path):
    write_some(tmp_path)
    odd = {"seed": [[[]]], "x" * 999: "y" * 999}
    write_datapoint(tmp_path / "dp/e", {"lineage": odd, "tags": ["t" * 900] * 99}, weights="[")
    write_datapoint(tmp_path / "dp/f", {"lineage": {"seed": "sums"}})
    bad = write_datapoint(tmp_path / "dp/g")
    (tmp_path / "dp/empty").mkdir()
    with open(os.fsencode(bad / "environment") + b"/\xff", "w"):
        pass   # a name that is no UTF-8
    tasks, details, broken = read_tasks(tmp_path, room=4000)
    assert 0 < len(details) < 6
    assert HEAD in page(tmp_path, tasks, details, broken)
    assert len(tasks[2]["tags"]) == 30 and tasks[2]["seed"] == "[[[]]]"
    assert sorted(re.findall(r"dp/(\w+) is no datapoint", " ".join(broken))) == ["empty", "g"]


def test_costs_are_those_of_calls_under_dp(tmp_path, show):
    write_some(tmp_path)
    assert b'"costs"' not in page_of(tmp_path)
    call = {"id": "", "model": "m-1", "tokens_in": 10, "tokens_out": 5, "seconds": 1.0,
            "cost_usd": 0.5}
    for place, id in (("dp/_ideas", "1"), ("answer", "2")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "_ledger.jsonl").write_text(json.dumps(
            {"item": "x", "stage": "build_dp.idea", "calls": [{**call, "id": id}]}) + "\n")
    tab = show(page_of(tmp_path))
    assert re.split(r"\s+", tab.inner_text("#costs tbody").strip()) == [
        "build_dp.idea", "m-1", "1", "10", "5", "1.0", "s", "1.0", "s", "$0.5000"]


def test_a_task_is_opened_and_leads_to_those_of_its_seed(tmp_path, show):
    write_some(tmp_path)
    write_datapoint(tmp_path / "dp/d", {"status": "cancelled"}, tests="#" * 30_000)
    tab = show(page_of(tmp_path))
    names = tab.locator(".rows tr[data-at] .name")
    assert names.all_inner_texts() == ["c", "d", "a", "b"]
    rows = tab.locator(".rows tr[data-at]").all_inner_texts()
    assert "3 of 3" in rows[2] and "approved, edited" in rows[3] and "not validated" in rows[3]
    tab.select_option("#filter-check", "solvable: failed")
    assert names.all_inner_texts() == ["c"]
    tab = show(page_of(tmp_path), "#status=in+review&task=c")
    shown = tab.inner_text("#reader")
    for text in ("1 / 0", "FROM codedata-base", "test_words_are_passed_over", "0.3", "total.py",
                 "run 1 gets 0.3", "rows", "cat > total.py"):
        assert text in shown, text
    tab = show(page_of(tmp_path), "#task=d")
    shown = tab.inner_text("#reader")
    assert "not validated" in shown and "The first 20,000 of 30,000 characters" in shown
    tab.click("#reader button.link")
    wait(tab, "!document.getElementById('reader').open && location.hash === '#seed=sums'")
    assert tab.locator(".rows tr[data-at]").count() == 3
    in_short = show(page(tmp_path, *read_tasks(tmp_path, room=0)), "#task=c")
    shown = in_short.inner_text("#reader")
    assert "it holds 0 of 4 tasks in full" in shown and "run 1 gets 0.3" in shown


def test_what_is_hostile_runs_nowhere(tmp_path, show):
    file = HOSTILE.replace("/", "").replace("\0", "")
    folder = write_datapoint(tmp_path / "dp/a", {
        "category": HOSTILE[:-1], "tags": [HOSTILE[:-1]], "lineage": {"seed": HOSTILE, HOSTILE: 1},
        "status": HOSTILE[:-1]}, prompt=HOSTILE[:-1], tests=HOSTILE, solution=HOSTILE,
        weights=json.dumps(HOSTILE))
    (folder / "environment" / file).write_text("")
    write_checks(tmp_path, folder, "solvable", HOSTILE[:-1])
    (tmp_path / f"dp/{file}").mkdir()
    html = page_of(tmp_path)
    for anchor in ("", "#task=a"):   # the fixture sees whatever runs
        for width in (1280, 400):
            tab = show(html, anchor, width=width)
            assert tab.locator("main img, dialog img, main script, dialog script").count() == 0
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.inner_text("#reader").count(SHOWN) >= 4
