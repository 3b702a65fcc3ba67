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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from codedata.bounded import read_bounded
from codedata.errors import ItemFailed
from codedata.nl2repo.documents import (
    BOUND,
    FUNCTION,
    PROJECT,
    WORD,
    Codebase,
    Definition,
    Function,
    document_text,
    head_of,
    unparsed,
)
from codedata.nl2repo.strip import python_tree
from codedata.records import storable
from codedata.sandbox import Sandbox
from codedata.sandbox.archives import Bounds
from codedata.sandbox.process_labels import temporary_folder
from codedata.suites.leftovers import activation
from codedata.suites.source import run_tool
from codedata.suites.suite import PLUGINS
from codedata.texts import CONTROL, printable

RUN = 40                   # characters in a row that count as quoted; blanks count as one
GRAM = 8                   # tokens in a row that count for the overlap
EXAMPLE_S, EXAMPLE_BYTES = 10, 10_000   # of one run of an example
ANSWERS = Bounds(max_bytes=5_000_000, max_files=4, max_depth=2, max_seconds=60)
FOLDER = f"{PLUGINS}examples"
TOKEN = re.compile(r"\w+|[^\w\s`]")
NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*(?:\(\))?")
PATH = re.compile(r"[\w./-]+(?:/|\.(?:py|md|rst|toml|cfg|ini|txt|json))")
PLACE = re.compile(r"[\w/-]+(?:\.py)?")
OPTIONAL = ("side_effects", "algorithm", "examples")
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
# what a terminal obeys, and what hides or swallows the lines behind it where Markdown is shown
ODD = re.compile(rf"(?im){CONTROL.pattern}|^ *(?:- )?(?:```|~~~)|<!--|<script")
IMPORT = re.compile(r"^(?:from|import) .*", re.MULTILINE)


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
    tree = python_tree(f"{content['signature'].strip().removesuffix(':')}: ...")
    heads = [head_of(one) if isinstance(one, Definition) else "other statements"
             for one in tree.body]
    there = head_of(function.node)
    if heads != [there]:
        yield f"`signature` has {', '.join(heads) or 'nothing that can be read'}, not `{there}`."
    if (stated := _rows(content["parameters"])) != (there := _rows(function.parameters)):
        yield f"`parameters` are stated as {stated}, in the source they are {there}."
    stated, there = _same(content["returns"]["annotation"]), _same(unparsed(function.node.returns))
    if stated != there:
        yield f"`returns` has the annotation {stated}, in the source it is {there}."


def _rows(parameters: Sequence[dict]) -> str:
    """Return parameters in a sentence: name, annotation and default of each."""
    return "; ".join(f"`{one['name'].lstrip('*')}` with annotation {_same(one['annotation'])}, "
                     f"default {_same(one['default'])}" for one in parameters
                     if one["name"] not in BOUND) or "none"


def _same(text: str | None) -> str:
    """Return an expression in one spelling."""
    return ast.unparse(python_tree(f"_ = {text or 'null'}")).removeprefix("_ = ") or text


