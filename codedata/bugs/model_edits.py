"""Let a model break functions, or write them anew: the step `generate` of bug_inject.py scale with
--strategy modify or rewrite.

modify    the model is shown a function and is asked for a bug of some kind in it
rewrite   it writes the body of a function from all but the body; what it gets wrong is the bug

A call makes a candidate, and each is an item and a file of its own: <repo_name>.<strategy>-<k> is
of the k-th function, of those that most tests reach first, or of those to be written anew the
longest first. What the model says is data: nothing of it is run here.
"""
from __future__ import annotations

import ast
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from textwrap import indent

from codedata.bugs.generate import (
    BatchItem,
    BatchItems,
    Configs,
    Kept,
    Program,
    candidate_of,
    generate_stage,
    numbered,
    program_in,
)
from codedata.bugs.inject import remarks
from codedata.bugs.register import known
from codedata.code.contexts import mask_of
from codedata.code.entities import (
    Entity,
    SourceFile,
    entities_of,
    is_test_file,
    syntax_fault,
    tree_of,
)
from codedata.errors import Excluded
from codedata.leak.request import behind
from codedata.llm import Models, Reply
from codedata.records import Analysis, Candidate, Candidates, Environment, Message
from codedata.run_loop import Stage
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.store import View, digest
from codedata.texts import fill, json_objects, printable, text_of, toml_of

MODIFY, REWRITE = "modify", "rewrite"
PROMPTS = {MODIFY: "modify.md", REWRITE: "rewrite.md"}
STRATEGIES = (*PROMPTS,)
SCHEMA = "edit_schema.json"
MAX_LINES = 150                 # of a function that a model is given
N_HINTS = 3                     # kinds of bugs or more, of which a model chooses
MIN_ROOM = 4                    # lines of a body that have room for a bug; shorter ones come last
MAX_AROUND = 200                # lines before and behind a body that is to be written
MAX_CALLERS = 10                # that are named
MAX_SUMMARY = 500               # characters
MARK = "(body)"


class Refused(Exception):
    """Say what is wrong with a reply."""


class Unchanged(Refused):
    """Say that a reply is the function as it was."""


@dataclass(frozen=True, slots=True)
class Place:
    """Hold a function that a model may change."""

    function: Entity
    file: SourceFile
    callers: list[str]

    @property
    def has_body(self) -> bool:
        """Return whether its body can be told from its head: by its lines, or by brackets."""
        function = self.function
        if self.file.language == "python":
            return bool(function.body_lines) and function.body_lines[0] > function.line
        return self.file.text[function.body[0]:function.body[1]][:1] == b"{"


# the step ----------------------------------------------------------------------------------------

