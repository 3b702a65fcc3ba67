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
from posixpath import basename
from tempfile import TemporaryDirectory

from codedata.bounded import read_bounded
from codedata.code.leftovers import activation
from codedata.code.source import run_tool
from codedata.code.suite import PLUGINS
from codedata.errors import Excluded, ItemFailed
from codedata.nl2repo.documents import (
    Function,
    Project,
    function_text,
    parameters_of,
    parsed,
    project_text,
)
from codedata.records import storable
from codedata.sandbox import Sandbox
from codedata.sandbox.archives import Bounds
from codedata.texts import printable

RUN = 40                   # characters in a row that count as quoted; blanks count as one
GRAM = 8                   # tokens in a row that count for the overlap
EXAMPLE_S, EXAMPLE_BYTES = 10, 10_000   # of one run of an example
MAX_EXAMPLES = 20          # of a document
ANSWERS = Bounds(max_bytes=5_000_000, max_files=4, max_depth=2, max_seconds=60)
FOLDER = f"{PLUGINS}examples"
TOKEN = re.compile(r"\w+|[^\w\s`]")
NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*(?:\(\))?")
PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)+/?|[\w-]+\.(?:py|md|rst|toml|cfg|ini|txt|json)")
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
FENCED = re.compile(r"^(`{3,})[^\n]*\n.*?^\1", re.DOTALL | re.MULTILINE)
TEXT, MAYBE = "a text", "a text or null"
EXAMPLES = [{"code": TEXT, "output": TEXT}]
# the form of content: what each key holds; a list holds what its one entry says
FUNCTION: dict = {
    "signature": TEXT, "purpose": TEXT,
    "parameters": [{"name": TEXT, "annotation": MAYBE, "default": MAYBE, "text": TEXT}],
    "returns": {"annotation": MAYBE, "text": TEXT}, "raises": [{"exception": TEXT, "when": TEXT}],
    "side_effects": [TEXT], "algorithm": [TEXT], "examples": EXAMPLES}
PROJECT: dict = {
    "summary": TEXT, "layout": [{"path": TEXT, "text": TEXT}],
    "concepts": [{"name": TEXT, "path": TEXT, "text": TEXT}], "data_flow": [TEXT],
    "dependencies": [TEXT], "conventions": [TEXT], "tests": [TEXT], "examples": EXAMPLES}


def form_findings(value, form, where: str = "content") -> list[str]:
    """Return what is missing in content, or of another kind than its form says."""
    if isinstance(form, str):
        is_text = isinstance(value, str) or (form == MAYBE and value is None)
        return [] if is_text else [f"`{where}` is not {form}."]
    kind = type(form)
    if not isinstance(value, kind):
        return [f"`{where}` is not {'a list' if kind is list else 'an object'}."]
    if kind is list:
        return [one for i, part in enumerate(value)
                for one in form_findings(part, form[0], f"{where}[{i}]")]
    lacks = [f"`{where}` lacks `{key}`." for key in form if key not in value]
    return lacks or [one for key in form
                     for one in form_findings(value[key], form[key], f"{where}.{key}")]


# what a function's document says of its head -------------------------------------------------------

def signature_findings(function: Function, content: dict) -> list[str]:
    """Return where signature, parameters or annotation of the result are not those of the source.
    """
    try:
        tree = parsed(f"{content['signature'].strip().removesuffix(':')}: ...", "signature")
        stated = next(one for one in tree.body if isinstance(one, type(function.node)))
    except (Excluded, StopIteration):
        return ["`signature` is not that of the source: it cannot be read."]
    findings = []
    if (stated.name, _dump(stated.returns)) != (function.node.name, _dump(function.node.returns)):
        findings.append("`signature` has another name or result than the source.")
    there = parameters_of(function.node, False)
    findings += _rows("signature", there, parameters_of(stated, False))
    listed = [{**one, "name": one["name"].lstrip("*")} for one in content["parameters"]]
    if function.is_method and [one["name"] for one in listed[:1]] != [
            one["name"] for one in there[:1]]:
        there = there[1:]   # self and cls may be left out
    findings += _rows("parameters", there, listed)
    returns = function.node.returns
    if not _same(returns and ast.unparse(returns), content["returns"]["annotation"]):
        findings.append(f"`returns.annotation` is {content['returns']['annotation']}, in the "
                        f"source it is {returns and ast.unparse(returns)}.")
    return findings


