"""Find the sources of a repository, and the classes, functions and methods that they define.

tree-sitter parses them (the extra `code`). A language is a table of languages.toml and a file of
queries, <language>.scm, with these captures:

    @class @function @method   a definition; a @function directly in a @class is a method
    @scope                     no entity; its name goes before the names of definitions in it
    @name @body @head          of a definition: its name, its code, and the end of its signature
    @receiver                  the type of a method that is defined outside of its class
    @outer @decorated          a node with a definition and its decorators; the definition
    @decorator                 on the definition around it or right after it
    @documented @doc           a body, and the docstring in it
    @comment                   a docstring, if it ends right before a definition

All offsets are bytes of the file on disk. In a file with syntax errors, the entities that still
parse are found. Definitions made at run time are not found.
"""
from __future__ import annotations

import os
import re
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from errno import ELOOP
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib import import_module
from inspect import cleandoc
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from codedata.bounded import read_bounded, resolved_in
from codedata.errors import Trouble
from codedata.texts import printable, squeezed, text_of, toml_of

if TYPE_CHECKING:
    from tree_sitter import Language, Node, Query, Tree

INSTALL = "pip install '.[code]'"
LANGUAGES = toml_of(__package__, "languages.toml")
BY_SUFFIX = {suffix: language for language, table in LANGUAGES.items()
             for suffix in table["suffixes"]}
MAX_FILE_BYTES = 1_000_000     # size of a source; longer ones are mostly generated
MAX_PARSE_S = 2                # CPU time: ten times the usual for a file of MAX_FILE_BYTES
MAX_BROKEN = 30_000            # children of an error node
MAX_LEVELS = 60_000            # depth of a tree: tree-sitter miscounts the levels of deeper ones
CHUNK_BYTES = 4096             # bytes that the parser reads at once
BLANKS = b" \t\r\n\f\xef\xbb\xbf"

# patterns of names and paths of documentation, in lower case
DOCUMENTS = ("*.md", "*.rst", "*.adoc", "docs/*", "doc/*", "*/docs/*", "changes", "changelog",
             "news", "authors", "changes.*", "changelog.*", "news.*", "history.*", "authors.*",
             "releasenotes/*", "newsfragments/*", "changelog/*", "changelog.d/*")
# folders without sources of the repository: their names, and names of entries that mark them
SKIPPED_FOLDERS = {".git", ".hg", ".svn", "node_modules", "site-packages", "__pycache__"}
FOREIGN_MARKS = {"pyvenv.cfg", "conda-meta", "CACHEDIR.TAG"}
MAX_DEPTH = 50                 # levels of nested definitions; deeper ones are left out
MAX_DECORATORS = 100
MAX_NAME, MAX_TEXT = 200, 2000 # bytes: a name; a signature or a decorator
MAX_INDENT = 200               # bytes before a comment that may be a docstring
RIGHT_BEHIND = re.compile(rb"\s*")
RIGHT_BELOW = re.compile(rb"[ \t\r]*\n?[ \t]*")
AND_MORE = re.compile(rb"[ \t]*;")   # matches after a docstring if a statement follows on its line
# the kind of a match is the first of these captures that it has
SUBJECTS = ("class", "function", "method", "scope", "decorated", "documented", "decorator",
            "comment")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """Hold a source file, unchanged from disk."""

    path: str        # relative to the repository, with "/"
    language: str    # a table of languages.toml
    text: bytes
    is_test: bool    # by its path


@dataclass(frozen=True)
class Sources:
    """Hold the sources of a repository, sorted by path."""

    files: list[SourceFile]
    # {path: why its analysis failed or is partial}
    faults: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entity:
    """Hold a class, function or method. Lines are counted from 1, bytes from 0."""

    id: str                  # path::Qual.name; @line is appended if several share the name
    path: str
    name: str                # Qual.name
    kind: str                # class | function | method
    line: int                # the line of `def` or `class`
    end_line: int
    start: int               # decorators included
    end: int
    body: tuple[int, int]    # bytes, docstring included
    body_lines: list[int]    # ranges [first, last, first, last, …] of its own lines, without
                             # signature, docstring and inner entities' bodies
    signature: str
    docstring: str           # as written, without its quotes and common indentation
    decorators: list[str]    # without @
    is_test: bool
    parent: str              # id of the enclosing entity, or ""


