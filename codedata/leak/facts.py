"""List facts about a turn: texts shared with the pull request that the conversation has not shown.

All facts come from comparing texts, never from interpreting a sentence: paths, names, literals, line numbers and code
of the pull request, verbatim, and anchors, texts that an edit of the turn replaces or searches for. The leak judge gets
the facts as hints; without a leak judge, `certain` ones reject a turn. Paraphrases are not detected.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property, lru_cache
from itertools import islice

from codedata.code.patches import Hunk, hunks_of
from codedata.records import Commit, Fact, Message

MAX_FACTS = 40               # facts of one kind listed per turn
MIN_CODE_CHARS = 12          # without whitespace: shorter lines occur in any code
MIN_NEW_CODE_CHARS = 24      # applies to lines that the pull request adds
MIN_ANCHOR_CHARS = 6
MIN_SHOWN_LINE_CHARS = 4     # shown_share() ignores shorter lines, such as lone brackets
NEAR_LINES = 3               # a range this close to a hunk matches it
MAX_RANGE_LINES = 100        # a longer range just views the file
NAME = re.compile(r"[^\W\d]\w*")
PATH = re.compile(r"[\w@+~-][\w.@+~/-]*[\w]")
DEFINED = re.compile(r"\b(?:def|class|func|function|fn|struct|interface|trait|enum|type|module|const|let|var|#define)"
                     r"\s+(?:\([^)]{0,200}\)\s*)?([^\W\d]\w*)")
TYPED = re.compile(r"^(?:[\w*&<>\[\],]+[ \t*&]+){1,5}([^\W\d]\w*)\(", re.MULTILINE)     # matches C-like languages
ASSIGNED = re.compile(r"^[ \t]*([^\W\d]\w*)[ \t]*(?::[^=\n]{1,60})?(?::=|=(?!=))", re.MULTILINE)
LABEL = re.compile(r"""\b(?:it|test|describe|t\.Run)\(\s*["'`]([^"'`\n]{4,200})|\bname: *"([^"\n]{4,200})"|"""
                   r"""^(?:check|expect|run|ok|case)\w* ["']?(\w+_\w+)""", re.MULTILINE)
QUOTED = re.compile(r'"((?:[^"\\\n]|\\.){6,200})"|\'((?:[^\'\\\n]|\\.){6,200})\'|`([^`\n]{6,200})`')
RANGE = re.compile(r"(?<![\w.])(\d{1,6}),(\d{1,6})p\b|\blines? (\d{1,6})(?: ?(?:-|to|and) ?(\d{1,6}))?|"
                   r"(?<=\.)\w{1,5}:(\d{1,6})\b")
WRITES = re.compile(r"""(?:>>?|\btee(?: -a)?|\btouch|\bmkdir -p|\bmv \S+|\bcp \S+|open\()\s*["']?([\w./@+~-]+)""")
SUBSTITUTION = re.compile(r"\bs([|/#,@!])((?:\\.|(?!\1)[^\n\\]){3,400})\1")
REPLACED = re.compile(r"""(?:\.replace|\.index|\.find|\bold ?=|\bassert)\s*\(?\s*[rf]?("{3}|'{3}|"|')(.{3,2000}?)"""
                      r"""(?<!\\)\1""", re.DOTALL)
PROSE = (".md", ".rst", ".txt", ".adoc", ".json", ".toml", ".cfg", ".ini", ".yml", ".yaml", ".lock", ".mod", ".sum")
ENTRY_POINTS = {"__init__", "__main__", "index", "main", "mod", "lib", "setup", "conftest"}   # tools look for them


def find_facts(history: list[Message], turn: str, commit: Commit) -> list[Fact]:
    """Return the facts in a turn by position, at most MAX_FACTS from each finder."""
    shown, hidden = Shown(history), patch_of(commit)
    found = [fact for find in (_paths, _names, _literals, _lines, _code, _anchors)
             for fact in islice(find(turn, shown, hidden), MAX_FACTS)]
    return sorted(found, key=lambda fact: (fact.start, fact.end, fact.kind))


def shown_share(history: list[Message], commit: Commit) -> float:
    """Return the share (0 to 1) of the patch's removed and context lines that were shown; 0 without such lines."""
    lines = [squeezed for hunk in patch_of(commit).hunks if hunk.source == "patch" for line in hunk.old
             if len(squeezed := _squeezed(line)) >= MIN_SHOWN_LINE_CHARS]
    shown = Shown(history)
    return sum(line in shown.squeezed for line in lines) / len(lines) if lines else 0.0


class Shown:
    """Index the text of a conversation, including its last message."""

    def __init__(self, history: list[Message]):
        self.text = "\n".join(message["content"] for message in history)

    @cached_property
    def names(self) -> set[str]:
        """Return the identifiers in the conversation."""
        return set(NAME.findall(re.sub(r"\\[nrt]", "  ", self.text)))

    @cached_property
    def words(self) -> set[str]:
        """Return the identifiers and their parts between underscores, in lower case."""
        return {part for name in self.names for part in {name.lower(), *name.lower().split("_")}}

    @cached_property
    def files(self) -> set[str]:
        """Return the base names of the paths in the conversation."""
        return {path.rpartition("/")[2] for path in PATH.findall(self.text)}

    @cached_property
    def squeezed(self) -> str:
        """Return the conversation without whitespace and backslashes."""
        return _squeezed(self.text)

    def shows(self, hunk: Hunk) -> bool:
        """Return whether at least a third of a hunk's old code lines was shown."""
        lines = [line for line in map(_squeezed, hunk.old) if len(line) >= MIN_CODE_CHARS]
        return bool(lines) and 3 * sum(line in self.squeezed for line in lines) >= len(lines)


class Patch:
    """Index the hunks of a pull request's two patches."""

    def __init__(self, patch: str, test_patch: str, files: tuple[str, ...]):
        self.hunks = [*hunks_of(patch, "patch"), *hunks_of(test_patch, "test_patch")]
        self.paths = {**dict.fromkeys(files, "files"), **{hunk.path: hunk.source for hunk in reversed(self.hunks)}}
        self.by_file = {path.rpartition("/")[2]: path for path in self.paths}

    @cached_property
    def names(self) -> dict[str, str]:
        """Return {defined name: source of the first hunk that defines it}."""
        found: dict[str, str] = {}
        for hunk in self.hunks:
            text = "\n".join((hunk.header, *hunk.old, *hunk.added))
            for kind in (DEFINED, TYPED, ASSIGNED):
                found |= dict.fromkeys((name for name in kind.findall(text) if name not in found), hunk.source)
        return found

    @cached_property
    def labels(self) -> set[str]:
        """Return the labels (string names) of the tests that the pull request adds."""
        added = "\n".join(line for hunk in self.hunks if hunk.source == "test_patch" for line in hunk.added)
        return {label for groups in LABEL.findall(added) for label in groups if label}

    @cached_property
    def old_squeezed(self) -> str:
        """Return the removed and context lines without whitespace and backslashes."""
        return "\n".join(_squeezed(line) for hunk in self.hunks for line in hunk.old)


def patch_of(commit: Commit) -> Patch:
    """Return the pull request's patches, cached so that consecutive turns of an instance share them."""
    return _read(commit.patch, commit.test_patch, tuple(commit.files))


_read = lru_cache(maxsize=8)(Patch)


# Each finder yields the facts of one kind.

def _paths(turn: str, shown: Shown, hidden: Patch) -> Iterator[Fact]:
    own = {path.rpartition("/")[2] for path in WRITES.findall(turn)}
    for match in _first(PATH.finditer(turn)):
        name = match[0].rpartition("/")[2]
        path = hidden.by_file.get(name)
        if not path or not path.endswith(match[0]) or name in shown.files or name in own:
            continue
        stem = name.partition(".")[0]
        is_code = hidden.paths[path] != "test_patch" and not name.endswith(PROSE) and stem not in ENTRY_POINTS
        yield _fact("path", match, hidden.paths[path], "a file that was not shown",
                    is_code and "." in name and stem.lower() not in shown.words)


def _names(turn: str, shown: Shown, hidden: Patch) -> Iterator[Fact]:
    code = "\n".join(turn.split("```")[1::2])
    own = {name for kind in (DEFINED, TYPED, ASSIGNED) for name in kind.findall(code)}
    for match in _first(NAME.finditer(turn)):
        name = match[0]
        if name not in shown.names and (source := hidden.names.get(name)) and len(name) > 2:
            is_compound = "_" in name.strip("_") or not (name.islower() or name.istitle())
            is_attribute = turn[:match.start()].endswith(".")   # it may belong to a library's object
            yield _fact("name", match, source, "a name that was not shown",
                        is_compound and not is_attribute and name not in own)
    for label in hidden.labels:
        at = turn.find(label)
        if at >= 0 and _squeezed(label) not in shown.squeezed:
            yield Fact("test", label, at, at + len(label), "test_patch", "a test of the pull request",
                       "_" in label or label.count(" ") >= 2)


def _literals(turn: str, shown: Shown, hidden: Patch) -> Iterator[Fact]:
    for hunk in hidden.hunks:
        for match in QUOTED.finditer("\n".join(hunk.added)):
            text = next(filter(None, match.groups()))
            at = turn.find(text)
            if at >= 0 and _squeezed(text) not in shown.squeezed:
                yield Fact("literal", text, at, at + len(text), hunk.source, "a text of the pull request",
                           (hunk.source == "test_patch" and "_" in text and text.isidentifier()) or (
                               text.count(" ") >= 3 and not shown.shows(hunk)))


def _lines(turn: str, shown: Shown, hidden: Patch) -> Iterator[Fact]:
    for match in RANGE.finditer(turn):
        numbers = sorted(int(group) for group in match.groups() if group)
        first, last = numbers[0], numbers[-1]
        if first <= 1 or last - first > MAX_RANGE_LINES:
            continue
        named = {hidden.by_file.get(path.rpartition("/")[2]) for path in PATH.findall(turn)} - {None}
        for hunk in hidden.hunks:
            is_there = first <= hunk.start + hunk.length + NEAR_LINES and last >= hunk.start - NEAR_LINES
            name = hunk.path.rpartition("/")[2]
            if hunk.length and is_there and hunk.path in named and not shown.shows(hunk):
                yield _fact("line", match, hunk.source, f"lines of {hunk.path}, which were not shown",
                            name not in shown.files and hunk.source == "patch")
                break


def _code(turn: str, shown: Shown, hidden: Patch) -> Iterator[Fact]:
    said = _squeezed(turn)
    for hunk in hidden.hunks:
        for lines, least, why in ((hunk.old, MIN_CODE_CHARS, "code that is there and was not shown"),
                                  (hunk.added, MIN_NEW_CODE_CHARS, "code that the pull request adds")):
            for line in lines:
                squeezed = _squeezed(line)
                if len(squeezed) < least or squeezed not in said or squeezed in shown.squeezed:
                    continue
                start = max(turn.find(line.strip()), 0)
                yield Fact("code", line.strip(), start, start + len(line.strip()), hunk.source, why,
                           lines is hunk.old and hunk.source == "patch" and len(NAME.findall(line)) >= 2)


def _anchors(turn: str, shown: Shown, hidden: Patch) -> Iterator[Fact]:
    """Yield texts that an edit of the turn replaces or searches for but that nothing has shown."""
    thought, *rest = turn.split("```")
    code, said = "\n".join(rest[::2]), _squeezed(thought)
    for text in dict.fromkeys(match[2] for kind in (SUBSTITUTION, REPLACED) for match in kind.finditer(code)):
        lines = (line.strip("^$").replace(".*", "") for line in map(_squeezed, re.split(r"\\n|\n", text)))
        unseen = next((line for line in lines if len(line) >= MIN_ANCHOR_CHARS
                       and line not in shown.squeezed and line not in said), None)
        if unseen:
            start, is_old = turn.find(text), unseen in hidden.old_squeezed
            yield Fact("anchor", text, start, start + len(text), "patch" if is_old else "",
                       "text to edit that was not shown", is_old and len(unseen) >= MIN_CODE_CHARS)


def _first(matches: Iterable[re.Match]) -> Iterator[re.Match]:
    """Yield the first match of each distinct text."""
    seen: set[str] = set()
    for match in matches:
        if match[0] not in seen:
            seen.add(match[0])
            yield match


def _fact(kind: str, match: re.Match, source: str, why: str, certain: bool) -> Fact:
    return Fact(kind, match[0], match.start(), match.end(), source, why, certain)


def _squeezed(text: str) -> str:
    """Return the text without whitespace and backslashes, so that shell-quoted code equals the file's."""
    return "".join(text.split()).replace("\\", "")
