"""Check documents by program: that signatures and exceptions agree with the source, that examples
print the stated output, and that nothing of hidden bodies and tests is shown.

Texts and syntax trees are compared. Whether a sentence is true is not checked.
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

from codedata.bounded import read_bounded
from codedata.disk.locks import temporary_folder
from codedata.errors import ItemFailed
from codedata.leak.hidden import parts_of_test
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
from codedata.sandbox import Sandbox
from codedata.sandbox.archives import Bounds
from codedata.suites.leftovers import activation
from codedata.suites.project_suite import PLUGINS
from codedata.suites.source import run_tool
from codedata.texts import CONTROL, printable, squeezed, storable

RUN = 40                   # characters in a row that count as a quotation; a run of blanks is one
GRAM = 8                   # tokens in a row that are compared for the overlap
MAX_OVERLAP = 0.2          # share of a body's 8-grams that a document may have
EXAMPLE_S, EXAMPLE_BYTES = 10, 10_000   # seconds and bytes of one run of an example
ANSWERS = Bounds(max_bytes=5_000_000, max_files=4, max_depth=2, max_seconds=60)
FOLDER = f"{PLUGINS}examples"
TOKEN = re.compile(r"\w+|[^\w\s`]")
NAME = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*(?:\(\))?")
PATH = re.compile(r"[\w./-]+(?:/|\.(?:py|md|rst|toml|cfg|ini|txt|json))")
PLACE = re.compile(r"[\w/-]+(?:\.py)?")
OPTIONAL = ("side_effects", "algorithm", "examples")
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
# control characters, and Markdown that changes or hides the lines after it
FORBIDDEN = re.compile(rf"(?im){CONTROL.pattern}|^ *(?:- )?(?:```|~~~)|<!--|<script")
IMPORT = re.compile(r"^(?:from|import) .*", re.MULTILINE)


# forms, signatures, exceptions -------------------------------------------------------------------

def form_findings(value, form, where: str = "content") -> list[str]:
    """Return a message for each key of the form that is missing or has the wrong type."""
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
    """Yield a message for each of signature, parameters and return annotation that differs from
    the source."""
    tree = python_tree(f"{content['signature'].strip().removesuffix(':')}: ...")
    heads = [head_of(one) if isinstance(one, Definition) else "other statements"
             for one in tree.body]
    actual = head_of(function.node)
    if heads != [actual]:
        yield f"`signature` has {', '.join(heads) or 'nothing that can be read'}, not `{actual}`."
    stated, actual = _in_words(content["parameters"]), _in_words(function.parameters)
    if stated != actual:
        yield f"`parameters` are stated as {stated}, in the source they are {actual}."
    stated = _normalized(content["returns"]["annotation"])
    actual = _normalized(unparsed(function.node.returns))
    if stated != actual:
        yield f"`returns` has the annotation {stated}, in the source it is {actual}."


def _in_words(parameters: Sequence[dict]) -> str:
    """Return name, annotation and default of each parameter in one sentence."""
    return "; ".join(f"`{one['name'].lstrip('*')}` with annotation "
                     f"{_normalized(one['annotation'])}, default {_normalized(one['default'])}"
                     for one in parameters if one["name"] not in BOUND) or "none"


def _normalized(text: str | None) -> str:
    """Return an expression in Python's own spelling."""
    return ast.unparse(python_tree(f"_ = {text or 'null'}")).removeprefix("_ = ") or text


def raises_findings(function: Function, content: dict, outputs: Sequence[str]) -> list[str]:
    """Return a message for each exception that the document lacks, and for each one that it states
    without support in the function, its callees, its docstring, or its examples' `outputs`."""
    stated = dict.fromkeys(one["exception"].rpartition(".")[2] for one in content["raises"])
    lacking = {name for name, leaves in function.raised.items() if name and leaves} - {*stated}
    findings = [f"`raises` lacks `{name}`, which the function raises itself."
                for name in sorted(lacking)]
    known = {"AssertionError", *WORD.findall("\n".join([function.docstring, *outputs]))}
    ids = [function.id]
    for id in ids:   # the list grows during the loop
        if one := function.project.functions.get(id):   # the id may belong to a class
            known |= {*one.raised}
        ids += [one for one in function.project.callees.get(id, ()) if one not in ids]
    return findings if "" in known else findings + [
        f"`raises` has `{name}`, which neither the function nor what it calls raises; show it by "
        "an example, or leave it out." for name in stated if name not in known]


# examples ----------------------------------------------------------------------------------------

