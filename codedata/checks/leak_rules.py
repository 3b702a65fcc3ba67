"""Things that an answer names: paths, symbols, tests, line numbers, literals, references, files that it edits.

A thing is a finding where the pull request holds it, the conversation has not shown it, and it does not follow from
what was shown. How bad it is depends on how rare it is and on how much of the changed code was shown: whoever sees the
code gives names to new things, and some of them are those of the pull request.
"""
from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from codedata.checks.leak_sides import Hidden, HiddenName, Hunk, Reply, Shown
from codedata.checks.leak_text import (
    LONGEST_PATH,
    NAME,
    PATH,
    PATH_ENDS,
    fold,
    lists,
    name_parts,
    path_stem,
    path_tails,
    stem,
)

HIGH, MEDIUM, LOW = "high", "medium", "low"
RANKS = ("", LOW, MEDIUM, HIGH)
EDITS = re.compile(r"\bsed\s[^|;\n]{0,40}?-\w{0,8}i|\bperl\s+-\w{0,8}i|\btee\b|>>?\s*[\w./]|\bpatch\b|\bgit apply\b|"
                   r"\.write\(|write_text\(|writeFile")
LINES = re.compile(r"(?<![\w.,])(\d{1,6}),[ ]?\+?(\d{1,6})[pds](?!\w)|"               # sed -n '120,140p'
                   r"NR ?>=? ?(\d{1,6})[^\n]{0,20}?NR ?<=? ?(\d{1,6})|"               # awk
                   r"\blines? (\d{1,6})(?: ?(?:-|–|to|and|,) ?(\d{1,6}))?|"
                   r"\.\w{1,5}:(\d{1,6})(?:-(\d{1,6}))?\b")
DIGEST = re.compile(r"\b(?=[0-9a-f]{0,39}[a-f])(?=[a-f]{0,39}[0-9])[0-9a-f]{7,40}\b")
REFERENCE = re.compile(r"(?<![\w&])(?:#|(?:PRs?|MR|GH|pull requests?|issues?|pull|pulls)[ /#-]{1,3})(\d{1,6})\b",
                       re.IGNORECASE)
DEFINES = re.compile(r"\b(?:def|func|function|fn|class)[ +*\\s]{1,4}\Z")
SEARCHES = re.compile(r"\b(?:grep|rg|ack|ag|git log)\b")
IMPORTS = re.compile(r"\bimport [\w, ]{0,80}\Z|\{ ?[\w, ]{0,80}\Z")
FAR = 60                # lines: nearer ones may be known from a line that was named
LONGEST_RANGE = 150     # lines: more are no place
SOME_NAMES = 3          # single words as names, in an edit: so many at once are no chance
SHORT_NAME = 4          # letters: fewer are anybody's
LONG_NAME = 8           # letters: a name that even ordinary words make one's own
GUESSED = "a file that was not shown; its name was to be guessed"
MOST_PLACES = 200       # looked at in one answer


@dataclass(frozen=True)
class Finding:
    """Something in an answer that the conversation has not shown."""

    kind: str       # path, symbol, test, line, literal, reference, phrase, code, edit, cause, giveaway
    text: str       # answer[start:end]
    start: int
    end: int
    source: str     # where in the pull request: patch, test_patch, files, issue, description; "" for giveaway
    severity: str   # high, medium, low
    why: str


@dataclass(frozen=True)
class Case:
    """The three sides, and how much of the changed code was shown."""

    shown: Shown
    hidden: Hidden
    reply: Reply
    seen: frozenset[str]   # files of which changed code was shown
    share_seen: float      # of the hunks that change code that was there

    @classmethod
    def of(cls, messages: list[dict], answer: str, pr) -> Case:
        shown, hidden = Shown(messages), Hidden(pr)
        hunks = [hunk for hunk in hidden.hunks if hunk.old]
        seen = [hunk for hunk in hunks if shown.shows(hunk)]
        n_source = sum(hunk.source == "patch" for hunk in hunks)
        share = sum(hunk.source == "patch" for hunk in seen) / n_source if n_source else 0.0
        return cls(shown, hidden, Reply(answer), frozenset(hunk.path for hunk in seen), share)

    @property
    def is_blind(self) -> bool:
        """None of the code in question was shown."""
        return self.share_seen == 0

    @cached_property
    def places(self) -> list[tuple[str, int, int]]:
        """(path, start, end) wherever the answer names a file of the pull request; of each path the first ones."""
        found: list[tuple[str, int, int]] = []
        for at, text, _ in self.reply.parts:
            for match in PATH.finditer(text):
                if (path := hidden_path(match[0], self.hidden)) and len(found) < MOST_PLACES:
                    word = match[0].strip(PATH_ENDS)
                    start = at + match.start() + match[0].find(word)
                    found.append((path, start, start + len(word)))
        return found

    def finding(self, kind: str, start: int, end: int, source: str, severity: str, why: str) -> Finding:
        return Finding(kind, self.reply.text[start:end], start, end, source, severity, why)


