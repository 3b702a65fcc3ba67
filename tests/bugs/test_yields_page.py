"""Test that yields are counted from the directories alone, and shown on a page."""
from __future__ import annotations

import re

from browser import chromium as chromium  # fixtures
from browser import show as show
from conftest import edit
from proven import write_bug
from scaled import a_candidate, a_verdict, id_of, write_judged

from codedata.bugs.yields_page import (
    PAGE,
    page,
    summed_up,
    write_yields,
    yields_in_words,
    yields_of,
)
from codedata.settings import BugSettings

HOSTILE = "<img src=x onerror=hacked(1)>\u202e"


def write_some(root) -> None:
    """Write seven candidates of two operators and repositories, one of them by hand, and a bug."""
    good, late, kept, other, same, by_hand, new = (a_candidate(f"depth - {n}", symbol=f"f{n}")
                                                   for n in range(7))
    late["operator"] = kept["operator"] = "negated"
    del by_hand["operator"], by_hand["path"]
    write_judged(root, "heron.1", [good, late, kept, other, same, new], [
        a_verdict(good, failing=["tests/a.py::test"]), a_verdict(late, verdict="timeout"),
        a_verdict(kept, verdict="survives"), a_verdict(other, verdict=HOSTILE),
        a_verdict(same, verdict="same_error")])
    write_judged(root, "crane.1", [by_hand], [
        a_verdict({**by_hand, "operator": "by-hand"}, "crane")])
    write_bug(root, id_of(good), method="procedural", proof={
        "seconds": 6.5, "screened": {"same_tests": False}})


def test_each_candidate_counts_once_in_each_group(tmp_path):
    write_some(tmp_path)
    total, groups, refused, others = yields_of(tmp_path, BugSettings())
    assert total == {"candidates": 7, "good": 2, "timeout": 1, "survives": 1, "same_error": 1,
                     "other": 1, "not judged": 1, "chosen": 2, "written": 1, "subtle": 1,
                     "other_tests": 1, "screening_s": 3.0, "proof_s": 6.5, "refused": 0}
    assert (refused, others) == ({}, {HOSTILE: 1})
    assert {name: one["candidates"] for name, one in groups["operator"].items()} == {
        "off-by-one": 4, "negated": 2, "by-hand": 1}
    assert {name: one["candidates"] for name, one in groups["repository"].items()} == {
        "heron": 6, "crane": 1}
    assert {*groups["language"]} == {"python", ""}
    assert "7 candidates, judged 6: good 2 (33% of these), survived 1, same error 1, timeouts 1, " \
        "other 1; " \
        "chosen 2, written 1 (100% subtle), refused by the proof 0" in summed_up(total)


def test_the_rate_counts_the_seconds_in_which_containers_warm_up(tmp_path):
    write_some(tmp_path)
    edit(tmp_path / "bug/_verdicts/heron.1.json", seconds=42.5)   # 5 × 0.5 s, and 40 s
    total, groups, *_ = yields_of(tmp_path, BugSettings())
    assert total["screening_s"] == 43.0
    assert groups["operator"]["negated"]["screening_s"] == 17.0
    for path in (tmp_path / "task").glob("*/proof.json"):   # what cannot be read is not written
        path.write_text("{")
    total = yields_of(tmp_path, BugSettings())[0]
    assert (total["chosen"], total["written"]) == (2, 0)


def test_a_page_is_written_where_there_are_candidates_alone(tmp_path):
    assert write_yields(tmp_path, BugSettings()) == yields_in_words(tmp_path, BugSettings()) == []
    assert not (tmp_path / "bug").exists()
    write_some(tmp_path)
    line, = write_yields(tmp_path, BugSettings())
    assert "7 candidates" in yields_in_words(tmp_path, BugSettings())[0]
    assert line.endswith(f"bug/{PAGE}")
    html = (tmp_path / "bug" / PAGE).read_bytes()
    write_yields(tmp_path, BugSettings())
    assert (tmp_path / "bug" / PAGE).read_bytes() == html and not re.search(b"https?://", html)


def test_the_page_shows_its_tables_on_wide_and_narrow_screens(tmp_path, show):
    write_some(tmp_path)
    html = page(*yields_of(tmp_path, BugSettings()))
    for width in (1280, 400):
        tab = show(html, width=width)
        assert tab.locator("h2").all_inner_texts()[:2] == ["Overview", "By operator"]
        assert tab.locator("#operator tbody tr").count() == 3
        assert "<img" in tab.locator("#overview").inner_text()   # a text, not an element
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