def _rows(where: str, there: list[dict], stated: list[dict]) -> Iterator[str]:
    """Yield where parameters differ from those of the source."""
    names = [one["name"] for one in there]
    if (others := [one["name"] for one in stated]) != names:
        yield (f"`{where}` has the parameters {', '.join(others) or 'none'}, the source has "
               f"{', '.join(names) or 'none'}.")
        return
    for one, other in zip(there, stated, strict=True):
        for key in ("annotation", "default"):
            if not _same(one[key], other[key]):
                yield (f"`{where}`: the {key} of `{one['name']}` is {other[key]}, in the source "
                       f"it is {one[key]}.")
        if where == "signature" and one.get("kind") != other.get("kind"):
            yield f"`{where}`: `{one['name']}` is passed in another way in the source."


def _same(one: str | None, other: str | None) -> bool:
    """Return whether two expressions are the same, however they are spaced or quoted."""
    if one is None or other is None:
        return one == other
    try:
        return len({_dump(parsed(text.strip(), "").body[0].value) for text in (one, other)}) == 1
    except (Excluded, AttributeError, IndexError):
        return one == other


def _dump(node: ast.AST | None) -> str:
    """Return an expression in one spelling; an annotation may be quoted."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ast.unparse(node) if node else ""


def raises_findings(function: Function, content: dict, outputs: Iterable[str] = ()) -> list[str]:
    """Return which exceptions are missing, and which nothing raises: neither the function nor what
    it calls for sure nor an example, whose `outputs` are given; the docstring may name others."""
    stated = {one["exception"].rpartition(".")[2]: None for one in content["raises"]}
    needed = {one.exception for one in function.raises if one.leaves} - {""}
    known, is_open = _raised_below(function)
    shown = {line.partition(":")[0].rpartition(".")[2]
             for output in outputs for line in output.splitlines()}
    known |= {*re.findall(r"\w+", function.docstring), *shown}
    findings = [f"`raises` lacks `{name}`, which the function raises itself."
                for name in sorted(needed - stated.keys())]
    if not is_open:
        findings += [f"`raises` has `{name}`, which neither the function nor what it calls raises; "
                     "show it by an example, or leave it out." for name in stated
                     if name not in known]
    return findings


def _raised_below(function: Function) -> tuple[set[str], bool]:
    """Return (what a function and those that it calls raise, whether one of their statements raises
    what cannot be told)."""
    names, is_open = set(), False
    left, seen = [function.entity.id], set()
    while left:
        id = left.pop()
        if id in seen:
            continue
        seen.add(id)
        left += function.project.callees.get(id, [])
        try:
            one = function if id == function.entity.id else function.project.function(id)
        except Excluded:
            continue
        names |= {raised.exception for raised in one.raises}
        names |= {"AssertionError" for node in one.nodes if isinstance(node, ast.Assert)}
        is_open |= any(not raised.exception for raised in one.raises)
    return names, is_open


# examples ------------------------------------------------------------------------------------------

def run_examples(sandbox: Sandbox, examples: Sequence[dict], test_script: str) -> list[list]:
    """Return [what it printed, and what the second time] for each example, run in a sandbox by the
    Python of a test script. None stands for too much, or too long. Raise ItemFailed where that
    cannot be had."""
    if not examples:
        return []
    codes = json.dumps([one["code"] for one in examples]).encode()
    sandbox.put({"examples.json": codes}, FOLDER)
    run_tool(sandbox, "run_examples.py", FOLDER, str(EXAMPLE_S), str(EXAMPLE_BYTES),
             start="python3", before=activation(test_script))
    with TemporaryDirectory(prefix="codedata_examples.") as folder:
        sandbox.get(FOLDER, Path(folder), ANSWERS)
        try:
            answers = json.loads(read_bounded(Path(folder, "answers.json"), ANSWERS.max_bytes))
        except (OSError, ValueError, RecursionError) as e:
            raise ItemFailed(f"its examples did not run: {printable(str(e), 300)}") from e
    good = isinstance(answers, list) and len(answers) == len(examples) and all(
        isinstance(pair, list) and len(pair) == 2
        and all(one is None or isinstance(one, str) for one in pair) for pair in answers)
    if not good:
        raise ItemFailed("its examples did not run: what they printed cannot be read.")
    return answers


def example_findings(examples: Sequence[dict], answers: Sequence[list]) -> dict[int, str]:
    """Return {index: what is wrong} of the examples that do not print what they say."""
    findings = {}
    for i, (example, (first, second)) in enumerate(zip(examples, answers, strict=True)):
        if first is None or second is None:
            findings[i] = f"takes longer than {EXAMPLE_S} s, or prints too much."
        elif first != second:
            findings[i] = "does not print the same each time."
        elif lines_of(first) != lines_of(example["output"]):
            findings[i] = f"prints {printable(storable(first), 300)!r}, not what it says."
    return {i: f"`examples[{i}]` {text}" for i, text in findings.items()}


def lines_of(text: str) -> list[str]:
    """Return the lines of an output, without blanks at their ends."""
    return [line.rstrip() for line in text.strip("\n").splitlines()]


# what must not be shown ----------------------------------------------------------------------------

@dataclass(frozen=True)
class Hidden:
    """Find in texts what a solver is not shown: the bodies of the documented functions, and tests.
    """

    project: Project
    functions: frozenset[str]   # ids of those that are stripped
    tests: frozenset[str]       # as runners name them

    @cached_property
    def bodies(self) -> dict[str, str]:
        """Return the bodies without their docstrings, by id."""
        out = {}
        for id in sorted(self.functions):
            try:
                function = self.project.function(id)
            except Excluded:
                continue
            first, last = function.entity.body
            text = self.project.files[function.entity.path].text[first:last]
            docstring = function.node.body[0] if function.docstring else None
            own = (docstring and ast.get_source_segment(_dedented(function), docstring)) or ""
            out[id] = text.decode(errors="replace").replace(own, "", 1)
        return out

    @cached_property
    def visible(self) -> str:
        """Return what is left of the sources that are no tests, and README."""
        texts = [self.project.readme]
        for path, file in self.project.files.items():
            if not file.is_test:
                text = file.text.decode(errors="replace")
                for id, body in self.bodies.items():
                    if self.project.entities[id].path == path:
                        text = text.replace(body, "\n", 1)
                texts.append(text)
        return squeezed("\n".join(texts))

    @cached_property
    def _texts(self) -> dict[str, str]:
        bodies = {f"of the body of `{id}`": body for id, body in self.bodies.items()}
        tests = {f"of the tests in {path}": file.text.decode(errors="replace")
                 for path, file in self.project.files.items() if file.is_test}
        return {about: squeezed(text) for about, text in {**bodies, **tests}.items()}

    @cached_property
    def test_names(self) -> set[str]:
        """Return the names of tests and of their files that a solver sees nowhere."""
        names = set()
        for test in self.tests:
            path, *parts = test.split("::")
            names |= {path, basename(path), *(part.partition("[")[0] for part in parts)}
        files = {path for path, file in self.project.files.items() if file.is_test}
        names |= files | {basename(path) for path in files}
        return {name for name in names if not name.isalpha() and name not in self.visible} - {
            "__init__.py", "conftest.py"}

    def findings(self, text: str) -> list[str]:
        """Return what of bodies and tests stands in a text."""
        words = {*re.findall(r"[\w./-]*\w", text)}
        out = [f"It names the test `{name}`." for name in sorted(self.test_names & words)]
        text = squeezed(text)
        windows = {text[i:i + RUN] for i in range(len(text) - RUN + 1)}
        for about, hidden in self._texts.items():
            for i in range(len(hidden) - RUN + 1):
                piece = hidden[i:i + RUN]
                if piece in windows and piece not in self.visible:
                    out.append(f"It quotes {RUN} characters in a row {about}: {piece!r}; say it in "
                               "other words.")
                    break
        return out

    def overlap(self, id: str, text: str) -> float:
        """Return the share of a body's 8-grams of tokens that a text has; those that stand in what
        is visible do not count."""
        body = grams(self.bodies.get(id, "")) - self._visible_grams
        return round(len(body & grams(text)) / len(body), 4) if body else 0.0

    @cached_property
    def _visible_grams(self) -> set[tuple[str, ...]]:
        return grams(self.visible)


def _dedented(function: Function) -> str:
    """Return the source in which the positions of a function's nodes count."""
    text = function.project.files[function.entity.path].text
    before = text[:function.entity.start].rpartition(b"\n")[2].decode(errors="replace")
    return f"if 1:\n{before}{function.source}" if before else function.source


