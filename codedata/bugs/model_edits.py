"""Let a model break functions or rewrite them: the step `generate` of bug_inject.py scale with
--strategy modify or rewrite.

  modify    the model is shown a function and asked to put a bug of some kind into it
  rewrite   the model is shown a function without its body, and writes the body; its
            mistakes are the bug

Each candidate is one call, one item and one file. <repo_name>.<strategy>-<k> changes the k-th
function: for modify, functions that most tests reach come first, for rewrite, the longest. The
model's reply is data: nothing of it is run here.
"""
from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from textwrap import indent

from codedata.agent.loop import usage_of
from codedata.bugs.generate import (
    BatchItem,
    ProgramCache,
    SelectedSources,
    candidate_of,
    generate_stage,
)
from codedata.bugs.inject import remarks
from codedata.code.entities import Entity, SourceFile, entities_of, is_test_file, tree_of
from codedata.code.operators.syntax import syntax_of
from codedata.disk.store import Derived, Store, digest
from codedata.errors import Excluded
from codedata.llm import Models, Reply
from codedata.llm.asking import Rejected, ask, object_in
from codedata.records import Analysis, Coverage, Environment, ProposedChange
from codedata.run.stage import Stage
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.contexts import mask_of
from codedata.texts import fill, printable, text_of, toml_of

MODIFY, REWRITE = "modify", "rewrite"
PROMPTS = {MODIFY: "modify.md", REWRITE: "rewrite.md"}
STRATEGIES = (*PROMPTS,)
AGAIN, SCHEMA = "model_again.md", "edit_schema.json"
_text = partial(text_of, __package__)
MAX_LINES = 150                 # of a function that a model is given
N_HINTS = 3                     # a model chooses from at least this many kinds of bugs
MIN_ROOM = 4                    # lines: functions with a shorter body come last
MAX_AROUND = 200                # lines that are shown before and after a body to be rewritten
MAX_CALLERS = 10                # named in a prompt
MAX_SUMMARY = 500               # characters
MARK = "(body)"


class UnchangedReply(Rejected):
    """Report that a reply leaves the function as it was."""


@dataclass(frozen=True, slots=True)
class Place:
    """Hold a function that a model may change."""

    function: Entity
    file: SourceFile
    body: tuple[int, int]   # bytes, docstring excluded
    callers: list[str]


# the step ----------------------------------------------------------------------------------------

