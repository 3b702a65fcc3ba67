"""Let a model write the bodies of functions anew: the step `generate` of bug_inject.py scale with
--strategy rewrite. The model is shown a function without its body; its mistakes are the bug.

Each candidate is one call, one item and one file. <repo_name>.rewrite-<k> rewrites the k-th
function, the longest first, since a short body is often rewritten the same. The model's reply is
data: nothing of it is run here.
"""
from __future__ import annotations

from contextlib import suppress
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
from codedata.bugs.giveaways import giveaways
from codedata.bugs.inject import remarks
from codedata.code.entities import Entity, SourceFile, entities_of, tree_of
from codedata.code.operators.syntax import syntax_of
from codedata.disk.store import Derived, Store, digest
from codedata.errors import Excluded
from codedata.llm import Models, Reply
from codedata.llm.asking import Rejected, ask, part_in
from codedata.records import ProposedChange
from codedata.run.stage import Stage
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.contexts import mask_of
from codedata.texts import fill, printable, text_of

REWRITE = "rewrite"
PROMPT, AGAIN = "rewrite.md", "model_again.md"
_text = partial(text_of, __package__)
MAX_LINES = 150                 # of a function that a model is given
MAX_AROUND = 200                # lines that are shown before and after a body to be rewritten
MARK = "(body)"
NOTHING = "has no function that could be rewritten."


@dataclass(frozen=True, slots=True)
class Place:
    """Hold a function that a model may change."""

    function: Entity
    file: SourceFile
    body: tuple[int, int]   # bytes, docstring excluded


# the step ----------------------------------------------------------------------------------------

def rewrite_stage(models: Models, settings: Settings, host: SandboxFactory,
                  *stores: Derived | Store) -> Stage:
    """Return the stage whose candidates a model makes. Its item function raises Excluded if there
    are too few functions, or if the rewritten function is the same."""
    client = models.client("agent")

    def rewritten(item: BatchItem, place: Place) -> tuple[list[ProposedChange], dict]:
        calls, function = [], place.function
        request = fill(_text(PROMPT), repo=item.repo, language=place.file.language,
                       code=without_body(place), path=function.path, name=function.name, mark=MARK)

        def read(reply: Reply) -> ProposedChange | None:
            calls.append(reply.call)
            return candidate_in(reply.text, place)

        candidate = ask(client, read, request, _text(AGAIN))
        if candidate is None:
            raise Excluded(f"{function.id} is rewritten without a change.", item.repo_name)
        return [candidate], usage_of(calls)

    return generate_stage(
        settings, REWRITE, ProgramCache(host, lambda program, *_: places_in(program)), NOTHING,
        *stores, ask=rewritten,
        cost_note="a call for each candidate, more if a reply is not accepted",
        identity={"model": client.spec.identity(),
                  "prompts": digest([*map(_text, (PROMPT, AGAIN))])})


# what a model is shown ---------------------------------------------------------------------------

def places_in(program: SelectedSources) -> list[Place]:
    """Return the functions that a model may rewrite, the longest first. They have at most MAX_LINES
    lines, their files can be parsed, and their bodies begin below the signature. If coverage is
    known, a test runs them."""
    places = []
    for file in program.files:
        with suppress(SyntaxError):
            syntax_of(file)
            places += [Place(one, file, body) for one in entities_of(file, tree_of(file))
                       if one.kind != "class" and one.end_line - one.line < MAX_LINES
                       and (program.tests is None or mask_of(
                           one.body_lines) & program.tests.get(file.path, 0))
                       and (body := _body(one, file))]
    return sorted(places, key=lambda place: (
        -mask_of(place.function.body_lines).bit_count(), place.function.id))


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

def candidate_in(reply: str, place: Place) -> ProposedChange | None:
    """Return the candidate that a reply makes from a function; None if it leaves the function as it
    was. Raise Rejected if it cannot be one."""
    function, file = place.function, place.file
    before, after = {file.path: file.text}, {file.path: changed(part_in(reply, "rewritten"), place)}
    if before == after:
        return None
    if found := giveaways(before, after):
        raise Rejected(f"it gives itself away: {found[0]}")
    return candidate_of(before, after, REWRITE, f"{function.name} is rewritten", function.id)


def changed(code: str, place: Place) -> bytes:
    """Return the text of the file with `code`, which may be indented, in place of the function.
    It is the old text if the syntax is. Raise Rejected if the file no longer parses, or if more
    than the function's body changes."""
    file, fault = place.file, None
    body, start = code.replace("\r\n", "\n").rstrip(), place.function.start
    margin = file.text[file.text.rfind(b"\n", 0, start) + 1:start].decode()
    for version in (body, indent(body, margin)):
        new = _with_code(place, version)
        try:
            is_same = syntax_of(new) == syntax_of(file)
        except SyntaxError as e:
            if fault is None or isinstance(fault, IndentationError):
                fault = e
            continue
        _check(place, new)
        return file.text if is_same else new.text
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
        raise Rejected(f"it is not the function {function.name} alone")
    before, after = ((one.signature.split(), one.decorators, one.docstring.split())
                     for one in (function, version))
    if before != after:
        raise Rejected("the signature, a decorator or the docstring is changed")
    if more := remarks({file.path: new.text}) - remarks({file.path: file.text}):
        raise Rejected(f"a comment or docstring is new or changed: {printable(min(more), 200)!r}")