def squeezed(text: str) -> str:
    """Return a text with one blank in place of several, or of line breaks."""
    return " ".join(text.split())


def grams(text: str) -> set[tuple[str, ...]]:
    """Return the runs of GRAM tokens of a text."""
    tokens = TOKEN.findall(text)
    return {tuple(tokens[i:i + GRAM]) for i in range(len(tokens) - GRAM + 1)}


# names and paths -----------------------------------------------------------------------------------

def name_findings(text: str, paths: set[str], words: set[str]) -> list[str]:
    """Return the paths and names in backquotes that exist neither as files (`paths`) nor in their
    texts (`words`)."""
    folders = {path[:i] for path in paths for i, char in enumerate(path) if char == "/"}
    out = []
    for span in dict.fromkeys(SPAN.findall(FENCED.sub("", text))):
        if PATH.fullmatch(span):
            if span.rstrip("/").removeprefix("./") not in paths | folders:
                out.append(f"The path `{span}` does not exist.")
        elif NAME.fullmatch(span) and not {*re.findall(r"\w+", span)} <= words:
            out.append(f"The name `{span}` does not exist.")
    return out


def known_words(project: Project) -> set[str]:
    """Return the words of a project's sources and README, and the names that Python has."""
    texts = [project.readme, *(file.text.decode(errors="replace")
                               for file in project.files.values() if not file.is_test)]
    return {*dir(builtins), *keyword.kwlist, *sys.stdlib_module_names,
            *(word for text in texts for word in re.findall(r"\w+", text))}


