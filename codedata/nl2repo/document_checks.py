"""Check documents by program: what they say of a signature and of exceptions, what their examples
print, and that they show nothing of bodies and tests that a solver does not see anyway.

Texts and syntax trees are compared. Whether a sentence is true, nobody looks: a wrong paraphrase is
not found.
"""
from __future__ import annotations

import ast
import builtins
import json
import keyword
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from posixpath import basename
from tempfile import TemporaryDirectory

from codedata.bounded import read_bounded
from codedata.code.leftovers import activation
from codedata.code.source import run_tool
from codedata.code.suite import PLUGINS
from codedata.errors import Excluded, ItemFailed
from codedata.nl2repo.documents import (
    FUNCTION,
    PROJECT,
    Codebase,
    Function,
    blocks_of,
    function_text,
    parameters_of,
    parsed,
    project_text,
    unparsed,
)
from codedata.records import storable
from codedata.sandbox import Sandbox
from codedata.sandbox.archives import Bounds
from codedata.texts import printable

RUN = 40                   # characters in a row that count as quoted; blanks count as one
GRAM = 8                   # tokens in a row that count for the overlap
EXAMPLE_S, EXAMPLE_BYTES = 10, 10_000   # of one run of an example
ANSWERS = Bounds(max_bytes=5_000_000, max_files=4, max_depth=2, max_seconds=60)
FOLDER = f"{PLUGINS}examples"
TOKEN = re.compile(r"\w+|[^\w\s`]")
NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*(?:\(\))?")
PATH = re.compile(r"[\w./-]+(?:/|\.(?:py|md|rst|toml|cfg|ini|txt|json))")
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
WORD = re.compile(r"\w+")
IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+\S+[ \t]+)?import[ \t]+(?:\([^)]{0,2000}\)|[^\n]*)",
                    re.MULTILINE)


# forms, and what is said of a signature ----------------------------------------------------------

def form_findings(value, form, where: str = "content") -> list[str]:
    """Return what is missing in content, or of another kind than its form says."""
    if isinstance(form, str):
        is_right = isinstance(value, str) or (value is None and "null" in form)
        return [] if is_right else [f"`{where}` is not {form}."]
    if not isinstance(value, type(form)):
        return [f"`{where}` is not {'a list' if isinstance(form, list) else 'an object'}."]
    if isinstance(form, list):
        return [one for i, part in enumerate(value)
                for one in form_findings(part, form[0], f"{where}[{i}]")]
    lacks = [f"`{where}` lacks `{key}`." for key in form if key not in value]
    return lacks or [one for key in form
                     for one in form_findings(value[key], form[key], f"{where}.{key}")]


def signature_findings(function: Function, content: dict) -> Iterator[str]:
    """Yield where signature, parameters or annotation of the result are not those of the source."""
    try:
        tree = parsed(f"{content['signature'].strip().removesuffix(':')}: ...", "signature")
        stated = next(one for one in tree.body if isinstance(one, type(function.node)))
    except (Excluded, StopIteration):
        yield "`signature` is not that of the source: it cannot be read."
        return
    if stated.name != function.node.name:
        yield f"`signature` has the name {stated.name}, in the source it is {function.node.name}."
    yield from _differences("signature", parameters_of(function.node), parameters_of(stated))
    listed = [{**one, "name": one["name"].lstrip("*")} for one in content["parameters"]]
    has_self = len(listed) > len(function.parameters)
    there = parameters_of(function.node) if has_self else function.parameters
    yield from _differences("parameters", there, listed)
    result = unparsed(function.node.returns)
    for where, other in (("signature", unparsed(stated.returns)),
                         ("returns", content["returns"]["annotation"])):
        if _same(result) != _same(other):
            yield f"`{where}`: the result is annotated as {other}, in the source as {result}."


