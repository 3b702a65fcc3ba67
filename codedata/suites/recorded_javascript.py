"""Record which calls the tests of a JavaScript or TypeScript project make, and run them again.

The text of each test file is changed while its tests run: tree-sitter finds calls, reads of
properties and assignments, and each of them goes through a hook (programs/node_calls.cjs) that
notes the ones that involve the project's exports. So any runner can be used. Files with JSX stay as
they are. The test that makes a call is known by the titles in its file.
"""
from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING

from codedata.code.entities import SourceFile, captured, language_of, query_of, tree_of
from codedata.sandbox import Sandbox
from codedata.suites import recorded_calls
from codedata.suites.contexts import sources_in
from codedata.suites.recorded_calls import FOLDER, Event, Outcome, noted_run
from codedata.suites.source import Files
from codedata.suites.suite import NONE, Run
from codedata.texts import text_of

if TYPE_CHECKING:
    from tree_sitter import Node

HOOK, QUERIES = "node_calls.cjs", "javascript_calls.scm"
PATH_LINE = re.compile(r"^export PATH=.*$", re.MULTILINE)
BEFORE = re.compile(rb"//|/\*|#!|['\"]use strict")   # begins lines that stay first in the file
MODULE = ("import_statement", "export_statement")
LOAD = "/* eslint-disable */ var __cd = "
IMPORT = f"import {{ createRequire as __load }} from 'node:module'; {LOAD}__load('{FOLDER}/')"


class JavaScriptEvent(Event):
    """Hold a recorded expression of a test."""

    is_public = True   # the hook leaves out private names

    def statement(self, objects: Collection[int]) -> str:
        """Return its line in a script."""
        if self.raised:
            return f"try {{ {self.expr}; }} catch {{}}"
        return f"const r{self.n} = {self.expr}" if self.n in objects else str(self.expr)


class JavaScriptOutcome(Outcome):
    """Hold a script for node, and the outcome of its last expression."""

    language = "javascript"

    @staticmethod
    def runner(test_script: str) -> tuple[str, dict]:
        """Return (the program that runs such scripts, run_tool()'s arguments for it)."""
        path = PATH_LINE.search(test_script)
        return "replay_calls.cjs", {"before": f"{path[0]}; " if path else "",
                                    "beside": (HOOK,)}

    @property
    def program(self) -> str:
        """Return the script as a text that prints the outcome."""
        shown = f"console.log({self.last})" if self.kind == "raises" or self.as_printed else (
            f"console.dir({self.last}, {{ depth: null, breakLength: Infinity, compact: true }})")
        text = ";\n".join([*self.lines, shown]) + ";\n"
        is_module = any(line.startswith("import ") for line in self.lines)
        return text if is_module or "await " not in text else f"(async () => {{\n{text}}})();\n"

    @staticmethod
    def literals(code: str) -> list[tuple[int, int, object]]:
        """Return (start, end, value) of each number, text and boolean in code; offsets are in
        bytes."""
        found = captured(SourceFile("", "javascript", code.encode(), False),
                         query_of("javascript", QUERIES))
        return [(node.start_byte, node.end_byte, json.loads(node.text))
                for node in found.get("literal", [])]

    @staticmethod
    def written(value) -> str:
        """Return a literal in source form."""
        return json.dumps(value, ensure_ascii=False)

    @staticmethod
    def is_atom(code: str) -> bool:
        """Return True: the hook notes only calls and properties."""
        return True


