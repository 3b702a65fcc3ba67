"""Find the sources of a repository, and the classes, functions and methods that they define.

tree-sitter reads them (the extra `code`). A language is a table of languages.toml and a file of
queries, <language>.scm, with these captures:

    @class @function @method   a definition; a @function right inside of a @class is a method
    @scope                     is no entity, but what is inside has its name in front
    @name @body @head          of it: what it is called, what runs, where its signature ends
    @receiver                  the type to which a method belongs that does not stand in its class
    @outer @decorated          what holds a definition, be it with its decorators; and this
    @decorator                 belongs to the definition that it stands in or in front of
    @documented @doc           a body, and the docstring in it
    @comment                   is a docstring where it ends right before a definition

All offsets are bytes of the file as it is on disk. A file with syntax errors has the entities that
are left. Not promised: definitions that a program makes when it runs.
"""
from __future__ import annotations

import os
import re
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from errno import ELOOP
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING

from codedata.bounded import read_bounded, resolved_in
from codedata.errors import Trouble
from codedata.texts import printable, text_of, toml_of

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Query, Tree

INSTALL = "pip install 'codedata[code]'"
MAX_FILE_BYTES = 1_000_000     # of a source; a longer one is generated, as a rule
MAX_PARSE_S = 2                # of CPU time: ten times what such a file takes, and 1 GB
MAX_BROKEN = 30_000            # parts of an error
CHUNK_BYTES = 4096             # that the parser is given at once
BLANKS = b" \t\r\n\f\xef\xbb\xbf"

# folders that hold no source of the repository: by name, and by what lies in them
SKIPPED_FOLDERS = {".git", ".hg", ".svn", "node_modules", "site-packages", "__pycache__"}
FOREIGN_MARKS = {"pyvenv.cfg", "conda-meta", "CACHEDIR.TAG"}
MAX_DEPTH = 50                 # of definitions in each other; deeper ones are left out
MAX_DECORATORS = 100
MAX_NAME, MAX_TEXT = 200, 2000 # bytes of a name, of a signature and of a decorator
MAX_INDENT = 200               # bytes before a comment that may be a docstring
RIGHT_BEHIND = re.compile(rb"\s*")
RIGHT_BELOW = re.compile(rb"[ \t\r]*\n?[ \t]*")
AND_MORE = re.compile(rb"[ \t]*;")   # behind a docstring: its line has a statement, too
# what a match is about, by the name of its capture
SUBJECTS = ("class", "function", "method", "scope", "decorated", "documented", "decorator",
            "comment")


@dataclass(frozen=True, slots=True)
class Rules:
    """Say which files are read, and which of them are tests. Patterns are globs of whole paths."""

    roots: tuple[str, ...] = (".",)
    exclude: tuple[str, ...] = ()
    test_files: tuple[str, ...] = ()   # (): those of the language


@dataclass(frozen=True, slots=True)
class SourceFile:
    """Hold a source file as it is on disk."""

    path: str        # relative to the repository, with "/"
    language: str    # a table of languages.toml
    text: bytes
    is_test: bool    # by its path


@dataclass(frozen=True)
class Sources:
    """Hold the sources of a repository, sorted by path."""

    files: list[SourceFile]
    faults: dict[str, str] = field(default_factory=dict)   # {path: why it is not analysed, or only
                                                           # in part}


@dataclass(frozen=True, slots=True)
class Entity:
    """Hold a class, function or method. Lines are counted from 1, bytes from 0."""

    id: str                  # path::Qual.name; @line is appended where several share it
    path: str
    name: str                # Qual.name
    kind: str                # class | function | method
    line: int                # of `def` or `class` itself
    end_line: int
    start: int               # decorators included
    end: int
    body: tuple[int, int]    # bytes, docstring included
    body_lines: list[int]    # ranges [first, last, first, last, …] of the lines that run when it
                             # runs: without signature, docstring and the bodies of inner entities
    signature: str
    docstring: str           # as written, without its quotes and common indentation
    decorators: list[str]    # without @
    is_test: bool
    parent: str              # id of the enclosing entity, or ""


# the files ---------------------------------------------------------------------------------------

