"""List facts in a turn: texts from the pull request that the conversation has not shown.

All facts come from comparing texts, never from interpreting a sentence. They are verbatim paths,
names, literals, line numbers and code of the pull request, and anchors: texts that an edit in the
turn replaces or searches for. The leak judge gets the `certain` facts as hints; without a leak
judge, they bar a turn. Paraphrases are not detected.
"""
from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from itertools import islice, takewhile

from codedata.code.entities import is_document, is_of_tests
from codedata.code.patches import Hunk
from codedata.conversation.turn import plain
from codedata.leak.hidden import (
    MIN_CODE_CHARS,
    NAME,
    PATH,
    RANGE,
    Patch,
    Shown,
    base_names,
    foreign_names,
    patch_of,
)
from codedata.records import Commit, Fact, Message
from codedata.texts import bare

MAX_FIX_LINES = 2_000        # lines of a fix to search for in each message
MAX_RANGES = 1_000           # line ranges of a turn to read
MAX_FACTS = 40               # facts that each finder lists per turn
MIN_NEW_CODE_CHARS = 24      # for lines that the pull request adds
MIN_READ, MIN_READ_SHARE = 3, 0.5   # number and share of a fix's lines, in has_read_fix()
MIN_ANCHOR_CHARS = 6
MIN_SHOWN_LINE_CHARS = 4     # shown_share() ignores shorter lines, such as lone brackets
NEAR_LINES = 3               # a range this close to a hunk matches it
MAX_RANGE_LINES = 100        # a longer range just views the file
QUOTED = re.compile(r'"((?:[^"\\\n]|\\.){6,200})"|\'((?:[^\'\\\n]|\\.){6,200})\'|`([^`\n]{6,200})`')
WRITES = re.compile(r"""(?:>>?|\btee(?: -a)?|\btouch|\bmkdir -p|\bmv \S+|\bcp \S+|open\()\s*"""
                    r"""["']?([\w./@+~-]+)""")
SUBSTITUTION = re.compile(r"\bs([|/#,@!])((?:\\.|(?!\1)[^\n\\]){3,400})\1")
REPLACED = re.compile(r"""(?:\.replace|\.index|\.find|\bold ?=|\bassert)\s*(?:\(\s*)?[rf]?"""
                      r"""("{3}|'{3}|"|')(.{3,2000}?)"""
                      r"""(?<!\\)\1""", re.DOTALL)
# the lines of an edit by a tool, after the line with its arguments
TOOL_EDIT = re.compile(r"^`{3,}tool\n[^\n]*\n(.*?)^`{3,}", re.DOTALL | re.MULTILINE)
PROSE = (".md", ".rst", ".txt", ".adoc", ".json", ".toml", ".cfg", ".ini", ".yml", ".yaml", ".lock",
         ".mod", ".sum")
# stems of files that tools look for by name
ENTRY_POINTS = {"__init__", "__main__", "index", "main", "mod", "lib", "setup", "conftest"}


def find_facts(history: list[Message], turn: str, commit: Commit) -> list[Fact]:
    """Return the facts in a turn, sorted by position; at most MAX_FACTS from each finder."""
    shown, hidden = Shown(history), patch_of(commit)
    facts = [fact for find in (_paths, _names, _literals, _lines, _code, _anchors)
             for fact in islice(find(turn, shown, hidden), MAX_FACTS)]
    return sorted(facts, key=lambda fact: (fact.start, len(fact.text), fact.kind))


def certain_findings(history: list[Message], turn: str, commit: Commit) -> list[dict]:
    """Return the facts that bar a turn if no leak judge is set, as findings {quote, kind, why}."""
    return [{"quote": fact.text, "kind": fact.kind, "why": fact.why}
            for fact in find_facts(history, turn, commit) if fact.certain]


def given_away(text: str, shown: str, commit: Commit) -> list[Fact]:
    """Return the certain facts in a text whose readers know only `shown`."""
    history = [{"role": "user", "content": shown}]
    return [fact for fact in find_facts(history, text, commit) if fact.certain]