def record(sandbox: Sandbox, test_script: str, timeout_s: float,
           only: Collection[str] = (), hidden: Files = NONE) -> tuple[Run, list[Event]]:
    """Put the `hidden` files of tests in place, run all tests, and return the run with the events
    of tests that passed; if titles name the tests, only of the ones in `only`. Raise ItemFailed if
    the events cannot be read."""
    source = sandbox.run("pwd -P").output.strip()
    sandbox.put({**hidden}, source)
    found = [SourceFile(path, language_of(path), text, True) for path, text in hidden.items()]
    found += [file for file in sources_in(sandbox).files if file.path not in hidden]
    files = [file for file in found if file.language in ("javascript", "typescript")]
    changed = [(file, text.encode()) for file in files
               if file.is_test and (text := changed_test(file))]
    settings = {"source": source, "files": [file.path for file in files if not file.is_test]}
    hook = text_of("codedata.suites.programs", HOOK).encode()
    sandbox.put({"settings.json": json.dumps(settings).encode(), HOOK: hook}, FOLDER)
    sandbox.put({file.path: text for file, text in changed}, source)
    try:
        run, events = noted_run(sandbox, test_script, timeout_s, JavaScriptEvent)
    finally:
        sandbox.put({file.path: file.text for file, _ in changed}, source)
        sandbox.run(f"rm -rf {FOLDER}")
    failed = [case.name for case in run.results if case.status in ("failed", "error")]
    events = [event for event in events if not _is_of(event, failed)]
    wanted = [event for event in events if not event.test or _is_of(event, only)]
    return run, wanted if any(event.test for event in wanted) else events


replay = partial(recorded_calls.replay, kind=JavaScriptOutcome)


def _is_of(event: Event, names: Collection[str]) -> bool:
    """Return whether a test with one of these names, which may have numbers, made an event."""
    title = re.compile(rf"(?:.* |.*::)?{re.escape(event.test)}(?: \(\d+\))?", re.DOTALL)
    return bool(event.test) and any(map(title.fullmatch, names))


# the change of tests -----------------------------------------------------------------------------

def changed_test(file: SourceFile) -> str | None:
    """Return the text of a test file with its expressions passed through hooks, None if it cannot
    be changed."""
    root = tree_of(file).root_node
    first = next((one for one in root.children if not BEFORE.match(one.text)), None)
    if first is None or root.has_error or file.path.endswith("x"):
        return None
    try:
        change = _Change(file, root)
        start = IMPORT if any(one.type in MODULE for one in root.children) else f"{LOAD}require"
        before = file.text[root.start_byte:first.start_byte].decode()
        rest = change.text(root)[len(before):]
        check = "// @ts-nocheck\n" if file.language == "typescript" else ""
        return f"{before}{check}{start}('{FOLDER}/{HOOK}')(globalThis); {change.start}{rest}"
    except (RecursionError, UnicodeDecodeError):
        return None


class _Change:
    """Rewrite the nodes of a test file by the rules of javascript_calls.scm."""

    def __init__(self, file: SourceFile, root: Node):
        from tree_sitter import QueryCursor
        self._text, self._forms = file.text, defaultdict(list)
        self._words = {"file": json.dumps(file.path)}
        self.start = ""
        query = query_of(file.language, QUERIES)
        found = [(index, {name: nodes[0] for name, nodes in captures.items()})
                 for index, captures in QueryCursor(query).matches(root)]
        self._kept, self._raw = ({one[name].id for _, one in found if name in one}
                                 for name in ("kept", "raw"))
        for index, captures in sorted(found, key=lambda one: one[0]):
            settings = query.pattern_settings(index)
            if "start" in settings:
                self.start += self._filled(settings["start"], captures)
            elif "form" in settings:
                self._forms[captures["node"].id].append((settings["form"], captures))

    def text(self, node: Node) -> str:
        """Return the changed text of a node."""
        if node.id in self._raw:
            return node.text.decode()
        text = ""
        for form, captures in self._forms[node.id] if node.id not in self._kept else ():
            text = self._filled(form, captures, node, text)
        return text or self._joined(node)

    def _filled(self, form: str, captures: dict[str, Node], node: Node | None = None,
                text: str = "") -> str:
        """Return a form filled with the texts of captures; `text` is the present text of the node.
        """
        words = {"raw": json.dumps(node.text.decode()) if node else "", **self._words}
        for name, one in captures.items():
            if f"{{{name}}}" in form:
                changed = (text or self._joined(one)) if one == node else self.text(one)
                words[name] = changed[1:-1] if name == "inside" else changed
        return form.format(**words)

    def _joined(self, node: Node) -> str:
        parts, at = [], node.start_byte
        for child in node.children:
            parts += [self._text[at:child.start_byte].decode(), self.text(child)]
            at = child.end_byte
        return "".join([*parts, self._text[at:node.end_byte].decode()])