def run_examples(sandbox: Sandbox, examples: Sequence[dict], test_script: str,
                 seconds: float = EXAMPLE_S) -> list[list]:
    """Run each example twice in a sandbox, with the Python that a test script activates; return
    [first output, second output] for each. An output is None if it is too large, or if the run
    takes more than `seconds`. Raise ItemFailed if the outputs cannot be read."""
    codes = json.dumps([one["code"] for one in examples]).encode()
    sandbox.run(f"rm -rf {FOLDER}")   # the image may already contain answers
    sandbox.put({"examples.json": codes}, FOLDER)
    run_tool(sandbox, "run_examples.py", FOLDER, str(seconds), str(EXAMPLE_BYTES),
             before=activation(test_script))
    with temporary_folder() as folder:
        sandbox.get(FOLDER, folder, ANSWERS)
        try:
            answers = json.loads(read_bounded(folder / "answers.json", ANSWERS.max_bytes))
        except (OSError, ValueError, RecursionError) as e:
            raise ItemFailed(f"its examples did not run: {printable(str(e), 300)}") from e
    faults = form_findings(answers, [["a text or null"]], "answers")
    if faults or [*map(len, answers)] != [2] * len(examples):
        raise ItemFailed("its examples did not run: what they printed cannot be read.")
    return answers


def example_findings(examples: Sequence[dict], answers: Sequence[list]) -> dict[int, str]:
    """Return {index: finding} of the examples that do not print their `output`."""
    findings = {}
    for i, (example, (first, second)) in enumerate(zip(examples, answers, strict=True)):
        if first is None or second is None:
            findings[i] = f"`examples[{i}]` takes longer than {EXAMPLE_S} s, or prints too much."
        elif first != second:
            findings[i] = f"`examples[{i}]` does not print the same each time."
        elif _lines(first) != _lines(example["output"]):
            printed = printable(storable(first.rstrip("\n")), 300)
            findings[i] = f"`examples[{i}]` prints {printed!r}, not what it says."
    return findings


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


# what must not be shown --------------------------------------------------------------------------

