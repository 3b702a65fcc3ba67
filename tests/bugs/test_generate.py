"""Check which edits become candidates, in which order, and the steps register and generate."""
import json
import subprocess
import sys
from dataclasses import replace
from itertools import islice

import pytest
from conftest import REPO, edit, run_script
from heron_environment import an_environment
from root import ONE_RUN, filled, read_json, write_files

from codedata.bugs.generate import draw, patterns, program_of
from codedata.bugs.screen_bugs import why_whole_suite
from codedata.code.entities import SourceFile, read_sources
from codedata.code.operators.syntax import syntax_of
from codedata.code.patches import normalised
from codedata.errors import ItemFailed
from codedata.records import BugConfig, Coverage, CoveredTest, Environment, parse
from codedata.tasks.prove.effects import symbols_at

STEPS = ["scale", "--steps", "register,generate"]
SPANS = "spanset/spans.py"
CONFIG = BugConfig("samples/spanset", "spanset", "c5", "", ["."], patterns(), "plugin", 60.0,
                   1000, 0)


def sources(**texts: str | bytes) -> list[SourceFile]:
    return [SourceFile(f"{name}.py", "python", text.encode() if isinstance(text, str) else text,
                       False) for name, text in texts.items()]


def measured(lines: list[int], at_import: list[int]) -> Coverage:
    """Return a record of one test that ran these lines of a.py."""
    test = filled(CoveredTest, name="t", status=["passed"], lines={"0": 0}, functions=0)
    return Coverage(**filled(
        Coverage, base_commit="c5", contexts="pytest", measured=ONE_RUN, files=["a.py"],
        line_sets=[lines], function_sets=[[]], tests=[test], test_seconds=[0.1],
        import_lines={"a.py": at_import}))


def made(text: str, coverage: Coverage | None = None) -> set[tuple[str, int]]:
    """Return (operator, first line) of all candidates."""
    drawn = draw(program_of(sources(a=text), CONFIG, coverage), CONFIG)
    return {(one["operator"], one["lines"][0]) for one in drawn}


@pytest.fixture(scope="module")
def spanset():
    """Return what gives the candidates of the sample for fields of its config."""
    found = read_sources(REPO / "samples/repos/spanset").files
    coverage = parse(Coverage, read_json(REPO / "samples/coverage/spanset.json"), "")

    def candidates(**fields) -> list[dict]:
        config = replace(CONFIG, **fields)
        return [*draw(program_of(found, config, coverage), config)]
    return candidates


def test_equal_seeds_give_equal_candidates_and_others_another_order(spanset):
    first, again, other = spanset(), spanset(), spanset(seed=1)
    assert first == again != other
    assert {*map(str, first)} == {*map(str, other)} and len(first) > 80
    assert spanset(max_candidates=7) == first[:7]


def test_only_the_candidates_that_are_asked_for_are_checked():
    text = "".join(f"def f{i}(a, b):\n    return a < b\n" for i in range(200))
    checks = []

    def note(frame, event, _):
        if event == "call" and frame.f_code is syntax_of.__code__:
            checks.append(frame)

    candidates = draw(program_of(sources(a=text), CONFIG, None), CONFIG)
    sys.setprofile(note)
    first = [*islice(candidates, 5)]
    sys.setprofile(None)
    assert len(first) == 5 and len(checks) < 20


def test_a_candidate_names_its_place_and_git_applies_it(spanset, tmp_path):
    source = REPO / "samples/repos/spanset"
    write_files(tmp_path, {SPANS: (source / SPANS).read_bytes()})
    candidates = spanset()
    assert len({normalised(one["diff"]) for one in candidates}) == len(candidates)
    for one in candidates:
        subprocess.run(["git", "apply", "--check"], input=one["diff"].encode(), cwd=tmp_path,
                       check=True)
        assert one["path"] == SPANS and one["symbol"] in symbols_at(
            [(SPANS, line) for line in range(one["lines"][0], one["lines"][1] + 1)],
            {SPANS: (source / SPANS).read_bytes()})
    assert {*candidates[0]} == {"diff", "symbol", "summary", "operator", "family", "path", "lines"}


def test_the_first_candidates_have_many_operators_and_functions():
    text = "".join(f"def f{i}(a, b):\n    if a < b and a[0]:\n        return a + 1\n"
                   f"def g{i}():\n    return f{i}(1, 2)\ndef h{i}():\n    return f{i}(1, 2)\n"
                   for i in range(50))
    config = replace(CONFIG, max_candidates=80)
    drawn = [*draw(program_of(sources(a=text), CONFIG, None), config)]
    operators = {one["operator"] for one in drawn}
    assert len({one["symbol"] for one in drawn}) > 65
    assert len(operators) > 10