# paths

def find_paths(case: Case) -> Iterator[Finding]:
    """Files of the pull request that nothing has pointed to."""
    commands = [(at, at + len(text)) for at, text in case.reply.commands]
    for path, start, end in _first_of_each(case.places):
        severity, why = path_state(path, case.shown, case.hidden)
        is_opened = path in case.hidden.old_sources and any(a <= start < b for a, b in commands)
        if is_opened and (why == GUESSED or severity == MEDIUM):
            severity, why = HIGH, "the file to edit, opened before anything named or listed it"
        if severity:
            yield case.finding("path", start, end, case.hidden.paths[path], severity, why)


def _first_of_each(places: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """The first place of each path."""
    return sorted({path: (path, start, end) for path, start, end in reversed(places)}.values(), key=lambda one: one[1])


def hidden_path(word: str, hidden: Hidden) -> str | None:
    """The path of the pull request that a word names, by its whole or its end."""
    if len(word) > LONGEST_PATH or not ("." in word or "/" in word):
        return None
    word = word.strip(PATH_ENDS)
    return hidden.by_tail.get(word) or next((tail for tail in path_tails(word)[1:] if tail in hidden.paths), None)


def path_state(path: str, shown: Shown, hidden: Hidden) -> tuple[str, str]:
    """(severity, why) of naming a file; no severity where it was shown or any project has it."""
    words, name, about = lists(), path.rpartition("/")[2], path_stem(path)
    if _is_usual(path):
        folder = path.rpartition("/")[0].rpartition("/")[2]
        known = not folder or folder.lower() in words.folders or stem(folder) in shown.words or folder in shown.paths
        return ("", "") if known else (MEDIUM, "a file in a folder that was not shown")
    if any(tail in shown.paths for tail in path_tails(path) if "/" in tail or tail == name):
        return "", ""
    if path.rpartition(".")[0].replace("/", ".") in shown.modules:
        return "", ""   # as it is imported
    if about in shown.path_stems or about in shown.modules:
        return LOW, "a file that was not shown; another one has a name like it"
    parts = [part for part in name_parts(about) if part not in words.generic] or [about]
    if all(stem(part) in shown.words or _is_piece(part, shown) for part in parts):
        return LOW, GUESSED
    if path in hidden.new_paths:
        return HIGH, "a file that only the pull request makes"
    is_plain = all(words.weight(part) < 1 or stem(part) in shown.words for part in parts)
    return MEDIUM if is_plain else HIGH, "a file that was not shown"


def _is_usual(path: str) -> bool:
    """Whether any project may have such a file."""
    return path_stem(path) in lists().files or path.rpartition("/")[2].lower() in lists().files


def _is_piece(part: str, shown: Shown) -> bool:
    """Whether a word of the task begins or ends with it: "span" of spanfold."""
    return len(part) >= 3 and any(word.startswith(part) or word.endswith(part) for word in shown.task_words)


# names

def find_names(case: Case) -> Iterator[Finding]:
    """Names of the patches that were not shown: symbols, and tests."""
    seen: dict[str, str] = {}                # {name: how bad it is so far}
    words: dict[str, tuple[int, int]] = {}   # single words in commands: one says nothing, some together do
    for at, text, is_command in case.reply.parts:
        for match in NAME.finditer(text):
            key = fold(match[0])
            name = case.hidden.names.get(key)
            if name is None or seen.get(key) == HIGH or key in case.shown.names or _is_in(
                    case.places, at + match.start()):
                continue
            start, end = match.span()
            is_code = is_command or text[start - 1:start] in ("`", ".", "$") or text[end:end + 1] in ("`", "(")
            severity, why = name_state(case, name, is_code, is_command)
            if severity in ("", MEDIUM) and _is_called(case, name, text, start, end, is_command):
                is_sure = is_command and not case.is_blind
                severity, why = HIGH if is_sure else MEDIUM, "a function of the project that was not shown"
            if RANKS.index(severity) > RANKS.index(seen.get(key, "")):
                seen[key] = severity
                kind = "test" if name.is_label or (
                    name.source == "test_patch" and "test" in name_parts(name.spelling)) else "symbol"
                yield case.finding(kind, at + start, at + end, name.source, severity, why)
            if severity in ("", LOW) and is_command and name.is_new and name.source == "patch" and _is_telling(key):
                words[key] = (at + start, at + end)
    if len(words) >= SOME_NAMES:
        yield case.finding("symbol", *min(words.values()), "patch", HIGH, f"names of the patch: {', '.join(words)}")


def _is_called(case: Case, name: HiddenName, text: str, start: int, end: int, is_command: bool) -> bool:
    """Whether a single word is told to be a function: searched for by its definition, called, spoken of as such."""
    key = fold(name.spelling)
    if name.is_new or name.source == "description" or not _is_telling(key) or stem(key) in case.shown.words:
        return False
    before, has_bracket = text[max(0, start - 300):start].rpartition("\n")[2], text[end:end + 1] == "("
    if not is_command or DEFINES.search(before):
        return has_bracket or is_command
    return name.is_defined and not SEARCHES.search(before) and (has_bracket or bool(IMPORTS.search(before)))


def _is_in(places: list[tuple[str, int, int]], at: int) -> bool:
    return any(start <= at < end for _, start, end in places)


def name_state(case: Case, name: HiddenName, is_code: bool, is_command: bool) -> tuple[str, str]:
    """(severity, why) of a name that the patches have and the conversation has not."""
    words, shown = lists(), case.shown
    parts = [part for part in name_parts(name.spelling) if not part.isdigit()]
    if fold(name.spelling) in words.library or len(fold(name.spelling)) < SHORT_NAME or not parts:
        return "", ""
    if name.is_label and len(parts) > 1:
        return HIGH if len(parts) > 2 else MEDIUM, "a new test"
    if len(parts) == 1:
        return _word_state(case, name, parts[0], is_command) if is_code else ("", "")
    if all(part in words.generic for part in parts):
        is_told = case.is_blind and not is_command and len(fold(name.spelling)) >= LONG_NAME
        return HIGH if is_told else MEDIUM if case.is_blind else LOW, "a name of ordinary words"
    if not name.is_new:
        is_guess = is_command and all(part in words.generic or stem(part) in shown.task_words for part in parts)
        is_call = is_command and not case.is_blind and not name.is_own   # perhaps of a library
        return LOW if is_call else MEDIUM if is_guess else HIGH, "a name of the project that was not shown"
    if case.is_blind:
        return HIGH if name.is_own else MEDIUM, "a new name of the patch, before its code was shown"
    is_rare = name.is_own and any(words.weight(part) == 1 and stem(part) not in shown.words for part in parts)
    return HIGH if is_rare else MEDIUM if name.is_own or not is_command else LOW, "a new name of the patch"


def _word_state(case: Case, name: HiddenName, word: str, is_command: bool) -> tuple[str, str]:
    """The same of a name that is a single word. Whoever has seen the code may use any word."""
    weight = lists().weight(word)
    if not case.is_blind or not weight or name.source == "description" or stem(word) in case.shown.words:
        return "", ""
    if name.is_defined and not name.is_new and not is_command:
        return HIGH, "a function or class that was not shown"
    is_rare = weight == 1 and len(word) >= 4
    return (MEDIUM, "a name of the patch") if is_rare or name.is_defined else ("", "")


def _is_telling(key: str) -> bool:
    """Whether a single word as a name is more than anybody's."""
    return len(key) >= 4 and key not in lists().library and key not in lists().generic and stem(key) not in lists().stop


def find_titles(case: Case) -> Iterator[Finding]:
    """Titles of new tests, where tests have sentences for names. Longer ones than these are found as phrases."""
    for title in case.hidden.titles[:MOST_PLACES]:
        start = case.reply.text.find(title) if 2 <= len(title.split()) <= 4 else -1
        if start >= 0 and title not in case.shown.text:
            yield case.finding("test", start, start + len(title), "test_patch", MEDIUM, "a new test")


# line numbers

def find_lines(case: Case) -> Iterator[Finding]:
    """Line numbers of a hunk in a file that nobody has looked into."""
    n_places = 0
    for at, text, is_command in case.reply.parts:
        for match in LINES.finditer(text):
            numbers = [int(group) for group in match.groups() if group]
            first, last = min(numbers), max(numbers)
            n_places += 1
            if n_places > MOST_PLACES or first <= 1 or last - first > LONGEST_RANGE or _is_round(first, last):
                continue
            named = _file_near(text, match, case.hidden)
            if named is None and (is_command or {str(first), str(last)} & case.shown.numbers):
                continue   # of a file that was printed with numbers, perhaps
            hunks = [h for h in case.hidden.hunks if h.length and named in (None, h.path)
                     and first <= h.start + h.length + 3 and last >= h.start - 3]
            if hunks and not any(_knows_lines(case.shown, hunk, first, last) for hunk in hunks):
                severity = HIGH if named or not case.shown.has_code else MEDIUM
                yield case.finding("line", at + match.start(), at + match.end(), hunks[0].source, severity,
                                   f"lines of {hunks[0].path}, which was not looked into")


def _is_round(first: int, last: int) -> bool:
    return first % 50 in (0, 1) and last % 50 == 0


def _file_near(text: str, match: re.Match, hidden: Hidden) -> str | None:
    """The file of the pull request that is named behind line numbers, or else before them."""
    behind = text[match.end():match.end() + 200].partition("\n")[0]
    before = text[max(0, match.start() - 200):match.start() + len(match[0])]
    words = PATH.findall(behind) + PATH.findall(before)[::-1]
    return next((path for word in words if (path := hidden_path(word, hidden))), None)


def _knows_lines(shown: Shown, hunk: Hunk, first: int, last: int) -> bool:
    name = hunk.path.rpartition("/")[2]
    return name in shown.opened or shown.shows(hunk) or any(
        (name, number) in shown.places for number in range(first - FAR, last + FAR + 1))


# references

def find_references(case: Case) -> Iterator[Finding]:
    """The number of the pull request or its issue, and hashes of commits and blobs."""
    hidden, shown = case.hidden, case.shown
    own = {*re.findall(r"#(\d{1,6})\b", hidden.texts["description"]), *re.findall(r"-(\d{1,6})\Z", hidden.instance_id)}
    texts = (hidden.base_commit, *hidden.texts.values())
    for at, text, _ in case.reply.parts:
        numbers = (match for match in REFERENCE.finditer(text) if match[1] in own)
        for match in islice(numbers, 1):
            if not any(known[1] == match[1] for known in REFERENCE.finditer(shown.text)):
                yield case.finding("reference", at + match.start(), at + match.end(), "description", HIGH,
                                   "the number of the pull request or of its issue")
        for match in islice(DIGEST.finditer(text), MOST_PLACES):
            if match[0][:7] not in shown.text and any(match[0][:7] in hidden_text for hidden_text in texts):
                yield case.finding("reference", at + match.start(), at + match.end(), "patch", HIGH, "a commit or blob")


# edits

def find_edits(case: Case) -> Iterator[Finding]:
    """A change to a file of the patch that nobody has looked into."""
    shown, hidden = case.shown, case.hidden
    starts = [at for at, _ in case.reply.commands]
    for path, start, end in _first_of_each(case.places):
        command = case.reply.commands[bisect_right(starts, start) - 1] if starts and start >= starts[0] else None
        if not command or end > command[0] + len(command[1]) or not EDITS.search(command[1]):
            continue
        name = path.rpartition("/")[2]
        if not (path in case.seen or path in hidden.new_paths or hidden.paths[path] == "test_patch" or _is_usual(path)
                or name in shown.opened):
            severity = MEDIUM if name in shown.paths else HIGH
            yield case.finding("edit", start, end, "files", severity, "an edit of a file that was not looked into")