@dataclass(frozen=True)
class HiddenParts:
    """Find in texts the parts that a solver must not see: the tests, and the bodies of `functions`,
    which tasks strip. `tests` are the names of tests as in reports."""

    project: Codebase
    functions: frozenset[str]
    tests: frozenset[str]
    paths: frozenset[str]   # all files of the project

    @cached_property
    def bodies(self) -> dict[str, str]:
        """Return the bodies without their docstrings, by id."""
        bodies = {}
        for id in sorted({*self.functions} & {*self.project.functions}):
            function = self.project.functions[id]
            if not function.body.body:
                continue
            first = function.body.body[0]
            lines = self.project.texts[function.path].split("\n")
            lines = lines[first.lineno - 1:function.node.end_lineno]
            lines[0] = lines[0].encode()[first.col_offset:].decode()
            bodies[id] = "\n".join(lines)
        return bodies

    @cached_property
    def visible(self) -> str:
        """Return the text that a solver sees: README, and the sources without tests and hidden
        bodies."""
        texts = {path: text for path, text in self.project.texts.items()
                 if path not in self.project.tests}
        for id, body in self.bodies.items():
            path = id.partition("::")[0]
            texts[path] = texts[path].replace(body, "\n", 1)
        return squeezed("\n".join([self.project.readme, *texts.values()]))

    @cached_property
    def _texts(self) -> dict[str, str]:
        bodies = {f"the body of `{id}`": squeezed(body) for id, body in self.bodies.items()}
        return bodies | {   # without imports, which documents may share
            f"the tests in {path}": squeezed(IMPORT.sub("", self.project.texts[path]))
            for path in sorted(self.project.tests)}

    @cached_property
    def _test_names(self) -> set[str]:
        """Return the names of tests and of their files, except visible names and plain words."""
        names = {parts_of_test(test)[-1] for test in self.tests}
        return {name for name in names | self.project.tests
                if not name.isalpha() and name not in self.visible}

    def findings(self, text: str, facts: str = "") -> list[str]:
        """Return a message for each test that a text names, and for each body or file of tests that
        it quotes, outside of quoted `facts`."""
        findings = [f"It names the test `{name}`."
                    for name in sorted(self._test_names.intersection(PLACE.findall(text)))]
        text = squeezed(text)
        runs = {text[i:i + RUN] for i in range(len(text) - RUN + 1)}
        seen = f"{self.visible} {squeezed(facts)}"
        for about, hidden in self._texts.items():
            quotes = (run for i in range(len(hidden) - RUN + 1)
                      if (run := hidden[i:i + RUN]) in runs and run.strip() not in seen)
            if quote := next(quotes, ""):
                findings.append(f"It quotes {RUN} characters in a row of {about}: {quote!r}; say "
                                "it in other words, or let an example print it if it is a message.")
        return findings

    @cached_property
    def _messages(self) -> list[str]:
        """Return the long string constants of bodies, the longest first."""
        nodes = (node for id in self.bodies for node in ast.walk(self.project.function(id).body))
        texts = {squeezed(node.value) for node in nodes
                 if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        return sorted((text for text in texts if len(text) >= RUN), key=len, reverse=True)

    def without_messages(self, text: str, outputs: Iterable[str]) -> str:
        """Return a text without the long string constants of function bodies that also occur in
        `outputs`, the outputs of examples: callers of a function see these constants anyway."""
        text, printed = squeezed(text), squeezed("\n".join(outputs))
        for message in self._messages:
            if message in printed:
                text = text.replace(message, "")
        return text

    @cached_property
    def _visible_grams(self) -> set[tuple[str, ...]]:
        return grams(self.visible)

    def overlap(self, text: str, ids: Iterable[str]) -> float:
        """Return the share (0 to 1) of a body's 8-grams of tokens that occur in a text: the largest
        of all bodies. 8-grams in visible texts do not count."""
        found = grams(text)
        bodies = [grams(self.bodies.get(id, "")) - self._visible_grams for id in ids]
        return max((round(len(body & found) / len(body), 4) for body in bodies if body),
                   default=0.0)

    @cached_property
    def _words(self) -> set[str]:
        """Return the words of the sources and README, and Python's own names."""
        texts = [self.project.readme, *self.project.texts.values()]
        return {*dir(builtins), *keyword.kwlist, *sys.stdlib_module_names,
                *WORD.findall("\n".join(texts))}

    def unknown(self, text: str) -> list[str]:
        """Return a finding for each path and name in backquotes that the project does not have."""
        findings = []
        for span in dict.fromkeys(SPAN.findall(text)):
            place = span.removeprefix("./").rstrip("/")
            if PATH.fullmatch(span):
                if not any(path == place or path.startswith(f"{place}/") for path in self.paths):
                    findings.append(f"The path `{span}` does not exist.")
            elif NAME.fullmatch(span) and not self._words.issuperset(WORD.findall(span)):
                findings.append(f"The name `{span}` does not exist.")
        return findings


def grams(text: str) -> set[tuple[str, ...]]:
    """Return the runs of GRAM tokens of a text."""
    tokens = TOKEN.findall(text)
    return {tuple(tokens[i:i + GRAM]) for i in range(len(tokens) - GRAM + 1)}


# a whole document --------------------------------------------------------------------------------

@dataclass(frozen=True)
class Checks:
    """Check the document of `function`, or of the project if `function` is None. The
    document may quote `facts` literally."""

    hidden: HiddenParts
    function: Function | None
    facts: str = ""

    @property
    def form(self) -> dict:
        """Return the form that the document's content must have."""
        return FUNCTION if self.function else PROJECT

    @property
    def subject(self) -> str:
        """Return the id of the function, "" for a project."""
        return self.function.id if self.function else ""

    def text(self, content: dict) -> str:
        """Return the Markdown for a content."""
        return document_text(self.hidden.project.name, self.subject, content)

    def overlap(self, content: dict) -> float:
        """Return the share of the function's 8-grams that a content has; for a project, the largest
        share of any body."""
        return self.hidden.overlap(self._bare(content),
                                   [self.subject] if self.function else self.hidden.bodies)

    def _bare(self, content: dict) -> str:
        """Return the text of a content without the parts that it may quote: its signature, and
        messages printed by its examples."""
        return self.hidden.without_messages(self.text({**content, "signature": ""}),
                                            [one["output"] for one in content["examples"]])

    def findings(self, content: dict, answers: Sequence[list]) -> list[str]:
        """Return a sentence for each fault of a content. `answers` are the outputs of its examples.
        """
        wrong = example_findings(content["examples"], answers)
        findings = [*wrong.values()]
        if self.function:
            outputs = [one["output"] for one in _without(content["examples"], wrong)]
            findings += signature_findings(self.function, content)
            findings += raises_findings(self.function, content, outputs)
        prose = self.text({**content, "signature": "", "examples": []})
        if match := FORBIDDEN.search(prose) or CONTROL.search(self.text(content)):
            findings.append(f"It contains {match[0]!r}: use no control characters, and no code "
                            "blocks or HTML in prose.")
        return [*findings, *self.leaks(content), *self.hidden.unknown(prose)]

    def leaks(self, content: dict) -> list[str]:
        """Return a message for each part of a content that reveals function bodies or tests."""
        share = self.overlap(content)
        text = f"{self._bare(content)}\n{content.get('signature', '')}"   # may have comments
        return self.hidden.findings(text, self.facts) + ([
            f"It shares {share:.0%} of a body's runs of {GRAM} words and symbols: use your own "
            "words."] if share > MAX_OVERLAP else [])

    def tidied(self, content: dict, answers: Sequence[list]) -> dict:
        """Return a content without the examples that do not print their output. Empty its optional
        parts, one after the other, until nothing leaks."""
        wrong = example_findings(content["examples"], answers)
        content = {**content, "examples": _without(content["examples"], wrong)}
        for key in OPTIONAL:
            if key in content and self.leaks(content):
                content[key] = []
        return content


def _without(examples: Sequence[dict], wrong: dict[int, str]) -> list[dict]:
    return [one for i, one in enumerate(examples) if i not in wrong]