class ModelEditor:
    """Ask a model for candidates; make() is the item function."""

    def __init__(self, settings: Settings, models: Models, host: SandboxFactory, strategy: str):
        self._settings, self._strategy = settings, strategy
        self._places = ProgramCache(host, lambda program, _: self._in_order(places_in(program)))
        self._client = models.client("agent")
        hints = toml_of(__package__, "modify_hints.toml")["hints"]
        self._hints = hints if strategy == MODIFY else [""]   # each body is rewritten only once

    def stage(self, *stores: Derived | Store) -> Stage:
        """Return the stage whose candidates a model makes, as generate_stage()."""
        n = self._settings.bug.max_model_candidates
        prompts = [*map(_text, (PROMPTS[self._strategy], AGAIN, SCHEMA)), self._hints]
        return generate_stage(
            self._settings, self._strategy, stores, lambda config: n, self.make,
            "a call for each candidate, more if a reply is not accepted",
            identity={"model": self._client.spec.identity(), "prompts": digest(prompts)})

    def make(self, item: BatchItem, environment: Environment, analysis: Analysis | None,
             coverage: Coverage | None) -> tuple[list[ProposedChange], dict]:
        """Return a list of one candidate, and the usage of its calls. Raise Excluded if there are
        too few functions, or if the rewritten function is the same."""
        places = self._places.get(item, environment, analysis, coverage)
        turns = max(1, len(self._hints) // N_HINTS)   # turns of each function
        if item.part > len(places) * turns:
            raise Excluded(f"gives only {len(places) * turns} candidates.", item.repo_name)
        turn, which = divmod(item.part - 1, len(places))
        place, calls = places[which], []
        order = random.Random(f"{item.seed} {place.function.id}")
        hints = order.sample(self._hints, len(self._hints))[turn::turns]

        def read(reply: Reply) -> ProposedChange | None:
            calls.append(reply.call)
            try:
                return candidate_in(reply.text, place, self._strategy)
            except UnchangedReply:
                if self._strategy == MODIFY:
                    raise
            return None   # the body is rewritten without a mistake

        candidate = ask(self._client, read, self._request(item.repo, place, hints), _text(AGAIN),
                        schema=json.loads(_text(SCHEMA)))
        if candidate is None:
            raise Excluded(f"{place.function.id} is rewritten without a change.", item.repo_name)
        return [candidate], usage_of(calls)

    def _in_order(self, places: Iterable[Place]) -> list[Place]:
        """Return the functions in the order in which they are tried: for modify, functions with
        room for a bug come first; for rewrite, the longest, since a short body is often rewritten
        the same."""
        enough = MIN_ROOM if self._strategy == MODIFY else MAX_LINES
        return sorted(places, key=lambda place: -min(
            enough, mask_of(place.function.body_lines).bit_count()))

    def _request(self, repo: str, place: Place, hints: list[str]) -> str:
        function = place.function
        code = source_of(place) if self._strategy == MODIFY else without_body(place)
        return fill(_text(PROMPTS[self._strategy]), repo=repo, language=place.file.language,
                    code=code, path=function.path, name=function.name, mark=MARK,
                    hints="\n".join(f"- {hint}" for hint in hints),
                    callers=", ".join(place.callers) or "(not known)")


# what a model is shown ---------------------------------------------------------------------------

def places_in(program: SelectedSources) -> Iterator[Place]:
    """Yield the functions that a model may change, ordered by the number of tests that reach them,
    highest first. They have at most MAX_LINES lines, their files can be parsed, and their bodies
    begin below the signature. If coverage is known, a test runs them."""
    ranks = program.ranks()
    callers: dict[str, list[str]] = {}
    for edge in program.analysis.edges if program.analysis else ():
        callers.setdefault(edge["callee"], []).append(edge["caller"])
    functions = [(one, file) for file in program.files if _parses(file)
                 for one in entities_of(file, tree_of(file)) if one.kind != "class"]
    functions.sort(key=lambda pair: (ranks.get(pair[0].id, len(ranks)), pair[0].id))
    for function, file in functions:
        body = _body(function, file)
        names = sorted(name for name in {*callers.get(function.id, ())} - {function.id}
                       if not is_test_file(name.partition("::")[0]))
        is_short = function.end_line - function.line < MAX_LINES
        if body and is_short and (program.tests is None or mask_of(
                function.body_lines) & program.tests.get(file.path, 0)):
            yield Place(function, file, body, names[:MAX_CALLERS])


def _parses(file: SourceFile) -> bool:
    try:
        syntax_of(file)
    except SyntaxError:
        return False
    return True


def _body(function: Entity, file: SourceFile) -> tuple[int, int] | None:
    """Return (start, end) of a function's body in bytes, without its docstring; None if the body
    begins in the line of the signature (Python), or has no bracket (other languages)."""
    if file.language != "python":
        start, end = function.body
        return (start + 1, end - 1) if file.text[start:start + 1] == b"{" else None
    if not function.body_lines or function.body_lines[0] <= function.line:
        return None
    lines, n = file.text.split(b"\n"), function.body_lines[0] - 1
    margin = len(lines[n]) - len(lines[n].lstrip())
    return len(b"\n".join(lines[:n])) + 1 + margin, function.end


def source_of(place: Place) -> str:
    """Return the lines of a function."""
    function, text = place.function, place.file.text
    start = text.rfind(b"\n", 0, function.start) + 1
    return text[start:function.end].decode()


def without_body(place: Place) -> str:
    """Return a function with its signature, its docstring and the lines around it, with MARK in
    place of its body. Imports that are farther above are shown, too."""
    first, last = place.body
    before, behind = (part.decode().split("\n")
                      for part in (place.file.text[:first], place.file.text[last:]))
    cut = sum(len(line.encode()) + 1 for line in before[:-MAX_AROUND])
    head = [node.text.decode() for node in tree_of(place.file).root_node.children
            if "import" in node.type and node.end_byte <= cut]
    return "\n".join([*head, *["…"] * bool(cut), *before[-MAX_AROUND:]]) + MARK + "\n".join(
        behind[:MAX_AROUND])


# what a model answers -----------------------------------------------------------------------------

def candidate_in(reply: str, place: Place, strategy: str) -> ProposedChange:
    """Return the candidate that a reply makes from a function. Raise Rejected if it cannot be one.
    """
    function, file = place.function, place.file
    answer = object_in(reply, lambda one: all(isinstance(one.get(key), str)
                                              for key in ("summary", "code")),
                       "with the texts `summary` and `code`")
    before, after = {file.path: file.text}, {file.path: changed(answer["code"], place)}
    summary = printable(answer["summary"].strip(), MAX_SUMMARY)
    return candidate_of(before, after, strategy, summary, function.id)


def changed(code: str, place: Place) -> bytes:
    """Return the text of the file with `code`, which may be indented, in place of the function.
    Raise UnchangedReply if nothing changes, Rejected if the file no longer parses, or if more than
    the function's body changes."""
    file, fault = place.file, None
    body, line = code.replace("\r\n", "\n").strip("\n").rstrip(), source_of(place)
    margin = line[:len(line) - len(line.lstrip())]
    for version in (body, indent(body, margin)):
        new = _with_code(place, version)
        try:
            is_same = syntax_of(new) == syntax_of(file)
        except SyntaxError as e:
            if fault is None or isinstance(fault, IndentationError):
                fault = e
            continue
        _check(place, new)
        if is_same:
            raise UnchangedReply("it changes nothing")
        return new.text
    raise Rejected(f"with this code the file does not parse: {printable(str(fault), 200)}")


def _with_code(place: Place, code: str) -> SourceFile:
    """Return the file with `code` in place of the function."""
    function, text = place.function, place.file.text
    inner = code.lstrip().encode(errors="replace")
    if b"\r\n" in text:
        inner = inner.replace(b"\n", b"\r\n")
    return replace(place.file, text=text[:function.start] + inner + text[function.end:])


def _check(place: Place, new: SourceFile) -> None:
    """Raise Rejected if a changed file differs in more than the body of the function."""
    function, file = place.function, place.file
    end = len(new.text) - (len(file.text) - function.end)
    version = next((one for one in entities_of(new, tree_of(new)) if one.start == function.start
                    and (one.name, one.end) == (function.name, end)), None)
    if version is None:
        raise Rejected(f"`code` is not the function {function.name} alone")
    before, after = ((one.signature.split(), one.decorators, one.docstring.split())
                     for one in (function, version))
    if before != after:
        raise Rejected("the signature, a decorator or the docstring is changed")
    if more := remarks({file.path: new.text}) - remarks({file.path: file.text}):
        raise Rejected(f"a comment or docstring is new or changed: {printable(min(more), 200)!r}")