class ModelEditor:
    """Ask a model for candidates; make() is the item function."""

    def __init__(self, settings: Settings, models: Models, host: SandboxFactory, strategy: str):
        self._settings, self._host, self._strategy = settings, host, strategy
        self._client = models.client("agent")
        self._hints = toml_of(__package__, "modify_hints.toml")["hints"]
        self._kept = Kept()

    def stage(self, configs: Configs, environments: View, analyses: View,
              coverages: View) -> Stage:
        """Return the stage that makes the candidates of these configs. Analyses, for what is hot,
        and coverages, for what tests run, are looked up where there are any."""
        self._analyses, self._coverages = analyses.open(), coverages.open()
        n = self._settings.bug.max_model_candidates
        prompts = [*map(_text, (PROMPTS[self._strategy], "model_again.md", SCHEMA)), self._hints]
        return generate_stage(
            self._settings, self.make,
            BatchItems(configs, BatchItem, f"{self._strategy}-", lambda config: numbered(n)),
            environments, {"model": self._client.spec.identity(), "prompts": digest(prompts)},
            "a call for each candidate, more where a reply is not taken")

    def make(self, item: BatchItem, environment: Environment) -> Candidates:
        """Return a file of one candidate. Raise Excluded where there are fewer functions."""
        places = self._kept.get(item, environment, lambda: self._places(item, environment))
        turns = len(self._hints) // N_HINTS if self._strategy == MODIFY else 1
        if item.number > len(places) * turns:
            raise Excluded(f"gives only {len(places) * turns} candidates.", item.repo_name)
        turn, which = divmod(item.number - 1, len(places))
        place = places[which]
        order = random.Random(f"{item.seed} {place.function.id}")
        hints = order.sample(self._hints, len(self._hints))[turn::turns]
        candidate, usage = self._ask(self._request(item.repo, place, hints), place)
        if candidate is None:
            raise Excluded(f"{place.function.id} is written anew as it was.", item.repo_name)
        return Candidates(item.repo, item.repo_name, item.base_commit, self._strategy, [candidate],
                          "", usage, 0.0)

    def _places(self, item: BatchItem, environment: Environment) -> list[Place]:
        analysis, coverage = (known(view, item.repo_name)
                              for view in (self._analyses, self._coverages))
        program = program_in(environment, item, self._host, analysis, coverage)
        most = MIN_ROOM if self._strategy == MODIFY else MAX_LINES
        return sorted(places_in(program, analysis), key=lambda place: -min(
            most, mask_of(place.function.body_lines).bit_count()))

    def _request(self, repo: str, place: Place, hints: list[str]) -> list[Message]:
        function = place.function
        code = source_of(place) if self._strategy == MODIFY else without_body(place)
        text = fill(_text(PROMPTS[self._strategy]), repo=repo, language=place.file.language,
                    code=code, path=function.path, name=function.name, mark=MARK,
                    hints="\n".join(f"- {hint}" for hint in hints),
                    callers=", ".join(place.callers) or "(not known)")
        return [{"role": "user", "content": text}]

    def _ask(self, messages: list[Message], place: Place) -> tuple[Candidate | None, dict]:
        """Return the candidate that the model makes, and what its calls took. A body that is
        written as it was is right, and is not asked for again: None."""
        last: dict = {}
        calls: list[dict] = []

        def accept(reply: Reply) -> str | None:
            calls.append(reply.call)
            last["reply"] = reply.text
            try:
                last["candidate"] = candidate_in(reply.text, place, self._strategy)
            except Refused as e:
                is_right = isinstance(e, Unchanged) and self._strategy == REWRITE
                return None if is_right else str(e)
            return None

        def once_more(problem: str) -> list[Message]:
            again = fill(_text("model_again.md"), problem=problem, reply=last.get("reply", ""))
            return self._client.fit(behind(messages, again)).messages

        self._client.chat(self._client.fit(messages).messages, accept, once_more,
                          schema=json.loads(_text(SCHEMA)))
        return last.get("candidate"), usage_of(calls)


def usage_of(calls: list[dict]) -> dict:
    """Return what calls took together; a cost that is not known of each is null."""
    costs = [call.get("cost_usd") for call in calls]
    return {"calls": len(calls),
            **{name: sum(call.get(name) or 0 for call in calls)
               for name in ("tokens_in", "tokens_out")},
            "cost_usd": None if None in costs else sum(costs)}


# what a model is shown ---------------------------------------------------------------------------

def places_in(program: Program, analysis: Analysis | None) -> Iterator[Place]:
    """Yield the functions that a model may change, those first that most tests reach: of files
    that parse, not huge, with a body below the head, and run by a test where that is known."""
    broken = {file.path for file in program.files if tree_of(file).root_node.has_error}
    callers: dict[str, list[str]] = {}
    for edge in analysis.edges if analysis else ():
        callers.setdefault(edge["callee"], []).append(edge["caller"])
    for function, file in program.hot_functions():
        names = sorted(name for name in {*callers.get(function.id, ())} - {function.id}
                       if not is_test_file(name.partition("::")[0]))
        place = Place(function, file, names[:MAX_CALLERS])
        ran = mask_of(function.body_lines) & program.tests.get(file.path, 0)
        n_lines = function.end_line - function.line + 1
        if (place.has_body and n_lines <= MAX_LINES and file.path not in broken
                and (ran or not program.is_measured)):
            yield place


def source_of(place: Place) -> str:
    """Return the lines of a function."""
    function, text = place.function, place.file.text
    start = text.rfind(b"\n", 0, function.start) + 1
    return text[start:function.end].decode()


