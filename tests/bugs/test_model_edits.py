"""Check what a model's replies become: another version of one function, or a reason to ask again.
"""
from __future__ import annotations

import subprocess
from dataclasses import asdict, replace

import pytest
from conftest import flags_for, run_here, settings_for, write_toml
from heron_environment import write_env
from proof_heron import BUG_LINE, environment_of, factory_of
from proof_heron import heron as heron  # a fixture

import bug_inject
from codedata.bugs.generate import BatchItem, program_of
from codedata.bugs.model_edits import (
    Place,
    candidate_in,
    places_in,
    rewrite_stage,
    without_body,
)
from codedata.bugs.preprocess import Analyses
from codedata.code.entities import SourceFile
from codedata.errors import Excluded
from codedata.llm import Models
from codedata.llm.asking import Rejected
from codedata.records import BugConfig
from codedata.suites.environments import Environments

CONFIG = {"repo": "birds/heron", "repo_name": "heron", "base_commit": "", "environment": "",
          "roots": ["."], "exclude": [], "selection": "none", "timeout_s": 60.0,
          "max_candidates": 10, "seed": 0}
POND = b'''import functools


class Pond:
    """Water."""

    @functools.cache
    def deep(self, cm: int = 3) -> str:
        """Return how deep it is.

        Not more.
        """
        # in words
        text = """no
    margin"""
        return text + "!" * cm


def tiny(): return 1
'''
GO = b"""package pond

func Deep(cm int) int {
\tif cm > 3 {
\t\treturn 3
\t}
\treturn cm
}
"""


def source_of(place: Place) -> str:
    """Return the lines of a function."""
    start = place.file.text.rfind(b"\n", 0, place.function.start) + 1
    return place.file.text[start:place.function.end].decode()


def places(text: bytes = POND, path: str = "pond.py", language: str = "python") -> list:
    program = program_of([SourceFile(path, language, text, False)], BugConfig(**CONFIG), None)
    return places_in(program)


def reply(code: str) -> str:
    return f"Here:\n<rewritten>\n{code}\n</rewritten>\n"


def applied(candidate: dict, text: bytes, tmp_path, path: str = "pond.py") -> bytes:
    """Return a file with a candidate, as git applies it."""
    (tmp_path / path).write_bytes(text)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=candidate["diff"].encode(),
                   check=True)
    return (tmp_path / path).read_bytes()


def test_a_function_may_come_back_as_it_stood_or_without_its_margin_or_with_other_line_ends(
        tmp_path):
    place, = places()
    whole = source_of(place)
    wanted = POND.replace(b"* cm", b"* (cm - 1)")
    bugged = whole.replace("* cm", "* (cm - 1)")
    first, *rest = whole.split("\n")
    without_margin = "\n".join([first.lstrip(), *rest]).replace("* cm", "* (cm - 1)")
    for code in (bugged, f"\n{without_margin}\n", bugged.replace("\n", "\r\n")):
        candidate = candidate_in(reply(code), place)
        assert applied(candidate, POND, tmp_path) == wanted
    assert candidate["symbol"] == "pond.py::Pond.deep" and candidate["lines"] == [16, 16]
    assert candidate["operator"] == candidate["family"] == "rewrite"
    dos = POND.replace(b"\n", b"\r\n")
    dos_place, = places(dos)
    candidate = candidate_in(reply(bugged), dos_place)
    assert applied(candidate, dos, tmp_path) == wanted.replace(b"\n", b"\r\n")


@pytest.mark.parametrize("old, new, file", [
    ("", "", ()), ("# in words\n        ", "", ()),
    ("cm > 3", "(cm  > 3)", (GO, "pond.go", "go"))])
def test_a_function_that_comes_back_as_it_was_is_no_candidate(old, new, file):
    place, = places(*file)
    assert candidate_in(reply(source_of(place).replace(old, new, 1)), place) is None


def test_a_dedented_method_is_indented(tmp_path):
    text = b"class Pond:\n    def deep(self, cm):\n        cm += 1\n        return cm\n"
    place, = places(text)
    code = "def deep(self, cm):\n    cm += 2\n    return cm"
    candidate = candidate_in(reply(code), place)
    assert applied(candidate, text, tmp_path) == text.replace(b"1", b"2")


@pytest.mark.parametrize("old, new, why", [
    ("# in words", "# in numbers", "a comment or docstring is new or changed: '# in numbers'"),
    ("how deep it is", "how deep", "the signature, a decorator or the docstring"),
    ("@functools.cache\n    ", "", "the signature, a decorator or the docstring"),
    ("* cm", "* mm", "it gives itself away: pond.py: UndefinedName mm"),
    ("def deep", "def shallow", "is not the function Pond.deep alone"),
    ("* cm", "* cm\n\n    def other(self):\n        pass", "is not the function Pond.deep alone"),
    ("return", "return return", "the file does not parse: invalid syntax (file, line 16)"),
    ("return", "'off by one'\n        return", "a comment or docstring is new or changed")])