# the files ---------------------------------------------------------------------------------------

def read_sources(folder: Path, max_files: int = 50_000,
                 max_bytes: int = 500_000_000) -> Sources:
    """Return the sources in a folder, with a fault for each path that is not read or not UTF-8.
    `max_bytes` limits the total size of the sources."""
    folder = folder.resolve()
    files = []
    faults: dict[str, str] = {}
    room = max_bytes
    for path in sorted(_paths(folder)):
        language = language_of(path)
        if not (language or (folder / path).is_dir()):
            continue
        if len(files) == max_files or room <= 0:
            faults[path] = "is not read, nor are later files: the limit of an analysis is reached"
            break
        text, fault = _content(folder, path, min(MAX_FILE_BYTES, room))
        if fault:
            faults[printable(path)] = fault
        if text is not None:
            room -= len(text)
            files.append(SourceFile(path, language, text, is_test_file(path)))
    return Sources(files, dict(sorted(faults.items())))


def language_of(path: str) -> str:
    """Return a file's language by its suffix (a table of languages.toml), or ""."""
    return BY_SUFFIX.get(os.path.splitext(path)[1], "")


def is_test_file(path: str) -> bool:
    """Return whether a file is a test file by the rules of its language."""
    language = language_of(path)
    return bool(language) and _fits(path, LANGUAGES[language]["test_files"])


def is_of_tests(path: str) -> bool:
    """Return whether a file is a test file or, if its language is unknown, lies in a folder that is
    for tests in any language."""
    if language_of(path):
        return is_test_file(path)
    patterns = [one for table in LANGUAGES.values() for one in table["test_files"]]
    return any(one.endswith("/*") and fnmatchcase(path, one) for one in patterns)


def is_document(path: str) -> bool:
    """Return whether a file is documentation."""
    path = path.lower()
    return _fits(path, DOCUMENTS) or _fits(PurePosixPath(path).name, DOCUMENTS)


def _paths(folder: Path) -> Iterator[str]:
    """Yield the paths of the files in a folder, and of links to folders. Skip folders without
    sources of the repository."""
    for here, folders, names in os.walk(folder):
        place = Path(here)
        if place != folder and FOREIGN_MARKS.intersection([*names, *folders]):
            folders.clear()
            continue
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        links = [name for name in folders if (place / name).is_symlink()]
        for name in [*names, *links]:
            yield (place / name).relative_to(folder).as_posix()


def _content(folder: Path, path: str, max_bytes: int) -> tuple[bytes | None, str]:
    """Return (content or None, fault or ""). A fault says why the file is not read, or that it is
    not UTF-8. Links are not read, as their targets are listed themselves. A link is a fault if it
    is broken or leads out of the folder."""
    file = folder / path
    is_link = file.is_symlink()
    try:
        target = resolved_in(folder, file)
        if is_link:
            target.stat()
            return None, ""
        text = read_bounded(target, max_bytes)
    except (OSError, RuntimeError) as error:   # RuntimeError: circular links, before Python 3.13
        is_circle = getattr(error, "errno", ELOOP) == ELOOP
        reason = "leads in a circle" if is_circle else error.strerror
        return None, f"is {'a link that is not followed' if is_link else 'not read'}: {reason}"
    if not is_text(os.fsencode(path)):
        return None, "has a name that is not UTF-8"
    if b"\0" in text:
        return None, "is binary, or UTF-16"
    return text, "" if is_text(text) else "is not UTF-8: read as far as it goes"