def without_body(place: Place) -> str:
    """Return the lines around a function with its signature and docstring, and a mark in place of
    what runs."""
    function, text = place.function, place.file.text
    first, last = function.body[0] + 1, function.body[1] - 1   # what stands between brackets
    if place.file.language == "python":
        lines = text.split(b"\n")
        n = function.body_lines[0] - 1
        first = sum(len(line) + 1 for line in lines[:n + 1]) - len(lines[n].lstrip()) - 1
        last = function.end
    lines, rest = text[:first].decode().split("\n"), text[last:].decode().split("\n")
    cut = sum(len(line.encode()) + 1 for line in lines[:-MAX_AROUND])
    head = [node.text.decode() + "\n" for node in tree_of(place.file).root_node.children
            if "import" in node.type and node.end_byte <= cut]
    return "".join(head) + "\n".join(lines[-MAX_AROUND:]) + MARK + "\n".join(rest[:MAX_AROUND])


# what it answers ---------------------------------------------------------------------------------

def candidate_in(reply: str, place: Place, strategy: str) -> Candidate:
    """Return the candidate that a reply makes of a function. Raise Refused where it makes none."""
    function, file = place.function, place.file
    found = [value for *_, value in json_objects(reply)
             if all(isinstance(value.get(key), str) for key in ("summary", "code"))]
    if not found:
        raise Refused("it has no JSON object with the texts `summary` and `code`")
    before, after = ({file.path: text} for text in (file.text, changed(found[-1]["code"], place)))
    return candidate_of(before, after, strategy, function.id,
                        printable(found[-1]["summary"].strip(), MAX_SUMMARY))


def changed(code: str, place: Place) -> bytes:
    """Return the text of the file with `code` in place of the function, as it stands or indented.
    Raise Refused where it is no other version of the function, or anything else changes."""
    function, file = place.function, place.file
    margin = file.text[file.text.rfind(b"\n", 0, function.start) + 1:function.start].decode()
    body = code.replace("\r\n", "\n").strip("\n").rstrip()
    new, fault = _placed(body, place)
    if fault and margin and not margin.strip():
        new, fault = _placed(indent(body, margin), place)
    if fault:
        raise Refused(f"with it the file {fault}")
    _check(place, new)
    return new.text


def _placed(code: str, place: Place) -> tuple[SourceFile, str]:
    """Return the file with `code` in place of the function, and what is wrong with its syntax."""
    function, file = place.function, place.file
    inner = code.lstrip().encode(errors="replace")
    if b"\r\n" in file.text:
        inner = inner.replace(b"\n", b"\r\n")
    text = file.text[:function.start] + inner + file.text[function.end:]
    new = replace(file, text=text)
    return new, syntax_fault(new, tree_of(new)) or _python_fault(new, file)


def _check(place: Place, new: SourceFile) -> None:
    """Raise Refused where a changed file is not the same with another body of the function."""
    function, file = place.function, place.file
    own = next((one for one in entities_of(new, tree_of(new)) if one.start == function.start), None)
    n_behind = len(file.text) - function.end
    if own is None or own.name != function.name or own.end != len(new.text) - n_behind:
        raise Refused(f"`code` is not the function {function.name} alone")
    parts = [(one.signature.split(), one.decorators, one.docstring.split())
             for one in (function, own)]
    if parts[0] != parts[1]:
        raise Refused("the signature, a decorator or the docstring is another one")
    said = remarks({file.path: new.text}) - remarks({file.path: file.text})
    if said:
        raise Refused(f"a comment or text is new or other: {printable(min(said), 200)!r}")
    if _syntax(new) == _syntax(file):
        raise Unchanged("it changes nothing")


def _python_fault(new: SourceFile, old: SourceFile) -> str:
    """Return what this Python says of a file in Python, "" where it could not read the old one."""
    if new.language != "python":
        return ""
    faults = []
    for file in (old, new):
        try:
            compile(file.text, file.path, "exec", ast.PyCF_ONLY_AST)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            faults.append(f"is no Python: {printable(str(e), 200)}")
    return faults[0] if len(faults) == 1 else ""


def _syntax(file: SourceFile) -> list[tuple]:
    """Return the nodes of a file's syntax tree in their order, without comments and places."""
    left, found = [tree_of(file).root_node], []
    while left:
        node = left.pop()
        inner = [one for one in node.children if one.type != "comment"]
        left += reversed(inner)
        found.append((node.type, len(inner), b"" if inner else node.text))
    return found


def _text(name: str) -> str:
    return text_of(__package__, name)