def _differences(where: str, there: list[dict], stated: list[dict]) -> Iterator[str]:
    """Yield where parameters differ from those of the source."""
    names, others = ([one["name"] for one in rows] for rows in (there, stated))
    if others != names:
        yield (f"`{where}` has the parameters {', '.join(others) or 'none'}, the source has "
               f"{', '.join(names) or 'none'}.")
        return
    for one, other in zip(there, stated, strict=True):
        for key in ("annotation", "default", "kind"):
            if key in other and _same(one.get(key)) != _same(other[key]):
                yield (f"`{where}`: the {key} of `{one['name']}` is {other[key]}, in the source "
                       f"it is {one.get(key)}.")


def _same(text: str | None) -> str | None:
    """Return an expression in one spelling, whether or not it is quoted as annotations may be."""
    try:
        value = parsed((text or "None").strip(), "").body[0].value
    except (Excluded, AttributeError, IndexError):
        return text
    return text and ast.unparse(value)


def raises_findings(function: Function, content: dict, outputs: Sequence[str]) -> list[str]:
    """Return which exceptions are missing, and which nothing raises: neither the function nor what
    it calls for sure nor an example, whose outputs are given. The docstring may name others."""
    stated = dict.fromkeys(one["exception"].rpartition(".")[2] for one in content["raises"])
    needed = {one.exception for one in function.raises if one.leaves} - {""}
    known = _raised_below(function) | {*WORD.findall(function.docstring)} | {
        line.partition(":")[0].rpartition(".")[2]
        for output in outputs for line in output.splitlines()}
    findings = [f"`raises` lacks `{name}`, which the function raises itself."
                for name in sorted(needed - stated.keys())]
    return findings if "" in known else findings + [
        f"`raises` has `{name}`, which neither the function nor what it calls raises; show it by "
        "an example, or leave it out." for name in stated if name not in known]


def _raised_below(function: Function) -> set[str]:
    """Return what a function and those that it calls raise; "" is among it where that cannot be
    told of one of their statements."""
    names: set[str] = set()
    left, seen = [function.entity.id], set()
    while left:
        id = left.pop()
        if id not in seen:
            seen.add(id)
            left += function.project.callees.get(id, [])
            try:
                one = function.project.function(id)
            except Excluded:   # a class, perhaps
                continue
            names |= {raised.exception for raised in one.raises}
            names |= {"AssertionError" for node in one.nodes if isinstance(node, ast.Assert)}
    return names


# examples ----------------------------------------------------------------------------------------

def run_examples(sandbox: Sandbox, examples: Sequence[dict], test_script: str,
                 seconds: float = EXAMPLE_S) -> list[list]:
    """Return [what it printed, and what the second time] for each example, run in a sandbox by the
    Python of a test script. None stands for too much, or more than `seconds`. Raise ItemFailed
    where that cannot be had."""
    codes = json.dumps([one["code"] for one in examples]).encode()
    sandbox.run(f"rm -rf {FOLDER}")   # an image may have answers of its own
    sandbox.put({"examples.json": codes}, FOLDER)
    run_tool(sandbox, "run_examples.py", FOLDER, str(seconds), str(EXAMPLE_BYTES),
             start="python3", before=activation(test_script))
    with TemporaryDirectory(prefix="codedata_examples.") as folder:
        sandbox.get(FOLDER, Path(folder), ANSWERS)
        try:
            answers = json.loads(read_bounded(Path(folder, "answers.json"), ANSWERS.max_bytes))
        except (OSError, ValueError, RecursionError) as e:
            raise ItemFailed(f"its examples did not run: {printable(str(e), 300)}") from e
    faults = form_findings(answers, [["a text or null"]], "answers")
    if faults or [*map(len, answers)] != [2] * len(examples):
        raise ItemFailed("its examples did not run: what they printed cannot be read.")
    return answers


