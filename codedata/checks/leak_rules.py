"""Places that an answer names: paths, line numbers, references, files that it edits.

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

from codedata.checks.leak_sides import COMMENT, PROSE_FILE, REFERENCE, SHORT_LINE, Hidden, Hunk, Reply, Shown
from codedata.checks.leak_text import (
    LONGEST_PATH,
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
EDITS = re.compile(r"\bsed\s(?:[^|;&\n]{0,40}?\s)?-\w{0,8}i|\bperl\s+-\w{0,8}i|\bpatch\b|\bgit apply\b|"
                   r"\.write\(|write_text\(|writeFile")
MAKES = re.compile(r"(?:>|\btee(?: -a)?)[ ]?['\"]?/?(?:[\w.-]{1,80}/){0,8}\Z")   # before a path
LINES = re.compile(r"(?<![\w.,])(\d{1,6}),[ ]?\+?(\d{1,6})[pds](?!\w)|"               # sed -n '120,140p'
                   r"(?<![\w.,/])(\d{2,6})[pdsiac](?=['\"/|#;\\])|"                       # sed -i '131s/a/b/'
                   r"NR ?>=? ?(\d{1,6})[^\n]{0,20}?NR ?<=? ?(\d{1,6})|"               # awk
                   r"\blines? (\d{1,6})(?: ?(?:-|–|to|and|,) ?(\d{1,6}))?|"
                   r"\.\w{1,5}:(\d{1,6})(?:-(\d{1,6}))?\b")
DIGEST = re.compile(r"\b(?=[0-9a-f]{0,39}[a-f])(?=[a-f]{0,39}[0-9])[0-9a-f]{7,40}\b")
FAR = 15                # lines: nearer ones may be known from a line that was named
LONGEST_RANGE = 150     # lines: more are no place
GUESSED = "a file that was not shown; its name was to be guessed"
MOST_PLACES = 200       # looked at in one answer


@dataclass(frozen=True)
class Finding:
    """Something in an answer that the conversation has not shown."""

    kind: str       # path, symbol, test, line, reference, phrase, code, edit, cause, giveaway
    text: str       # answer[start:end]
    start: int
    end: int
    source: str     # where in the pull request: patch, test_patch, files, issue, description; or ""
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
        shown, hidden = Shown(messages), Hidden.of(pr)
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
    def unread(self) -> set[str]:
        """Which of "document" and "comment" the patch changes and nothing has shown."""
        changed = [hunk for hunk in self.hidden.source_hunks if hunk.old]
        documents = [hunk for hunk in changed if PROSE_FILE.search(hunk.path)]
        comments = [line for hunk in changed if hunk not in documents for line in hunk.removed if COMMENT.search(line)]
        known = any(self.shown.has_opened(hunk.path) or any(
            line in self.shown.lines for line in hunk.old if len(line) >= SHORT_LINE) for hunk in documents)
        return {
            kind for kind, holds in (("document", documents and not known),
                                     ("comment", comments and self.shown.lines.isdisjoint(comments))) if holds}

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
    opened = {path: (path, start, end) for path, start, end in reversed(case.places)
              if any(a <= start < b for a, b in commands)}
    for path, start, end in _first_of_each(case.places):
        severity, why = path_state(path, case.shown, case.hidden)
        if severity in (LOW, MEDIUM) and path in opened:
            severity, why = _opened_state(case, *opened[path], severity, why)
        if severity:
            yield case.finding("path", start, end, case.hidden.paths[path], severity, why)


def _opened_state(case: Case, path: str, start: int, end: int, severity: str, why: str) -> tuple[str, str]:
    """The same of a file that a command names. By its folder if its name is usual; one may make a new file."""
    word, before = case.reply.text[start:end], case.reply.text[max(0, start - 99):start]
    folder = path.rpartition("/")[0]
    is_edited, is_usual = path in case.hidden.old_sources, lists().generic.issuperset(name_parts(path_stem(path)))
    if is_edited and (why == GUESSED or severity == MEDIUM):
        return HIGH, "the file to edit, opened before anything named or listed it"
    if severity == LOW and not MAKES.search(before):
        if path in case.hidden.new_paths or (why == GUESSED and not is_usual):
            return HIGH, "a file that nothing named or listed, and none that is usual"
        if why != GUESSED and folder and folder not in case.shown.paths and ("/" in word or word.count(".") > 1):
            return MEDIUM if folder.lower() in lists().folders else HIGH, why
    return severity, why


def _first_of_each(places: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """The first place of each path."""
    return sorted({path: (path, start, end) for path, start, end in reversed(places)}.values(), key=lambda one: one[1])


def hidden_path(word: str, hidden: Hidden) -> str | None:
    """The path of the pull request that a word names, by its whole or its end."""
    if len(word) > LONGEST_PATH or not ("." in word or "/" in word):
        return None
    word = word.strip(PATH_ENDS)
    if "/" not in word:   # a class or function of a module
        shorter = word.rpartition(".")[0]
        word = next((one for one in (word, shorter, shorter.rpartition(".")[0]) if one in hidden.by_tail), word)
    return hidden.by_tail.get(word) or next((tail for tail in path_tails(word)[1:] if tail in hidden.paths), None)


def path_state(path: str, shown: Shown, hidden: Hidden) -> tuple[str, str]:
    """(severity, why) of naming a file; no severity where it was shown or any project has it."""
    words, name, about = lists(), path.rpartition("/")[2], path_stem(path)
    if any(tail in shown.paths for tail in path_tails(path) if "/" in tail or tail == name):
        return "", ""
    if _is_usual(path):
        above, _, folder = path.rpartition("/")[0].rpartition("/")
        known = not folder or folder in shown.paths or (not above and (
            folder.lower() in words.folders or stem(folder) in shown.words))
        return ("", "") if known else (HIGH if above else MEDIUM, "a file in a folder that was not shown")
    if path.rpartition(".")[0].replace("/", ".") in shown.modules:
        return "", ""   # as it is imported
    if len(name_parts(name.partition(".")[0])) > 1 and fold(name.partition(".")[0]) in shown.names:
        return "", ""   # as something that was named
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
    """Whether the lines were shown, or others near them by number."""
    name, near = hunk.path.rpartition("/")[2], range(first - FAR, last + FAR + 1)
    return shown.shows(hunk) or any((name, number) in shown.places for number in near) or (
        shown.has_opened(hunk.path) and any(str(number) in shown.numbers for number in near))


# references

def find_references(case: Case) -> Iterator[Finding]:
    """The number of the pull request or its issue, and hashes of commits and blobs."""
    hidden, shown = case.hidden, case.shown
    texts = (hidden.base_commit, *hidden.texts.values())
    for at, text, _ in case.reply.parts:
        numbers = (match for match in REFERENCE.finditer(text) if match[1] in hidden.numbers)
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
        if not command or end > command[0] + len(command[1]) or not (
                EDITS.search(command[1]) or MAKES.search(case.reply.text[max(0, start - 99):start])):
            continue
        name = path.rpartition("/")[2]
        if not (path in case.seen or path in hidden.new_paths or hidden.paths[path] == "test_patch" or (
                _is_usual(path) and path not in hidden.old_sources) or shown.has_opened(path)):
            severity = MEDIUM if name in shown.named_places else HIGH
            yield case.finding("edit", start, end, "files", severity, "an edit of a file that was not looked into")
