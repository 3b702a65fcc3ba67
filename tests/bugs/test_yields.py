"""Test that what became of candidates is counted from the directories alone."""
from __future__ import annotations

from proven import write_bug
from scaled import a_candidate, a_verdict, id_of, write_judged

from codedata.bugs.yields import yields_in_words, yields_of
from codedata.settings import BugSettings


def write_some(root) -> None:
    """Write seven candidates of two operators and repositories, one of them by hand, and a bug."""
    good, late, kept, other, same, by_hand, new = (a_candidate(f"depth - {n}", symbol=f"f{n}")
                                                   for n in range(7))
    late["operator"] = kept["operator"] = "negated"
    del by_hand["operator"], by_hand["path"]
    write_judged(root, "heron.1", [good, late, kept, other, same, new], [
        a_verdict(good, failing=["tests/a.py::test"]), a_verdict(late, verdict="timeout"),
        a_verdict(kept, verdict="survives"), a_verdict(other, verdict="broken"),
        a_verdict(same, verdict="same_error")])
    write_judged(root, "crane.1", [by_hand], [
        a_verdict({**by_hand, "operator": "by-hand"}, "crane")])
    write_bug(root, id_of(good), method="procedural", proof={
        "seconds": 6.5, "hunks": 2, "broken": 1, "distance": 3, "screened": {"same_tests": False}})


def test_each_candidate_counts_once(tmp_path):
    write_some(tmp_path)
    verdicts, after, proofs = yields_of(tmp_path, BugSettings())
    assert verdicts == {"good": 2, "timeout": 1, "survives": 1, "same_error": 1, "broken": 1,
                        "not judged": 1}
    assert after == {"chosen": 2, "refused": 0, "written": 1}
    assert len(proofs) == 1
    for path in (tmp_path / "task").glob("*/proof.json"):   # what cannot be read is not written
        path.write_text("{")
    assert yields_of(tmp_path, BugSettings())[1] == {"chosen": 2, "refused": 0, "written": 0}


def test_the_counts_are_told_where_there_are_candidates(tmp_path):
    assert yields_in_words(tmp_path, BugSettings()) == [] and not (tmp_path / "bug").exists()
    write_some(tmp_path)
    first, second = yields_in_words(tmp_path, BugSettings())
    assert first == ("7 candidates, judged 6: good 2 (33% of these); chosen 2, written 1 "
                     "(median: hunks 2, broken 1, distance 3), "
                     "refused by the proof 0")
    assert {"no test fails 1", "timed out 1", "the same error in each test 1", "broken 1"} == {
        *second.removeprefix("refused by screening: ").partition(";")[0].split(", ")}