def read_sources(folder: Path, rules: Rules = Rules(), max_files: int = 50_000,
                 max_bytes: int = 500_000_000) -> Sources:
    """Return the sources in a folder, and why others in it are not read, or only in part.

    `max_bytes` is of all files together; each has a limit of its own.
    """
    folder = folder.resolve()
    files = []
    faults: dict[str, str] = {}
    room = max_bytes
    for path in sorted({path for root in rules.roots for path in _paths(folder, root)}):
        language = language_of(path)
        if not (language or (folder / path).is_dir()) or _fits(path, rules.exclude):
            continue
        if len(files) == max_files or room <= 0:
            faults[path] = "is beyond the limit of an analysis, as is all that comes after it"
            break
        text, fault = _content(folder, path, min(MAX_FILE_BYTES, room))
        if fault:
            faults[printable(path)] = fault
        if text is not None:
            room -= len(text)
            is_test = _fits(path, rules.test_files) if rules.test_files else is_test_file(path)
            files.append(SourceFile(path, language, text, is_test))
    return Sources(files, dict(sorted(faults.items())))


def language_of(path: str) -> str:
    """Return the table of languages.toml that a file's name belongs to, or ""."""
    return _by_suffix().get(os.path.splitext(path)[1], "")


def is_test_file(path: str) -> bool:
    """Return whether a path is that of tests in its language."""
    language = language_of(path)
    return bool(language) and _fits(path, languages()[language]["test_files"])


def _paths(folder: Path, root: str) -> Iterator[str]:
    """Yield the paths of the files under a root of the repository, and of links to folders."""
    for here, folders, names in os.walk(resolved_in(folder, folder / root)):
        place = Path(here)
        if place != folder and FOREIGN_MARKS.intersection([*names, *folders]):
            folders.clear()
            continue
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        links = [name for name in folders if (place / name).is_symlink()]
        for name in [*names, *links]:
            yield (place / name).relative_to(folder).as_posix()


def _content(folder: Path, path: str, max_bytes: int) -> tuple[bytes | None, str]:
    """Return (content, why it is not read, or only in part). What a link leads to is read under
    its own name: a link is a fault where that is nothing inside of the folder."""
    file = folder / path
    is_link = file.is_symlink()
    try:
        target = resolved_in(folder, file)
        if is_link:
            target.stat()
            return None, ""
        text = read_bounded(target, max_bytes)
    except (OSError, RuntimeError) as error:   # RuntimeError: in a circle, before Python 3.13
        is_circle = getattr(error, "errno", ELOOP) == ELOOP
        reason = "leads in a circle" if is_circle else error.strerror
        return None, f"is {'a link that is not followed' if is_link else 'not read'}: {reason}"
    if not _is_utf8(os.fsencode(path)):
        return None, "has a name that is not UTF-8"
    if b"\0" in text:
        return None, "is binary, or UTF-16"
    return text, "" if _is_utf8(text) else "is not UTF-8: read as far as it goes"


