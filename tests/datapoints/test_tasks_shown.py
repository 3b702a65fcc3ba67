"""Check what the page of a root shows of terminal tasks: their status, checks and faults."""
import os
import re

from a_datapoint import write_approved, write_datapoint
from browser import block_of
from recorded import write_checks
from root import filled

from codedata.datapoints.folder import read_datapoint
from codedata.records import DATAPOINT, AuditCheck, TaskAudit
from codedata.report.root_page import write_index
from codedata.settings import Settings
from codedata.tasks.folder.folder import audited_digest


def test_terminal_tasks_are_shown_with_status_and_checks_and_broken_ones_named(tmp_path, show):
    write_approved(tmp_path / "task/a")
    write_checks(tmp_path, tmp_path / "task/a")
    (write_approved(tmp_path / "task/b") / "instruction.md").write_text("Add up, quickly.")
    c = write_datapoint(tmp_path / "dp/c", tests="1 / 0")
    write_checks(tmp_path, c, "solvable", "run 1 gets 0.3")
    for folder, content, name in ((tmp_path / "task/a", "", "cheats"), (c, "of old", "solvable")):
        check = filled(AuditCheck, name=name, version="1", result="review")
        content = content or audited_digest(read_datapoint(folder))
        tmp_path.put(folder.name, TaskAudit(folder.name, DATAPOINT, content, "", [check], 1.0))
    write_datapoint(tmp_path / "dp/d", {"status": "cancelled", "languages": ["t" * 900] * 99},
                    weights="[", tests="#" * 30_000)
    (write_datapoint(tmp_path / "dp/e") / "tests/test_outputs.py").unlink()
    bad = write_datapoint(tmp_path / "dp/g")
    (tmp_path / "dp/empty").mkdir()
    with open(os.fsencode(bad / "environment") + b"/\xff", "w"):
        pass   # a name that is no UTF-8
    html = write_index([(Settings(root=tmp_path), [])]).read_bytes()
    rows = {row["id"]: row for row in block_of(html, "rows")}
    assert [(id, row["result"], row["checked"]) for id, row in rows.items()] == [
        ("task/a", "approved", "review"), ("task/b", "approved, edited", "not validated"),
        ("dp/c", "in review", "failed"), ("dp/d", "cancelled", "not validated")]
    assert len(rows["dp/d"]["language"]) == 300
    tab = show(html, "#checked=failed&item=dp/c")
    for text in ("run 1 gets 0.3", "print the sum"):
        assert text in tab.inner_text("#reader"), text
    tab.keyboard.press("Escape")
    assert tab.inner_text("output.count") == "1 of 4 items"
    assert re.findall(r"dp/(\w+)", tab.inner_text(".notice")) == ["e", "empty", "g"]
    tab = show(html, "#item=dp/d")
    tab.click("#reader >> text=tests/test_outputs.py")
    tab.wait_for_selector("text=The first 20,000 of 30,000 characters")