def in_words(facts: Iterable[Fact]) -> list[str]:
    """Return a line for each distinct fact."""
    return [*dict.fromkeys(f"the {fact.kind} {fact.text!r}, {fact.why}" for fact in facts)]


def shown_share(history: list[Message], commit: Commit) -> float:
    """Return the share (0 to 1) of the removed and context lines of the patch's code that were
    shown; 0 without such lines. Tests and documentation do not count.
    """
    lines = [line for hunk in _code_of(commit) for line in hunk.old]
    return Shown(history).share(lines, MIN_SHOWN_LINE_CHARS)


def has_fix_begun(history: list[Message], commit: Commit) -> bool:
    """Return whether a turn of the agent has written code of the fix: whether it names a file of
    the fix and contains a line, not shown before, that the fix adds there (or deletes, if it adds
    none). An edit that shares no line with the fix does not count."""
    wanted: dict[str, set[str]] = defaultdict(set)   # by base name
    lines = ((hunk.path.rpartition("/")[2], bare(line)) for hunk in _code_of(commit)
             for line in hunk.added or hunk.old)
    long = (pair for pair in lines if len(pair[1]) >= MIN_CODE_CHARS)
    for name, line in islice(long, MAX_FIX_LINES):
        wanted[name].add(line)
    before = ""
    for message in plain(history):
        text = bare(message["content"])
        if message["role"] == "assistant" and any(
                line in text and line not in before for name, lines in wanted.items()
                if name in message["content"] for line in lines):
            return True
        before += text
    return False


def has_read_fix(messages: list[Message], commit: Commit) -> bool:
    """Return whether the agent read the fix: whether half of the lines that the pull request adds
    (at least MIN_READ) were shown after the agent's first turn and before it wrote any of them.
    Lines that are only moved or reindented do not count."""
    hunks = patch_of(commit).hunks
    old = {bare(line) for hunk in hunks for line in hunk.old}
    lines = [line for hunk in hunks for line in hunk.added
             if len(bare(line)) >= MIN_NEW_CODE_CHARS and bare(line) not in old][:MAX_FIX_LINES]

    def share(history: Iterable[Message]) -> float:
        return Shown([*history]).share(lines, MIN_NEW_CODE_CHARS)
    before = [*takewhile(lambda one: one["role"] != "assistant" or not share([one]), messages)]
    told = takewhile(lambda one: one["role"] != "assistant", before)
    return len(lines) >= MIN_READ and share(before) - share(told) >= MIN_READ_SHARE


def _code_of(commit: Commit) -> list[Hunk]:
    """Return the hunks of the patch that change code: neither tests nor documentation."""
    return [hunk for hunk in patch_of(commit).hunks if hunk.source == "patch"
            and not is_of_tests(hunk.path) and not is_document(hunk.path)]


def _paths(turn: str, shown: Shown, hidden: Patch) -> Iterator[Fact]:
    written = base_names(WRITES.findall(turn))
    for match in _distinct(PATH.finditer(turn)):
        name = match[0].rpartition("/")[2]
        path = hidden.by_file.get(name, "")
        if not path.endswith(match[0]) or name in shown.files or name in written:
            continue
        stem, dot, _ = name.partition(".")
        is_code = (hidden.paths[path] != "test_patch" and not name.endswith(PROSE)
                   and stem not in ENTRY_POINTS)
        certain = is_code and bool(dot) and stem.lower() not in shown.words
        yield Fact("path", match[0], match.start(), "a file that was not shown", certain)


def _names(turn: str, shown: Shown, hidden: Patch) -> Iterator[Fact]:
    for match in _distinct(NAME.finditer(turn)):
        name, start = match[0], match.start()
        if name in hidden.names and name not in shown.names and len(name) > 2:
            is_compound = "_" in name.strip("_") or not (name.islower() or name.istitle())
            is_attribute = turn[:start].endswith(".")   # it may belong to a library's object
            certain = is_compound and not is_attribute and name in foreign_names(turn)
            yield Fact("name", name, start, "a name that was not shown", certain)
    for label in hidden.labels:
        if label in turn and bare(label) not in shown.bare:
            certain = "_" in label or label.count(" ") >= 2
            yield Fact("test", label, turn.find(label), "a test of the pull request", certain)