def example_findings(examples: Sequence[dict], answers: Sequence[list]) -> dict[int, str]:
    """Return {index: what is wrong} of the examples that do not print what they say."""
    findings = {}
    for i, (example, (first, second)) in enumerate(zip(examples, answers, strict=True)):
        if first is None or second is None:
            findings[i] = f"`examples[{i}]` takes longer than {EXAMPLE_S} s, or prints too much."
        elif first != second:
            findings[i] = f"`examples[{i}]` does not print the same each time."
        elif _lines(first) != _lines(example["output"]):
            said = printable(storable(first.rstrip("\n")), 300)
            findings[i] = f"`examples[{i}]` prints {said!r}, not what it says."
    return findings


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


# what must not be shown --------------------------------------------------------------------------

@dataclass(frozen=True)
class HiddenParts:
    """Find in texts what a solver is not shown: the bodies of the functions that are stripped
    somewhere, and tests, given by the names that runners have for them."""

    project: Codebase
    functions: frozenset[str]
    tests: frozenset[str]

    @cached_property
    def bodies(self) -> dict[str, str]:
        """Return the bodies without their docstrings, by id."""
        out = {}
        for id in sorted(self.functions):
            try:
                function = self.project.function(id)
            except Excluded:   # it has no document
                continue
            first, last = function.entity.body
            text = self.project.files[function.entity.path].text[first:last]
            own = ast.get_source_segment(function.source, function.node.body[0])
            out[id] = text.decode(errors="replace")
            if function.docstring and own:
                out[id] = out[id].replace(own, "", 1)
        return out

    @cached_property
    def visible(self) -> str:
        """Return what is left of the sources that are no tests, and README."""
        texts = [self.project.readme]
        for path, file in self.project.files.items():
            text = "" if file.is_test else file.text.decode(errors="replace")
            for id, body in self.bodies.items():
                if id.startswith(f"{path}::"):
                    text = text.replace(body, "\n", 1)
            texts.append(text)
        return squeezed("\n".join(texts))

    @cached_property
    def _texts(self) -> dict[str, str]:
        bodies = {f"the body of `{id}`": squeezed(body) for id, body in self.bodies.items()}
        tests = {path: file.text.decode(errors="replace")
                 for path, file in self.project.files.items() if file.is_test}
        return bodies | {f"the tests in {path}": squeezed(IMPORT.sub("", text))   # as all import
                         for path, text in tests.items()}

    @cached_property
    def _test_names(self) -> set[str]:
        """Return the names of tests and of their files that a solver sees nowhere. A plain word is
        no name of a test alone."""
        names = {part.partition("[")[0] for test in self.tests for part in test.split("::")}
        names |= {path for path, file in self.project.files.items() if file.is_test}
        names |= {basename(name) for name in names} - {"__init__.py", "conftest.py"}
        return {name for name in names if not name.isalpha() and name not in self.visible}

    def findings(self, text: str) -> list[str]:
        """Return what of bodies and tests stands in a text."""
        words = {*WORD.findall(text), *(one.strip("./-") for one in re.findall(r"[\w./-]+", text))}
        out = [f"It names the test `{name}`." for name in sorted(self._test_names & words)]
        text = squeezed(text)
        pieces = {text[i:i + RUN] for i in range(len(text) - RUN + 1)}
        for about, hidden in self._texts.items():
            quoted = (piece for i in range(len(hidden) - RUN + 1)
                      if (piece := hidden[i:i + RUN]) in pieces and piece not in self.visible)
            if piece := next(quoted, ""):
                out.append(f"It quotes {RUN} characters in a row of {about}: {piece!r}; say it in "
                           "other words.")
        return out

    def overlap(self, id: str, text: str) -> float:
        """Return the share of a body's 8-grams of tokens that a text has; those that stand in what
        is visible do not count."""
        body = grams(self.bodies.get(id, "")) - self._visible_grams
        return round(len(body & grams(text)) / len(body), 4) if body else 0.0

    @cached_property
    def _visible_grams(self) -> set[tuple[str, ...]]:
        return grams(self.visible)


