"""Check index.html, the page of a root: what it holds, that what it shows cannot run, two roots."""
import json
import re
import shutil
from dataclasses import replace

import fake_judges
import pytest
from a_task import a_bug, a_datapoint, a_pull, a_strip, edited, write_foreign, write_task
from an_attempt import MESSAGES, write_attempt
from browser import block_of, wait
from conftest import run_script, settings_for
from heron_environment import an_environment

from codedata.report.root_page import write_index
from codedata.settings import Settings

HOSTILE = "</script><img src=x onerror=hacked(1)><!--<script>hacked(2)</script>\u202e"
SHOWN = HOSTILE.replace("\u202e", "⟨U+202E⟩")


@pytest.fixture
def root(tmp_path, fake_llm):
    """Write a root with an item of each kind, and a broken environment."""
    root = tmp_path / "nest"
    root.mkdir()
    fake_judges.judged(root, fake_llm, 2)
    root.with_commits(2)
    fake_judges.report_text(root)
    root.with_answers(1, first=3)
    (root / "chain.toml").write_text('[exclude]\nids = ["proj__repo-3"]\n')
    for task in (a_bug(instruction=HOSTILE), a_strip(), a_pull(), a_datapoint()):
        write_task(root, task)
    write_task(root / "x", edited(a_datapoint("draft"), about={
        "status": "in_review", "languages": [HOSTILE]}))
    shutil.move(root / "x/task", root / "dp")
    (root / f"dp/{HOSTILE.replace('/', '')}").mkdir()
    write_foreign(root, "theirs", {"tests/config.json": '{"FAIL_TO_PASS": 3}'})
    root.with_env(an_environment(install_script=HOSTILE, summary=HOSTILE))
    write_attempt(root, why=HOSTILE, model=HOSTILE)
    (root / "env/torn.json").write_text("{" + HOSTILE)
    (root / "env/outside.json").symlink_to("/etc/passwd")
    return root


def page_of(root, *flags) -> bytes:
    done = run_script("status.py", root, "--html", *flags)
    assert (done.returncode, done.stdout) == (
        0, f"open:  {root}/index.html   all of it on one page\n"), done.stderr
    return (root / "index.html").read_bytes()


def files_of(root) -> dict:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_every_item_of_a_root_and_nothing_else_is_written(root):
    before = files_of(root)
    html = page_of(root)
    after = files_of(root)
    assert after.pop(root / "index.html") and after == before
    rows = block_of(html, "rows")
    assert {(row["kind"], row["id"], row["result"]) for row in rows} == {
        ("turn", "answer/t_1", "refined"), ("turn", "answer/t_2", "refined"),
        ("turn", "answer/t_3", "not judged"), ("bug", "task/heron.agent-1.0123abcd", "ready"),
        ("stripped patch", "task/heron.function.0123abcd", "ready"),
        ("pull request", "task/heron__heron-7", "ready"),
        ("terminal task", "task/tally", "approved, edited"),
        ("terminal task", "dp/draft", "in review"),
        ("task of others", "task/theirs", "ready"), ("environment", "env/heron", "success"),
        ("attempt", "attempt/sums.01234567.own-m-012345.1", "solved")}
    assert "[exclude] ids" in {row["second"] for row in rows}   # why a turn is not judged
    assert re.search(rb"<title>nest \xc2\xb7 20\d\d-\d\d-\d\d \d\d:\d\d \xc2\xb7 a, b<", html)
    data = re.search(r'id="data">(.*?)</script>', html.decode())[1]
    for text in ("3 records cannot be read", "env/torn.json", "env/outside.json",
                 "report/report.html", "challenger’s lead"):
        assert text in data