def _literals(turn: str, shown: Shown, hidden: Patch) -> Iterator[Fact]:
    for hunk in hidden.hunks:
        for match in QUOTED.finditer("\n".join(hunk.added)):
            text = next(filter(None, match.groups()))
            if text in turn and bare(text) not in shown.bare:
                is_test_id = (hunk.source == "test_patch" and "_" in text
                              and text in foreign_names(turn))
                is_sentence = text.count(" ") >= 3
                certain = is_test_id or (is_sentence and not shown.shows(hunk))
                yield Fact("literal", text, turn.find(text), "a text of the pull request", certain)


def _lines(turn: str, shown: Shown, hidden: Patch) -> Iterator[Fact]:
    paths = {hidden.by_file.get(name) for name in base_names(PATH.findall(turn))}
    hunks = [hunk for hunk in hidden.hunks if hunk.length and hunk.path in paths]
    shows = lru_cache(None)(lambda i: shown.shows(hunks[i]))
    for match in islice(RANGE.finditer(turn), MAX_RANGES):
        numbers = sorted(int(group) for group in match.groups() if group)
        first, last = numbers[0], numbers[-1]
        if first <= 1 or last - first > MAX_RANGE_LINES:
            continue
        for i, hunk in enumerate(hunks):
            end = hunk.start + hunk.length + NEAR_LINES
            is_near = first <= end and last >= hunk.start - NEAR_LINES
            if is_near and not shows(i):
                is_new_file = hunk.path.rpartition("/")[2] not in shown.files
                yield Fact("line", match[0], match.start(),
                           f"lines of {hunk.path}, which were not shown",
                           is_new_file and hunk.source == "patch")
                break


def _code(turn: str, shown: Shown, hidden: Patch) -> Iterator[Fact]:
    bare_turn = bare(turn)
    for hunk in hidden.hunks:
        kinds = ((hunk.old, MIN_CODE_CHARS, "code that is there and was not shown"),
                 (hunk.added, MIN_NEW_CODE_CHARS, "code that the pull request adds"))
        for lines, min_chars, why in kinds:
            for line in lines:
                text = bare(line)
                if len(text) >= min_chars and text in bare_turn and text not in shown.bare:
                    # the property's name is enough to guess `@name.setter`
                    is_source = (lines is hunk.old and hunk.source == "patch"
                                 and not re.match(r"@\w+\.(setter|getter|deleter)$", text))
                    yield Fact("code", line.strip(), max(turn.find(line.strip()), 0), why,
                               is_source and len(NAME.findall(line)) >= 2)


def _anchors(turn: str, shown: Shown, hidden: Patch) -> Iterator[Fact]:
    """Yield texts that an edit in the turn replaces or searches for but that were not shown."""
    thought, *rest = turn.split("```")
    code, bare_thought = "\n".join(rest[::2]), bare(thought)
    matches = [match for pattern in (SUBSTITUTION, REPLACED) for match in pattern.finditer(code)]
    taken_out = ["\n".join(line[1:] for line in edit.splitlines() if line.startswith(("-", " ")))
                 for edit in TOOL_EDIT.findall(turn)]
    for text in dict.fromkeys([match[2] for match in matches] + taken_out):
        lines = (bare(line).strip("^$").replace(".*", "")
                 for line in re.split(r"\\n|\n", text))
        unseen = next((line for line in lines if len(line) >= MIN_ANCHOR_CHARS
                       and line not in shown.bare and line not in bare_thought), None)
        if unseen:
            is_old = unseen in hidden.old_bare
            yield Fact("anchor", text, turn.find(text), "text to edit that was not shown",
                       is_old and len(unseen) >= MIN_CODE_CHARS)


def _distinct(matches: Iterable[re.Match]) -> Collection[re.Match]:
    """Return the first match of each distinct text."""
    first: dict[str, re.Match] = {}
    for match in matches:
        first.setdefault(match[0], match)
    return first.values()