def _fits(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


# the languages -----------------------------------------------------------------------------------

@lru_cache
def languages() -> dict[str, dict]:
    """Return the tables of languages.toml."""
    return toml_of(__package__, "languages.toml")


@lru_cache
def _by_suffix() -> dict[str, str]:
    return {suffix: language for language, table in languages().items()
            for suffix in table["suffixes"]}


@lru_cache
def grammar(language: str) -> Language:
    """Return the grammar of a language. Trouble where its wheel is not installed."""
    module, name = languages()[language]["grammar"].split(":")
    try:
        from tree_sitter import Language
        return Language(getattr(import_module(module), name)())
    except ImportError as error:
        raise Trouble(f"{error.name} is not installed", todo=f"Install it: {INSTALL}") from error


@lru_cache
def query_of(language: str, *names: str) -> Query:
    """Return the query that stands in these files beside this one."""
    from tree_sitter import Query
    return Query(grammar(language), "\n".join(text_of(__package__, name) for name in names))


def tree_of(file: SourceFile) -> Tree:
    """Return the syntax tree of a file. Its nodes have byte offsets of `file.text`.

    It is empty where that takes longer than MAX_PARSE_S, or an error has more than MAX_BROKEN
    parts: such texts take the parser, or each query of their tree, quadratic time.
    """
    from tree_sitter import Parser
    parser = Parser(grammar(file.language))
    end = time.thread_time() + MAX_PARSE_S
    try:
        tree = parser.parse(lambda start, _: file.text[start:start + CHUNK_BYTES],
                            progress_callback=lambda *_: time.thread_time() > end)
        if not _is_too_broken(tree):
            return parser.parse(file.text, tree)   # the same; a node's text is found faster in it
    except ValueError:   # stopped
        parser.reset()
    return parser.parse(b"")


def _is_too_broken(tree: Tree) -> bool:
    left = [tree.root_node] if tree.root_node.has_error else []
    while left:
        node = left.pop()
        if node.is_error and node.child_count > MAX_BROKEN:
            return True
        left += [one for one in node.children if one.has_error]
    return False


def syntax_fault(file: SourceFile, tree: Tree) -> str:
    """Return where the tree of a file has its first syntax error, or that it is empty, or ""."""
    node = tree.root_node
    if not node.child_count and file.text.strip(BLANKS):
        return "is too long to parse, or too broken"
    if not node.has_error:
        return ""
    while inner := next((one for one in node.children if one.has_error), None):
        node = inner
    return f"has syntax errors, the first one in line {node.start_point.row + 1}"


def all_entities(sources: Sources) -> tuple[dict[str, list[Entity]], dict[str, str]]:
    """Return the entities by path, and the faults of the sources and of their syntax by path."""
    entities = {}
    faults = dict(sources.faults)
    for file in sources.files:
        tree = tree_of(file)
        entities[file.path] = entities_of(file, tree)
        if fault := syntax_fault(file, tree):
            faults[file.path] = "; ".join(filter(None, [faults.get(file.path), fault]))
    return entities, dict(sorted(faults.items()))


# the entities of a file --------------------------------------------------------------------------

@dataclass(slots=True)
class _Definition:
    """Collect what the captures say of a definition. Where it starts, decorators may come first."""

    kind: str
    name: str
    node: Node
    body: Node
    start: int
    end: int
    first: Node                      # its first word behind decorators
    head: Node                       # where its signature ends
    decorators: list[Node]
    docs: list[Node]
    parent: _Definition | None = None
    inner: list[_Definition] = field(default_factory=list)
    is_test: bool = False
    id: str = ""


@dataclass(slots=True)
class _Found:
    """Hold what the queries find in a file. Those of `before` and `above` are found by the byte of
    what stands right behind, or right below."""

    about: dict[int, dict[str, list[Node]]] = field(default_factory=dict)   # by node id
    decorators: dict[int, Node] = field(default_factory=dict)   # by their start
    before: dict[int, Node] = field(default_factory=dict)       # decorators
    above: dict[int, Node] = field(default_factory=dict)        # comments


def entities_of(file: SourceFile, tree: Tree) -> list[Entity]:
    """Return the entities of a file, in order of their start."""
    definitions = [*_nested(_definitions(file, tree))]
    if file.is_test:
        _mark_tests(definitions, languages()[file.language]["test_names"])
    names = Counter(one.name for one in definitions)
    places = Counter((one.name, one.first.start_point.row) for one in definitions)
    for one in definitions:
        row, column = one.first.start_point
        line = f"@{row + 1}" if names[one.name] > 1 else ""
        one.id = f"{file.path}::{one.name}{line}" + (
            f":{column}" if places[one.name, row] > 1 else "")
    return [_entity(file, one) for one in definitions]


def _definitions(file: SourceFile, tree: Tree) -> list[_Definition]:
    """Return the definitions that the queries find, and scopes, in order of their start."""
    from tree_sitter import QueryCursor
    table = languages()[file.language]
    marks = re.compile(table["docstring_marks"])
    query = query_of(file.language, *table["queries"])
    found = _Found()
    for _, captures in QueryCursor(query).matches(tree.root_node):
        name = next(name for name in SUBJECTS if name in captures)
        node = captures[name][0]
        if name == "decorator":
            found.decorators[node.start_byte] = node
            found.before[RIGHT_BEHIND.match(file.text, node.end_byte).end()] = node
        elif name == "comment":
            if _has_its_own_line(file.text, node):
                found.above[RIGHT_BELOW.match(file.text, node.end_byte).end()] = node
        elif name != "documented" or marks.match(_text(captures["doc"][0], MAX_TEXT)):
            found.about.setdefault(node.id, {}).update(captures)
    starts = sorted(found.decorators)
    out = [_definition(about, found, starts) for about in found.about.values() if "body" in about]
    return sorted(out, key=lambda one: (one.start, -one.end))


def _has_its_own_line(text: bytes, node: Node) -> bool:
    """Return whether nothing stands in front of a node in its line."""
    column = node.start_point.column
    return column < MAX_INDENT and not text[node.start_byte - column:node.start_byte].strip()


def _definition(about: dict[str, list[Node]], found: _Found,
                starts: list[int]) -> _Definition:
    """Return a definition of its captures. `starts` are those of the decorators of the file."""
    kind = next(kind for kind in SUBJECTS if kind in about)
    node = outer = about[kind][0]
    body = about["body"][0]
    while holder := found.about.get(outer.id, {}).get("outer"):
        outer = holder[0]
    start = outer.start_byte
    inside = slice(bisect_left(starts, start), bisect_left(starts, about["name"][0].start_byte))
    decorators = [found.decorators[at] for at in starts[inside]]
    first = node
    if decorators and decorators[0].start_byte == node.start_byte:
        first = next(one for one in node.children if one.start_byte > decorators[-1].start_byte)
    in_front = _chain(start, found.before)
    start = in_front[0].start_byte if in_front else start
    docs = _chain(start, found.above) + found.about.get(body.id, {}).get("doc", [])[:1]
    head = about.get("head", [body])[0]
    names = [_text(about[part][0], MAX_NAME) for part in ("receiver", "name") if part in about]
    return _Definition(
        kind, " ".join(".".join(names).split()), node, body, start, outer.end_byte, first, head,
        (in_front + decorators)[:MAX_DECORATORS], docs)


def _chain(at: int, before: dict[int, Node]) -> list[Node]:
    """Return the nodes that end up at a byte, one behind the other."""
    out = []
    while at in before:
        out.append(before[at])
        at = out[-1].start_byte
    return out[::-1]


def _nested(definitions: list[_Definition]) -> Iterator[_Definition]:
    """Yield the definitions without scopes, each with its parent and its full name.

    Those that are nested too deeply are left out.
    """
    around: list[_Definition] = []
    for one in definitions:
        while around and around[-1].end <= one.start:
            around.pop()
        if len(around) == MAX_DEPTH:
            continue
        if around:
            holder = around[-1]
            one.name = f"{holder.name}.{one.name}"
            one.parent = holder.parent if holder.kind == "scope" else holder
            if one.parent and one.kind != "scope":
                one.parent.inner.append(one)
            if holder.kind == "class" and one.kind == "function":
                one.kind = "method"
        around.append(one)
        if one.kind != "scope":
            yield one


def _mark_tests(definitions: list[_Definition], names: list[str]) -> None:
    """Mark the functions that are tests by their names, and the classes around them."""
    for one in definitions:
        line = [one]
        while line[-1].parent:
            line.append(line[-1].parent)
        can_run = one.kind != "class" and all(outer.kind == "class" for outer in line[1:])
        if can_run and _fits(one.name.rpartition(".")[2], names):
            for marked in line:
                marked.is_test = True


def _entity(file: SourceFile, one: _Definition) -> Entity:
    signature = file.text[one.first.start_byte:one.head.start_byte][:MAX_TEXT]
    marks = languages()[file.language]["docstring_marks"]
    docs = [re.sub(marks, "", _text(node, len(file.text))) for node in one.docs]
    decorators = [_text(node, MAX_TEXT).removeprefix("@").strip() for node in one.decorators]
    return Entity(
        one.id, file.path, one.name, one.kind, _lines(one.first)[0], _lines(one.node)[1],
        one.start, one.end, one.body.byte_range, _body_lines(file.text, one),
        signature.decode(errors="replace").strip(), cleandoc("\n".join(docs)).strip(), decorators,
        one.is_test, one.parent.id if one.parent else "")


def _body_lines(text: bytes, one: _Definition) -> list[int]:
    """Return the ranges of lines that run when a definition's own body runs."""
    first, last = _lines(one.body)
    cuts = [_lines(child.body) for child in one.inner]
    for node in one.docs:
        start, end = _lines(node)
        cuts.append((start, end - 1 if AND_MORE.match(text, node.end_byte) else end))
    ranges = []
    for start, end in sorted(cuts):
        if first < start:
            ranges += [first, start - 1]
        first = max(first, end + 1)
    if first <= last:
        ranges += [first, last]
    if not ranges and not any(node.end_byte == one.body.end_byte for node in one.docs):
        ranges = [last, last]   # all on one line, together with an inner one
    return ranges


def _lines(node: Node) -> tuple[int, int]:
    """Return a node's first and last line."""
    first, (row, column) = node.start_point.row, node.end_point
    return first + 1, max(first, row - (column == 0)) + 1


def _text(node: Node, max_bytes: int) -> str:
    return node.text[:max_bytes].decode(errors="replace")