# a whole document ----------------------------------------------------------------------------------

@dataclass(frozen=True)
class FunctionChecks:
    """Check the document of a function."""

    hidden: Hidden
    words: set[str]
    function: Function
    max_overlap: float
    form, prompt = FUNCTION, "document_function.md"

    @property
    def id(self) -> str:
        """Return the id of the function."""
        return self.function.entity.id

    def task(self, repo: str, draft: dict) -> str:
        """Return the task of an agent that writes it."""
        facts = {key: draft[key] for key in ("signature", "parameters")}
        return f"Document `{self.id}` of {repo}.\n\n```json\n{json.dumps(facts, indent=1)}\n```"

    def text(self, content: dict) -> str:
        """Return its Markdown."""
        return function_text(self.id, content)

    def whole(self, content: dict) -> dict:
        """Return the content as a record has it."""
        return content

    def overlap(self, text: str) -> float:
        """Return the share of the body's 8-grams that stand in a text."""
        return self.hidden.overlap(self.id, text)

    def findings(self, content: dict, answers: Sequence[list] | None) -> list[str]:
        """Return what is wrong with content, a sentence each. `answers` are what its examples
        print; None: what they say."""
        if answers is None:
            answers = [[one["output"]] * 2 for one in content["examples"]]
        wrong = example_findings(content["examples"], answers)
        outputs = [one["output"] for i, one in enumerate(content["examples"]) if i not in wrong]
        text = self.text(content)
        share = self.overlap(text)
        too_near = [f"It shares {share:.0%} of the body's runs of {GRAM} words and signs: tell it "
                    "in words of your own."] if share > self.max_overlap else []
        return [*signature_findings(self.function, content),
                *raises_findings(self.function, content, outputs), *wrong.values(),
                *self.hidden.findings(text), *too_near, *name_findings(text, set(), self.words)]

    def tidied(self, content: dict, answers: Sequence[list]) -> dict:
        """Return content of the template without what does not pass."""
        content = without_findings(content, answers, self.hidden)
        if self.overlap(self.text(content)) > self.max_overlap:
            content["algorithm"] = []
        return content


@dataclass(frozen=True)
class ProjectChecks:
    """Check the document of a project."""

    hidden: Hidden
    words: set[str]
    paths: set[str]
    name: str
    api: list[dict]          # its public names, which a program adds
    form, prompt, id = PROJECT, "document_project.md", ""

    def task(self, repo: str, draft: dict) -> str:
        """Return the task of an agent that writes it."""
        return f"Document the project {repo}."

    def text(self, content: dict) -> str:
        """Return its Markdown."""
        return project_text(self.name, self.whole(content))

    def whole(self, content: dict) -> dict:
        """Return the content with the public names."""
        return {**content, "api": self.api}

    def overlap(self, text: str) -> float:
        """Return the largest share of a body's 8-grams that stand in a text."""
        return max((self.hidden.overlap(id, text) for id in self.hidden.bodies), default=0.0)

    def findings(self, content: dict, answers: Sequence[list] | None) -> list[str]:
        """Return what is wrong with content, a sentence each. `answers` are what its examples
        print; None: what they say."""
        if answers is None:
            answers = [[one["output"]] * 2 for one in content["examples"]]
        text = self.text(content)
        own = project_text(self.name, {**content, "api": []})
        return [*example_findings(content["examples"], answers).values(),
                *self.hidden.findings(text), *name_findings(own, self.paths, self.words)]

    def tidied(self, content: dict, answers: Sequence[list]) -> dict:
        """Return content of the template without what does not pass."""
        return without_findings(content, answers, self.hidden)


def without_findings(content: dict, answers: Sequence[list], hidden: Hidden) -> dict:
    """Return content without the examples that do not print what they say, and without each entry
    of a list that shows what is hidden."""
    wrong = example_findings(content["examples"], answers)
    content = {**content, "examples": [one for i, one in enumerate(content["examples"])
                                       if i not in wrong]}
    return {key: [one for one in value if key in ("parameters", "raises")
                  or not hidden.findings(json.dumps(one, ensure_ascii=False))]
            if isinstance(value, list) else value for key, value in content.items()}