def test_rows_are_read_by_keys_and_what_is_hostile_runs_nowhere(root, show):
    html = page_of(root)
    n_rows, shown = len(block_of(html, "rows")), {}
    for width in (1300, 400):   # the fixture sees whatever runs
        tab = show(html, width=width)
        tab.click(".pair a")   # a best pair leads to its turn
        tab.wait_for_selector("#reader[open]:has-text('answer/t_1')")
        tab.keyboard.press("Escape")
        wait(tab, "!location.hash.includes('item')")
        tab.keyboard.press("Home")
        tab.keyboard.press("Enter")
        for n in range(1, n_rows + 1):
            tab.wait_for_selector(f"#reader[open] .position:text-is('{n} of {n_rows}')")
            shown[tab.inner_text("#reader-title")] = tab.inner_text("#reader")
            assert tab.locator("main img, #reader img, #reader script").count() == 0
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            tab.keyboard.press("j")
    for id, texts in {
            "task/heron.agent-1.0123abcd": (SHOWN, "+    return 2 * depth", "::test_none"),
            "task/heron.function.0123abcd": ("What herons do.",), "task/tally": ("Write /app",),
            "dp/draft": (SHOWN, "not validated"),
            "task/heron__heron-7": ("Let herons wade", "gold.patch"), "env/heron": (
                SHOWN, "pytest -q"), "answer/t_1": ("quartz 1", "onyx 1", "Verdicts"),
            "attempt/sums.01234567.own-m-012345.1": (SHOWN, "Trajectory", "solved")}.items():
        for text in texts:
            assert text in shown[id], (id, text)


def test_two_roots_beside_each_other_and_items_without_room(root, show, fake_llm):
    other = root.with_name("other")
    write_attempt(other, status="wrong")
    html = page_of(root, "--beside", str(other))
    assert {row["id"] for row in block_of(html, "rows") if row["root"] == "other"} == {
        "../other/attempt/sums.01234567.own-m-012345.1"}
    tab = show(html, "#root=other")
    assert tab.inner_text("output.count") == "1 of 12 items"
    assert "nest and other" in tab.title() and not (other / "index.html").exists()
    write_index([(replace(settings_for(fake_llm), root=root), [])], room=0)
    tab = show((root / "index.html").read_bytes(), "#item=task/tally")
    assert "it holds 0 of 11 items in full" in tab.inner_text("#reader")
    assert tab.locator("#reader a").get_attribute("href") == "task/tally"


def test_attempts_are_read_side_by_side_and_long_texts_are_cut(tmp_path, show):
    names = [write_attempt(tmp_path, k=k, status="wrong" if k > 1 else "solved") for k in (1, 2)]
    long = {"role": "assistant", "content": "x" * 1_000_000}
    names.append(write_attempt(tmp_path, k=3, status="wrong", verifier="2 fail",
                               messages=[*MESSAGES, *[long] * 9, *MESSAGES * 80]))
    file = tmp_path / "attempt" / names[2] / "trajectory.json"
    file.write_text(file.read_text().replace("total.py", json.dumps(HOSTILE + "\ud800")[1:-1]))
    write_attempt(tmp_path, "tally", status="out of steps", model="")
    (tmp_path / "attempt" / write_attempt(tmp_path, "a") / "trajectory.json").write_text("{}")
    tmp_path.with_env(an_environment())   # has neither a task nor a model
    html = write_index([(Settings(root=tmp_path), [])]).read_bytes()
    assert len(html) < 200_000
    tab = show(html)
    assert " ".join(tab.locator(".card .wide").nth(2).inner_text().split()) == (
        "Solved attempts by task and model m own-m-012345 sums.01234567 1 of 3 0 "
        "tally.01234567 0 0 of 1")
    tab.click("text=1 record cannot be read")
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
    tab.click("text=Unfold all")   # the fixture sees whatever runs
    assert tab.locator("main img, dialog img, main script, dialog script").count() == 0
    tab.click("button.more >> nth=0")
    shown = tab.inner_text("#reader")
    assert shown.count(SHOWN + "⟨U+D800⟩") > 90 and "Trajectory: 300 of 414 steps" in shown
    assert "[… 990000 characters left out: the attempt's files have them …]" in shown
