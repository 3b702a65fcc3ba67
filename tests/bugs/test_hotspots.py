"""Check what agents are shown of a repository, on the sample analysis."""
from dataclasses import replace

from conftest import REPO
from root import read_json

from codedata.bugs.hotspots import CodeMap
from codedata.records import Analysis, Coverage, parse


def test_hotspots_and_symbols_are_shown_in_pages_and_bounds():
    analysis = parse(Analysis, read_json(REPO / "samples/analysis/spanset.json"), "")
    add, spans = "spanset/spans.py::SpanSet.add", "spanset/spans.py"
    source = (REPO / f"samples/repos/spanset/{spans}").read_bytes()
    code = CodeMap(analysis, {spans: source}, {add: "spanset.agent-1"})
    first, *rows = code.get_hotspots().split("\n")
    assert first == "6 functions, page 1 of 1" and len(rows) == 6
    row = f"    2      10  100.0%  {add}  8 lines  earlier bug: spanset.agent-1"
    assert row in rows and code.get_hotspots(file=f"./{spans}", min_tests=10).endswith(row)
    assert code.get_hotspots(2) == "6 functions, page 2 of 1"
    assert code.get_hotspots(-1, file="pan") == "0 functions, page -1 of 0"
    assert code.get_hotspots(max_share=0.2, min_tests=2).split("\n")[1:] == [
        "    4       2   20.0%  spanset/spans.py::SpanSet.remove  4 lines"]
    by_branches = CodeMap(analysis, {}, {}, branches={"spanset/spans.py::SpanSet.remove": 9})
    assert "1       2   20.0%  spanset/spans.py::SpanSet.remove" in by_branches.get_hotspots()
    shown = code.inspect_symbol("add").split("\n")
    assert shown[:2] == [row, "    14\t    def add(self, start: int, end: int) -> None:"]
    callers = shown[shown.index("called by:") + 1:shown.index("calls:")]
    assert callers[0] == "  spanset/spans.py::SpanSet.__init__  call, resolved, 10 tests ran both"
    assert shown[-1] == "what tests run it was not measured"
    assert code.inspect_symbol("SpanSet.add") == code.inspect_symbol(add) == "\n".join(shown)
    assert code.inspect_symbol("nothing") == "0 symbols have this name:\n  (none)"
    many = replace(analysis, entities=[
        {**analysis.entities[0], "id": f"a.py::C{i}.f", "name": f"C{i}.f"} for i in range(30)])
    said = CodeMap(many, {}, {}).inspect_symbol("f")
    assert said.startswith("30 symbols have this name:") and said.endswith("  … and 10 more")


def test_where_it_was_measured_the_tests_that_ran_a_symbol_are_listed():
    analysis, coverage = (parse(cls, read_json(REPO / f"samples/{cls.directory}/spanset.json"), "")
                          for cls in (Analysis, Coverage))
    code = CodeMap(analysis, {}, {}, coverage)
    shown = code.inspect_symbol("remove").split("\n")
    assert shown[shown.index("2 tests ran it:") + 1:] == [
        f"  tests/test_spans.py::TestRemove::test_{name}  runs 5 functions"
        for name in ("from_the_middle", "of_everything")]
    assert "10 tests ran it:\n  tests/" in code.inspect_symbol("SpanSet")   # what is in it
    unseen = replace(coverage, tests=[{**test, "functions": None} for test in coverage.tests])
    assert "was not measured" in CodeMap(analysis, {}, {}, unseen).inspect_symbol("remove")