def squeezed(text: str) -> str:
    """Return a text with one blank in place of several, or of line breaks."""
    return " ".join(text.split())


def grams(text: str) -> set[tuple[str, ...]]:
    """Return the runs of GRAM tokens of a text."""
    tokens = TOKEN.findall(text)
    return {tuple(tokens[i:i + GRAM]) for i in range(len(tokens) - GRAM + 1)}


def name_findings(text: str, paths: set[str], words: set[str]) -> list[str]:
    """Return the paths and names in backquotes that exist neither as files (`paths`) nor in their
    texts (`words`)."""
    known = paths | {path[:i] for path in paths for i, char in enumerate(path) if char == "/"}
    spans = dict.fromkeys(SPAN.findall("".join(blocks_of(text)[::2])))
    out = [f"The path `{span}` does not exist." for span in spans if PATH.fullmatch(span)
           and span.removeprefix("./").rstrip("/") not in known]
    return out + [f"The name `{span}` does not exist." for span in spans if NAME.fullmatch(span)
                  and not PATH.fullmatch(span) and not {*WORD.findall(span)} <= words]


def known_words(project: Codebase) -> set[str]:
    """Return the words of a project's sources and README, and the names that Python has."""
    texts = [project.readme, *(file.text.decode(errors="replace")
                               for file in project.files.values())]
    return {*dir(builtins), *keyword.kwlist, *sys.stdlib_module_names,
            *(word for text in texts for word in WORD.findall(text))}


# a whole document --------------------------------------------------------------------------------

@dataclass(frozen=True)
class Checks:
    """Check a document: of a function, or of the project where none is given."""

    hidden: HiddenParts
    paths: set[str]
    words: set[str]
    max_overlap: float
    function: Function | None = None

    @property
    def form(self) -> dict:
        """Return the form of its content."""
        return FUNCTION if self.function else PROJECT

    @property
    def subject(self) -> str:
        """Return the id of the function, "" for a project."""
        return self.function.entity.id if self.function else ""

    def text(self, content: dict) -> str:
        """Return the Markdown of content."""
        if self.function:
            return function_text(self.subject, content)
        return project_text(self.hidden.project.name, content)

    def overlap(self, text: str) -> float:
        """Return the share of 8-grams of the body, of a project's body that has most of them."""
        ids = [self.subject] if self.function else self.hidden.bodies
        return max((self.hidden.overlap(id, text) for id in ids), default=0.0)

    def findings(self, content: dict, answers: Sequence[list]) -> list[str]:
        """Return what is wrong with content, a sentence each. `answers` are what its examples
        print."""
        wrong = example_findings(content["examples"], answers)
        findings = [*wrong.values()]
        if self.function:
            shown = [one["output"] for i, one in enumerate(content["examples"]) if i not in wrong]
            findings += signature_findings(self.function, content)
            findings += raises_findings(self.function, content, shown)
        text = self.text(content)
        if (share := self.overlap(text)) > self.max_overlap:
            findings.append(f"It shares {share:.0%} of a body's runs of {GRAM} words and signs: "
                            "tell it in words of your own.")
        return [*findings, *self.hidden.findings(text),
                *name_findings(text, self.paths, self.words)]

    def tidied(self, content: dict, answers: Sequence[list]) -> dict:
        """Return content of the template without examples that do not print what they say, and
        without other optional parts that do not pass."""
        wrong = example_findings(content["examples"], answers)
        good = [one for i, one in enumerate(content["examples"]) if i not in wrong]
        content = {**content, "examples": good}
        if self.hidden.findings(self.text(content)):
            content = {key: [one for one in value if not self.hidden.findings(
                one if isinstance(one, str) else "\n".join(filter(None, one.values())))]
                if isinstance(value, list) and key not in ("parameters", "raises") else value
                for key, value in content.items()}
        while content.get("algorithm") and self.overlap(self.text(content)) > self.max_overlap:
            content["algorithm"] = content["algorithm"][:-1]   # the literals first
        return content