def _fits(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def is_text(data: bytes) -> bool:
    """Return whether data is UTF-8 text without NUL bytes."""
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


# the languages -----------------------------------------------------------------------------------

@lru_cache
def grammar(language: str) -> Language:
    """Return the grammar of a language. Raise Trouble if its wheel is not installed."""
    module, name = LANGUAGES[language]["grammar"].split(":")
    try:
        from tree_sitter import Language
        return Language(getattr(import_module(module), name)())
    except ImportError as error:
        raise Trouble(f"{error.name} is not installed", todo=f"Install it: {INSTALL}") from error


@lru_cache
def query_of(language: str, *names: str) -> Query:
    """Return a language's query, joined from the files `names` of this package."""
    of = grammar(language)
    from tree_sitter import Query
    return Query(of, "\n".join(text_of(__package__, name) for name in names))


def tree_of(file: SourceFile) -> Tree:
    """Return the syntax tree of a file. Its nodes have byte offsets of `file.text`.

    The tree is empty if parsing takes longer than MAX_PARSE_S, or if the tree exceeds MAX_BROKEN or
    MAX_LEVELS, since queries of such a tree take quadratic time. A time limit for queries is no
    alternative: tree-sitter 0.26 crashes when a query has a `progress_callback`.
    """
    language = grammar(file.language)   # first, as it raises Trouble if a package is missing
    from tree_sitter import Parser
    parser = Parser(language)
    end = time.thread_time() + MAX_PARSE_S
    try:
        tree = parser.parse(lambda start, _: file.text[start:start + CHUNK_BYTES],
                            progress_callback=lambda *_: time.thread_time() > end)
        if not _is_too_slow(tree):
            return parser.parse(file.text, tree)   # an equal tree, with faster access to texts
    except ValueError:   # stopped at the time limit
        parser.reset()
    return parser.parse(b"")


def _is_too_slow(tree: Tree) -> bool:
    """Return whether queries of a tree take quadratic time. Check only nodes with errors or with
    very many descendants."""
    left = [(tree.root_node, 0)]
    while left:
        node, level = left.pop()
        if level > MAX_LEVELS or (node.is_error and node.child_count > MAX_BROKEN):
            return True
        left += [(one, level + 1) for one in node.children
                 if one.has_error or one.descendant_count > MAX_LEVELS - level]
    return False


def captured(file: SourceFile, query: Query) -> dict[str, list[Node]]:
    """Return {capture: nodes} for a query of a file."""
    from tree_sitter import QueryCursor
    return QueryCursor(query).captures(tree_of(file).root_node)


def syntax_fault(file: SourceFile, tree: Tree) -> str:
    """Return a message about a file's first syntax error, or about an unparsed file; "" without
    errors."""
    node = tree.root_node
    if not node.child_count and file.text.strip(BLANKS):
        return "is too long to parse, too deep or too broken"
    if not node.has_error:
        return ""
    while inner := next((one for one in node.children if one.has_error), None):
        node = inner
    return f"has syntax errors, the first one in line {node.start_point.row + 1}"


def all_entities(sources: Sources) -> tuple[dict[str, list[Entity]], dict[str, str]]:
    """Return ({path: entities}, {path: faults of reading and syntax})."""
    entities = {}
    faults = dict(sources.faults)
    for file in sources.files:
        tree = tree_of(file)
        entities[file.path] = entities_of(file, tree)
        if fault := syntax_fault(file, tree):
            faults[file.path] = "; ".join(filter(None, [faults.get(file.path), fault]))
    return entities, dict(sorted(faults.items()))


def branches_of(files: Iterable[SourceFile]) -> dict[str, int]:
    """Return {id of a definition: number of its branches, at least 1}, including branches of inner
    definitions."""
    from tree_sitter import Query, QueryCursor
    counts = {}
    for file in files:
        tree = tree_of(file)
        query = Query(grammar(file.language), f"{LANGUAGES[file.language]['branches']} @branch")
        nodes = QueryCursor(query).captures(tree.root_node).get("branch", [])
        starts = sorted(node.start_byte for node in nodes)
        for one in entities_of(file, tree):
            n = bisect_left(starts, one.end) - bisect_left(starts, one.start)
            counts[one.id] = max(1, n)
    return counts


# the entities of a file --------------------------------------------------------------------------

@dataclass(slots=True)
class _Definition:
    """Hold a definition found by a query. Its node may begin with decorators."""

    kind: str
    name: str
    node: Node
    body: Node
    start: int
    end: int
    first: Node                      # its first word after the decorators
    head: Node                       # the end of its signature
    decorators: list[Node]
    docs: list[Node]
    parent: _Definition | None = None
    inner: list[_Definition] = field(default_factory=list)
    is_test: bool = False
    id: str = ""


@dataclass(slots=True)
class _Found:
    """Hold the matches of the queries in a file."""

    about: dict[int, dict[str, list[Node]]]   # {node id: its captures}
    decorators: dict[int, Node]   # by their start
    # `before` has decorators, `above` comments, by the start of the code after them
    before: dict[int, Node]
    above: dict[int, Node]


def entities_of(file: SourceFile, tree: Tree) -> list[Entity]:
    """Return the entities of a file, sorted by their start."""
    definitions = [*_nested(_definitions(file, tree))]
    if file.is_test:
        _mark_tests(definitions, LANGUAGES[file.language]["test_names"])
    names = Counter(one.name for one in definitions)
    places = Counter((one.name, one.first.start_point.row) for one in definitions)
    for one in definitions:
        row, column = one.first.start_point
        line = f"@{row + 1}" if names[one.name] > 1 else ""
        one.id = f"{file.path}::{one.name}{line}" + (
            f":{column}" if places[one.name, row] > 1 else "")
    return [_entity(file, one) for one in definitions]


def _definitions(file: SourceFile, tree: Tree) -> list[_Definition]:
    """Return the definitions and scopes that the queries find, sorted by their start."""
    from tree_sitter import QueryCursor
    table = LANGUAGES[file.language]
    marks = re.compile(table["docstring_marks"])
    query = query_of(file.language, *table["queries"])
    found = _Found({}, {}, {}, {})
    for _, captures in QueryCursor(query).matches(tree.root_node):
        name = next(name for name in SUBJECTS if name in captures)
        node = captures[name][0]
        if name == "decorator":
            found.decorators[node.start_byte] = node
            found.before[RIGHT_BEHIND.match(file.text, node.end_byte).end()] = node
        elif name == "comment":
            column = node.start_point.column
            start = node.start_byte - column   # the comment must be the first on its line
            if column < MAX_INDENT and not file.text[start:node.start_byte].strip():
                found.above[RIGHT_BELOW.match(file.text, node.end_byte).end()] = node
        elif name != "documented" or marks.match(_text(captures["doc"][0], MAX_TEXT)):
            found.about.setdefault(node.id, {}).update(captures)
    starts = sorted(found.decorators)
    return sorted((_definition(about, found, starts) for about in found.about.values()
                   if "body" in about), key=lambda one: (one.start, -one.end))


def _definition(about: dict[str, list[Node]], found: _Found,
                starts: list[int]) -> _Definition:
    """Return the definition for the captures of a match. `starts` are the start bytes of all
    decorators in the file."""
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
        kind, squeezed(".".join(names)), node, body, start, outer.end_byte, first, head,
        (in_front + decorators)[:MAX_DECORATORS], docs)