def test_only_what_a_test_runs_is_changed():
    text = ("N = 1 + 2\n\n\ndef f(a=True):\n    if a:\n        return a + N\n    g(a)\n\n\n"
            "def h(b=True):\n    return b - 1\n\n\nclass A:\n    m = N + 3\n")
    found = made(text, measured([5, 5, 7, 7], [1, 1, 4, 4, 10, 10, 14, 15]))
    assert {("plus-minus", 1), ("default-changed", 4), ("condition-negated", 5),
            ("call-dropped", 7), ("plus-minus", 15)} <= found
    assert {line for _, line in found} == {1, 4, 5, 7, 15}     # not 6, 10, 11
    assert {line for _, line in made(text)} == {1, 4, 5, 6, 7, 10, 11, 15}
    assert not made("def f(a):\n    g(a)\n")   # a `pass` in its place gives itself away


def test_a_yield_that_never_ran_counts_with_its_function():
    text = "def f(a):\n    for i in a:\n        g()\n        yield i\n\n\ndef h():\n    yield 1\n"
    found = made(text, measured([2, 2], [1, 1, 7, 7]))
    assert ("yield-dropped", 4) in found and ("yield-dropped", 8) not in found


def test_files_that_a_config_leaves_out_or_that_are_no_text_are_left_alone():
    found = sources(a="n = a < b\n", setup="n = a < b\n", latin="n = a < b  # é".encode("latin-1"))
    found += [SourceFile(path, "python", b"n = a < b\n", False)
              for path in ("src/b.py", "docs/x.py", "pkg/_vendor/y.py", 'q"uoted.py')]
    found += [SourceFile("t.py", "python", b"n = a < b\n", True),
              SourceFile("made.py", "python", b"# @generated\nn = a < b\n", False)]
    program = program_of(found, CONFIG, None)
    assert [file.path for file in program.files] == ["a.py", "src/b.py"]
    program = program_of(found, replace(CONFIG, roots=["./src/", "t.py"], exclude=[]), None)
    assert [file.path for file in program.files] == ["src/b.py"]
    with pytest.raises(ItemFailed, match="no source in 'lib', a root of its config"):
        program_of(found, replace(CONFIG, roots=["src", "lib"]), None)
    assert [*draw(program_of([], CONFIG, None), CONFIG)] == []


def test_the_reason_for_the_whole_suite_says_what_to_run():
    environment = Environment(**an_environment("heron"))
    coverage = measured([1, 1], [])
    assert why_whole_suite(CONFIG, coverage, environment) == ""
    assert why_whole_suite(CONFIG, None, environment) == (
        "coverage/ has no record of its commit: run python analyze.py --only heron, then "
        "python bug_inject.py scale --only heron")
    assert why_whole_suite(CONFIG, replace(coverage, contexts="none", reason="no pytest"),
                           environment) == "no pytest"
    assert why_whole_suite(replace(CONFIG, selection="none"), coverage, environment)


def candidates_in(root) -> dict[str, bytes]:
    return {path.stem: path.read_bytes()
            for path in sorted((root / "bug/_candidates").glob("[!_]*.json"))}


@pytest.mark.docker
def test_the_steps_resume_and_an_edited_config_is_kept_and_honoured(heron_image, tmp_path):
    tmp_path.with_env(an_environment("heron"), an_environment("egret"))

    def run():
        return run_script("bug_inject.py", tmp_path, *STEPS, timeout_s=300)

    assert run().returncode == 0
    config = tmp_path / "bug/_config/heron.json"
    written = read_json(config)
    assert (written["selection"], written["roots"], written["seed"]) == ("plugin", ["."], 0)
    first = candidates_in(tmp_path)
    assert {*first} == {"heron.1", "egret.1"}     # the files from the second on have none
    record = json.loads(first["heron.1"])
    assert record["method"] == "procedural" and {one["symbol"] for one in record["candidates"]} == {
        "heron.py::wade", "heron.py::fly"} - {"heron.py::fly"}
    assert "has no more" in (tmp_path / "bug/_candidates/_ledger.jsonl").read_text()
    assert run().stderr.count("nothing to do") == 2
    edit(config, lambda data: data.update(roots=["nowhere"]))
    failed = run()
    assert failed.returncode == 1 and "has no source in 'nowhere'" in failed.stderr
    assert candidates_in(tmp_path) == first
    edit(config, lambda data: data.update(roots=["."], max_candidates=1, selection="some"))
    assert "`selection` is neither plugin nor none" in run().stderr
    edit(config, lambda data: data.update(selection="none"))
    assert run().returncode == 0
    assert len(json.loads(candidates_in(tmp_path)["heron.1"])["candidates"]) == 1
    assert read_json(config)["max_candidates"] == 1
