"""Check the page of attempts: what it counts and shows, and that what it shows cannot run."""
from __future__ import annotations

import json
import re

from conftest import write_files

from codedata.disk.layouts import to_json
from codedata.records import WRONG
from codedata.solving.index_page import PAGE, write_index

HOSTILE = "</script><img src=x onerror=hacked(1)><!--<script>hacked(2)</script>\u202e\ud800"
SHOWN = "</script><img src=x onerror=hacked(1)><!--<script>hacked(2)</script>⟨U+202E⟩\ufffd"
FOLDED = "details.message:not([open]) > summary"


def a_step(n: int, source: str = "agent", message="", output: str | None = None, **calls) -> dict:
    """Return a step of a trajectory; `calls` are functions with their arguments."""
    made = [{"tool_call_id": f"c{n}", "function_name": name, "arguments": arguments}
            for name, arguments in calls.items()]
    results = [] if output is None else [{"source_call_id": f"c{n}", "content": output}]
    return {"step_id": n, "source": source, "message": message, "tool_calls": made,
            "observation": {"results": results}}


STEPS = [a_step(1, "system", "You are an agent."), a_step(2, "user", "Let herons wade."),
         a_step(3, message="I look.", output="def wade(depth):", bash={"command": "cat heron.py"}),
         a_step(4, message="`ls`", output="heron.py", bash={"command": "ls"}),
         a_step(5, output="done", submit={})]


def write_attempt(root, task: str = "heron", model: str = "small", k: int = 1,
                  status: str = "solved", steps=STEPS, patch: str | None = "+wade\n", **more):
    """Write an attempt's folder; return it."""
    agent = f"text.{model}.0a1b2c" if model else "gold"
    usage = {"calls": 3, "tokens_in": 900, "tokens_out": 50, "cost_usd": 0.0125}
    outcome = {"task": task, "kind": "bug", "content": "0123456789abcdef", "agent": agent,
               "model": model, "settings": {}, "until": [], "attempt": k, "status": status,
               "why": "", "reward": float(status == "solved"), "verifier": "1 passed",
               "replayed": 0, "usage": usage, "seconds": {"model": 2.5, "all": 4.5}, **more}
    folder = root / f"attempt/{task}.01234567.{agent}.{k}"
    trajectory = json.dumps({"schema_version": "ATIF-v1.8", "steps": steps})
    write_files(folder, {"trajectory.json": trajectory, "record.json": to_json(outcome).decode()})
    if patch is not None:
        (folder / "patch.diff").write_text(patch)
    return folder


def page_of(root) -> bytes:
    """Write the page, and return it."""
    assert write_index(root) == [f"      attempts as a page: {PAGE}"]
    return (root / PAGE).read_bytes()


def test_attempts_are_counted_and_filtered_by_task_model_and_status(tmp_path, show):
    assert write_index(tmp_path) == [] and not (tmp_path / "attempt").exists()
    for k in (1, 2, 3):
        write_attempt(tmp_path, k=k, status="solved" if k == 1 else WRONG, why="2 of 3 fail")
    write_attempt(tmp_path, "crane", status="out of steps", patch=None)
    write_attempt(tmp_path, model="")
    html = page_of(tmp_path)
    assert page_of(tmp_path) == html and str(tmp_path).encode() not in html
    (write_attempt(tmp_path, "wren") / "record.json").unlink()
    write_attempt(tmp_path, "robin", steps=None)
    tab = show(page_of(tmp_path))
    assert "2 attempts cannot be read" in tab.inner_text(".notice")
    counts, rates = (re.sub(r"[\s\xa0]+", " ", card) for card in tab.locator(
        ".card table").all_inner_texts())
    assert counts == "Models solved wrong out of steps gold 1 0 0 small 1 2 1"
    assert rates == "Tasks gold small crane.01234567 0 0 of 1 heron.01234567 1 of 1 1 of 3"
    cells = tab.locator(".rows tr[data-at]").nth(2).locator("td").all_inner_texts()
    assert cells == ["heron.01234567\n2 of 3 fail", "bug", "text.small.0a1b2c", "wrong", "2", "0",
                     "5", "3", "900", "50", "0.013", "4.500"]
    tab.click(".card:nth-of-type(2) tr:last-child td:last-child button")
    assert tab.locator(".rows tr[data-at]").count() == 3 and "model=small" in tab.url