def _chain(at: int, before: dict[int, Node]) -> list[Node]:
    """Return the chain of adjacent nodes that ends at a byte."""
    out = []
    while at in before:
        out.append(before[at])
        at = out[-1].start_byte
    return out[::-1]


def _nested(definitions: list[_Definition]) -> Iterator[_Definition]:
    """Yield the definitions (not scopes) with their parents and full names. Skip those nested too
    deeply."""
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
    marks = LANGUAGES[file.language]["docstring_marks"]
    docs = [re.sub(marks, "", _text(node, len(file.text))) for node in one.docs]
    decorators = [_text(node, MAX_TEXT).removeprefix("@").strip() for node in one.decorators]
    return Entity(
        one.id, file.path, one.name, one.kind, _lines(one.first)[0], _lines(one.node)[1],
        one.start, one.end, one.body.byte_range, _body_lines(file.text, one),
        signature.decode(errors="replace").strip(), cleandoc("\n".join(docs)).strip(), decorators,
        one.is_test, one.parent.id if one.parent else "")


def _body_lines(text: bytes, one: _Definition) -> list[int]:
    """Return the line ranges of a definition's own body."""
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
        ranges = [last, last]   # the body shares a line with an inner definition
    return ranges


def _lines(node: Node) -> tuple[int, int]:
    """Return a node's first and last line."""
    first, (row, column) = node.start_point.row, node.end_point
    last = row if column else row - 1   # the node may end with a line feed
    return first + 1, max(first, last) + 1


def _text(node: Node, max_bytes: int) -> str:
    return node.text[:max_bytes].decode(errors="replace")