def test_a_reply_that_is_no_other_version_of_the_function_is_refused(old, new, why):
    place, = places()
    code = source_of(place)
    assert old in code
    with pytest.raises(Rejected) as rejected:
        candidate_in(reply(code.replace(old, new, 1)), place)
    assert why in str(rejected.value)


@pytest.mark.parametrize("old, new, why", [
    ("cm > 3", "cm > > 3", "it has syntax errors, the first one in line 4"),
    ("return cm\n", "return cm\n}\n\nfunc A() {\n", "is not the function Deep alone")])
def test_a_reply_in_another_language_is_held_to_the_same(old, new, why):
    place, = places(GO, "pond.go", "go")
    with pytest.raises(Rejected, match=why):
        candidate_in(reply(source_of(place).replace(old, new)), place)


@pytest.mark.parametrize("text", ["", "I cannot.", "```python\ndef deep(): pass\n```"])
def test_a_reply_without_the_function_is_refused(text):
    with pytest.raises(Rejected, match="it has no rewritten"):
        candidate_in(text, *places())


def test_a_body_is_taken_out_and_the_docstring_stays():
    place, = places()
    shown = without_body(place)
    assert "Not more." in shown and "in words" not in shown and "(body)" in shown
    assert "def tiny(): return 1" in shown   # of what is around, all
    go, = places(GO, "pond.go", "go")
    assert without_body(go).split("\n")[2:] == ["func Deep(cm int) int {(body)}", ""]
    # imports are shown, however far they are from the function
    place, = places(POND.replace(b"class", b"PLACE = 1\n" * 300 + b"class", 1))
    assert without_body(place).startswith("import functools\n…\nPLACE = 1\n")


class Asked:
    """Let a model make candidates of heron's environment."""

    def __init__(self, tmp_path, fake_llm):
        settings = replace(settings_for(fake_llm), root=tmp_path)
        self.stage = rewrite_stage(Models(settings), settings, factory_of(), Environments(tmp_path),
                                   Analyses(tmp_path, key="tests"))

    def candidate(self, number: int) -> dict:
        made = self.stage.make(BatchItem(**CONFIG, part=number), environment_of(), None)
        self.usage = made.usage
        return made.candidates[0]


@pytest.mark.docker
def test_a_model_is_asked_again_with_what_is_wrong_and_its_calls_are_counted(
        tmp_path, fake_llm, heron):
    code = "def words(said):\n" + BUG_LINE
    fake_llm.script("No.", reply(code.replace("words", "word")), reply(code))
    asked = Asked(tmp_path, fake_llm)
    candidate = asked.candidate(3)
    assert candidate["symbol"] == "heron.py::words" and BUG_LINE in candidate["diff"]
    assert asked.usage == {"calls": 3, "tokens_in": 300, "tokens_out": 60, "cost_usd": None}
    first, second, third = (request.text for request in fake_llm.requests)
    assert "it has no rewritten" in second and "No." in second
    assert "is not the function words alone" in third and "word(said)" in third
    fake_llm.script(reply(code))
    assert asked.candidate(3) == candidate and fake_llm.requests[-1].text == first


@pytest.mark.docker
def test_a_body_that_is_written_as_it_was_is_not_asked_for_again(tmp_path, fake_llm, heron):
    fake_llm.always(reply("def depths(n):\n    return [2 * i for i in range(n)]"))
    rewrite = Asked(tmp_path, fake_llm)
    with pytest.raises(Excluded, match=r"heron.py::depths is rewritten without a change"):
        rewrite.candidate(1)
    assert fake_llm.n_requests == 1
    with pytest.raises(Excluded, match="earlier files hold all 3"):
        rewrite.candidate(4)


@pytest.mark.docker
def test_what_failed_is_asked_for_again_and_nothing_else(tmp_path, fake_llm, heron):
    write_toml(tmp_path, {"format_retries": 0}, "[bug]\nmax_model_candidates = 2\n")
    write_env(tmp_path, asdict(environment_of(verified={"healthy": True})))
    told = ("scale", "--steps", "register,generate", "--strategy", "rewrite", "--workers", 1,
            *flags_for(fake_llm))
    fake_llm.script("No.", reply("def fly():\n    return 'far'"),
                    reply("def depths(n):\n    return [2 * i for i in range(n + 1)]"))
    made = tmp_path / "bug/_candidates"
    for code, names, n_requests in ((1, ["2"], 2), (0, ["1", "2"], 3), (0, ["1", "2"], 3)):
        assert run_here(bug_inject.main, tmp_path, *told) == code
        assert sorted(path.stem for path in made.glob("*.json")) == [
            f"heron.rewrite-{name}" for name in names]
        assert fake_llm.n_requests == n_requests