def raises_findings(function: Function, content: dict, outputs: Sequence[str]) -> list[str]:
    """Return which exceptions are missing, and which nothing raises: neither the function nor what
    it calls for sure nor an example, whose outputs are given. The docstring may name others."""
    stated = dict.fromkeys(one["exception"].rpartition(".")[2] for one in content["raises"])
    lacking = {name for name, leaves in function.raised.items() if name and leaves} - {*stated}
    findings = [f"`raises` lacks `{name}`, which the function raises itself."
                for name in sorted(lacking)]
    known = {"AssertionError", *WORD.findall("\n".join([function.docstring, *outputs]))}
    ids = [function.id]
    for id in ids:   # it grows
        if one := function.project.functions.get(id):   # a class is none
            known |= {*one.raised}
        ids += [one for one in function.project.callees.get(id, ()) if one not in ids]
    return findings if "" in known else findings + [
        f"`raises` has `{name}`, which neither the function nor what it calls raises; show it by "
        "an example, or leave it out." for name in stated if name not in known]


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
    with temporary_folder() as folder:
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
    paths: frozenset[str]   # of all of its files

    @cached_property
    def bodies(self) -> dict[str, str]:
        """Return the bodies without their docstrings, by id."""
        out = {}
        for id in sorted(self.functions):
            if function := self.project.functions.get(id):
                lines = self.project.texts[function.path].split("\n")
                first = function.body.body[0]
                lines = lines[first.lineno - 1:function.node.end_lineno]
                lines[0] = lines[0].encode()[first.col_offset:].decode()
                out[id] = "\n".join(lines)
        return out

    @cached_property
    def visible(self) -> str:
        """Return what is left of the sources that are no tests, and README."""
        texts = {path: text for path, text in self.project.texts.items()
                 if path not in self.project.tests}
        for id, body in self.bodies.items():
            path = id.partition("::")[0]
            texts[path] = texts[path].replace(body, "\n", 1)
        return squeezed("\n".join([self.project.readme, *texts.values()]))

    @cached_property
    def _texts(self) -> dict[str, str]:
        bodies = {f"the body of `{id}`": squeezed(body) for id, body in self.bodies.items()}
        return bodies | {   # documents import as tests do
            f"the tests in {path}": squeezed(IMPORT.sub("", self.project.texts[path]))
            for path in sorted(self.project.tests)}

    @cached_property
    def _test_names(self) -> set[str]:
        """Return the names of tests and of their files that a solver sees nowhere. A plain word is
        no name of a test alone."""
        names = {test.rpartition("::")[2].partition("[")[0] for test in self.tests}
        return {name for name in names | self.project.tests
                if not name.isalpha() and name not in self.visible}

    def findings(self, text: str) -> list[str]:
        """Return what of bodies and tests stands in a text."""
        named = self._test_names.intersection(PLACE.findall(text))
        out = [f"It names the test `{name}`." for name in sorted(named)]
        text = squeezed(text)
        pieces = {text[i:i + RUN] for i in range(len(text) - RUN + 1)}
        for about, hidden in self._texts.items():
            quoted = (piece for i in range(len(hidden) - RUN + 1)
                      if (piece := hidden[i:i + RUN]) in pieces
                      and piece.strip() not in self.visible)
            if piece := next(quoted, ""):
                out.append(f"It quotes {RUN} characters in a row of {about}: {piece!r}; say it in "
                           "other words, or let an example print it if it is a message.")
        return out

    @cached_property
    def _messages(self) -> list[str]:
        """Return the long texts that stand in bodies, the longest first."""
        nodes = (node for id in self.bodies for node in ast.walk(self.project.function(id).body))
        texts = {squeezed(node.value) for node in nodes
                 if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        return sorted((text for text in texts if len(text) >= RUN), key=len, reverse=True)

    def without_messages(self, text: str, outputs: Iterable[str]) -> str:
        """Return a text without long texts of bodies that examples print: who calls a function is
        shown them."""
        text, printed = squeezed(text), squeezed("\n".join(outputs))
        for message in self._messages:
            if message in printed:
                text = text.replace(message, "")
        return text

    @cached_property
    def _visible_grams(self) -> set[tuple[str, ...]]:
        return grams(self.visible)

    def overlap(self, text: str, ids: Iterable[str]) -> float:
        """Return the share of a body's 8-grams of tokens that a text has, of the body of which it
        has most; those that stand in what is visible do not count."""
        shown = grams(text)
        bodies = [grams(self.bodies.get(id, "")) - self._visible_grams for id in ids]
        return max((round(len(body & shown) / len(body), 4) for body in bodies if body),
                   default=0.0)

    @cached_property
    def _words(self) -> set[str]:
        """Return the words of the sources and README, and the names that Python has."""
        texts = [self.project.readme, *self.project.texts.values()]
        return {*dir(builtins), *keyword.kwlist, *sys.stdlib_module_names,
                *WORD.findall("\n".join(texts))}

    def unknown(self, text: str) -> list[str]:
        """Return the paths and names in backquotes that exist neither as files nor in their texts.
        """
        out = []
        for span in dict.fromkeys(SPAN.findall(text)):
            place = span.removeprefix("./").rstrip("/")
            if PATH.fullmatch(span):
                if not any(path == place or path.startswith(f"{place}/") for path in self.paths):
                    out.append(f"The path `{span}` does not exist.")
            elif NAME.fullmatch(span) and not self._words.issuperset(WORD.findall(span)):
                out.append(f"The name `{span}` does not exist.")
        return out


def squeezed(text: str) -> str:
    """Return a text with one blank in place of several, or of line breaks."""
    return " ".join(text.split())


def grams(text: str) -> set[tuple[str, ...]]:
    """Return the runs of GRAM tokens of a text."""
    tokens = TOKEN.findall(text)
    return {tuple(tokens[i:i + GRAM]) for i in range(len(tokens) - GRAM + 1)}


# a whole document --------------------------------------------------------------------------------

@dataclass(frozen=True)
class Checks:
    """Check a document: of a function, or of the project where none is given."""

    hidden: HiddenParts
    max_overlap: float
    function: Function | None = None

    @property
    def form(self) -> dict:
        """Return the form of its content."""
        return FUNCTION if self.function else PROJECT

    @property
    def subject(self) -> str:
        """Return the id of the function, "" for a project."""
        return self.function.id if self.function else ""

    def text(self, content: dict) -> str:
        """Return the Markdown of content."""
        return document_text(self.hidden.project.name, self.subject, content)

    def overlap(self, content: dict) -> float:
        """Return the share of 8-grams of the body, of a project's body that has most of them."""
        return self.hidden.overlap(self._bare(content),
                                   [self.subject] if self.function else self.hidden.bodies)

    def _bare(self, content: dict) -> str:
        """Return its text without what it may show: messages, and the signature."""
        return self.hidden.without_messages(self.text({**content, "signature": ""}),
                                            [one["output"] for one in content["examples"]])

    def findings(self, content: dict, answers: Sequence[list]) -> list[str]:
        """Return what is wrong with content, a sentence each. `answers` are what its examples
        print."""
        wrong = example_findings(content["examples"], answers)
        findings = [*wrong.values()]
        if self.function:
            shown = [one["output"] for i, one in enumerate(content["examples"]) if i not in wrong]
            findings += signature_findings(self.function, content)
            findings += raises_findings(self.function, content, shown)
        prose = self.text({**content, "signature": "", "examples": []})
        odd = ODD.search(prose) or CONTROL.search(self.text(content))
        findings += [f"{odd[0]!r} stands in it: no control characters, and no code blocks or "
                     "HTML in what is told in words."] if odd else []
        return [*findings, *self.shown(content), *self.hidden.unknown(prose)]

    def shown(self, content: dict) -> list[str]:
        """Return what content shows of bodies and tests."""
        share = self.overlap(content)
        told = f"{self._bare(content)}\n{content.get('signature', '')}"   # may have comments
        return self.hidden.findings(told) + ([
            f"It shares {share:.0%} of a body's runs of {GRAM} words and signs: tell it in words "
            "of your own."] if share > self.max_overlap else [])

    def tidied(self, content: dict, answers: Sequence[list]) -> dict:
        """Return content of the template without examples that do not print what they say, and
        without any optional part where it shows too much."""
        wrong = example_findings(content["examples"], answers)
        content = {**content, "examples": [one for i, one in enumerate(content["examples"])
                                           if i not in wrong]}
        if self.shown(content):
            content |= {key: [] for key in OPTIONAL if key in content}
        return content
