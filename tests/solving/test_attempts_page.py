"""Check the page of attempts: what it counts and shows, and that what it shows cannot run."""
from __future__ import annotations

import json

from an_attempt import MESSAGES, write_attempt

from codedata.solving.index_page import PAGE, write_index

HOSTILE = "</script><img src=x onerror=hacked(1)><!--<script>hacked(2)</script>\u202e\ud800"
SHOWN = "</script><img src=x onerror=hacked(1)><!--<script>hacked(2)</script>⟨U+202E⟩⟨U+D800⟩"


def test_attempts_are_counted_by_task_model_and_status_and_read_side_by_side(tmp_path, show):
    assert write_index(tmp_path) == []
    names = [write_attempt(tmp_path, k=k, status="wrong" if k > 1 else "solved", why="2 fail")
             for k in (1, 2, 3)]
    write_attempt(tmp_path, "tally", status="out of steps", model="")
    (tmp_path / "attempt" / write_attempt(tmp_path, "a") / "trajectory.json").write_text("{}")
    write_index(tmp_path)
    tab = show((tmp_path / PAGE).read_bytes())
    tab.click("text=1 attempt cannot be read")
    assert [" ".join(text.split()) for text in tab.locator(".wide").all_inner_texts()] == [
        "Attempts solved wrong out of steps m 1 2 0 own-m-012345 0 0 1",
        "Attempts m own-m-012345 sums.01234567 1 of 3 0 tally.01234567 0 0 of 1"]
    cells = tab.locator(".rows tr[data-at]").nth(1).locator("td").all_inner_texts()
    assert cells == ["sums.01234567\n2 fail", "datapoint", "m", "wrong", "2", "0", "5", "2", "200",
                     "40", "0.500", "5"]
    tab.click("text=1 of 3")
    tab.click(".rows tr[data-at]")
    assert tab.locator("#reader [open] .role").all_inner_texts() == [
        "2 user", "3 agent", "3 bash", "3 bash", "5 agent"]
    tab.click(".keep")
    tab.keyboard.press("j")
    tab.wait_for_selector(f".content + .content:has-text('{names[1]}')")
    tab.click(".keep")
    tab.keyboard.press("j")
    tab.wait_for_selector(f".content:only-child:has-text('{names[2]}')")


def test_what_is_hostile_runs_nowhere_and_what_is_long_is_cut(tmp_path, show):
    line = HOSTILE[:-1]   # a record's texts hold no half characters
    long = {"role": "assistant", "content": "x" * 1_000_000}
    name = write_attempt(tmp_path, messages=[*MESSAGES, *[long] * 9, *MESSAGES * 80],
                         why=line, verifier=line, model=line)
    file = tmp_path / "attempt" / name / "trajectory.json"
    file.write_text(file.read_text().replace("total.py", json.dumps(HOSTILE)[1:-1]))
    write_index(tmp_path)
    html = (tmp_path / PAGE).read_bytes()
    assert len(html) < 200_000
    for width in (1280, 400):   # the fixture sees whatever runs
        tab = show(html, f"#attempt={name}", width=width)
        tab.click("text=Unfold all")
        assert tab.locator("main img, dialog img, main script, dialog script").count() == 0
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.click("button.more >> nth=0")
    shown = tab.inner_text("#reader")
    assert shown.count(SHOWN) > 90 and "Trajectory: 300 of 414 steps" in shown
    assert "[… 990000 characters left out: the attempt's files have them …]" in shown
