"""Names that an answer uses: symbols and tests of the pull request, and those that nobody has shown at all.

What is there already nobody hits by chance, nor what is taken for granted; what an answer defines itself it may.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from codedata.checks.leak_rules import HIGH, LOW, MEDIUM, MOST_PLACES, Case, Finding
from codedata.checks.leak_sides import HiddenName
from codedata.checks.leak_text import NAME, VOWEL, fold, lists, name_parts, stem

RANKS = ("", LOW, MEDIUM, HIGH)
DEFINES = re.compile(r"\b(?:def|func|function|fn|class)[ +*\\s]{1,4}\Z|\^\Z")   # before a name that is searched for
IMPORTS = re.compile(r"\bimport [\w, ]{0,80}\Z|\{ ?[\w, ]{0,80}\Z")
SELECTS = re.compile(r"(?:\s(?:-k|-run|-t|-g|--grep|--filter|--testNamePattern)[ =]['\"]?[^'\"\n]{0,100}|::|"
                     r"\btests?\.[\w.]{0,100}\.)\Z")                               # before the name of a test to run
SEARCHES = re.compile(r"\b(?:grep|rg|ack|ag|find|git log)\b")
HYPHENED = re.compile(r"\b[a-z]\w*(?:-\w+)+\b")
TEST_ID = re.compile(r"::\w+\[([^\]\n]{2,100})\]")
SIGNS = tuple("`'\"|/\\")
TESTS = ("test", "tests", "spec", "case", "suite")
SOME_NAMES = 3          # single words as names, in an edit: so many at once are no chance
SHORT_NAME = 4          # letters: fewer are anybody's
CLUSTER = re.compile(r"[b-df-hj-np-tv-z]{4}")   # of no ordinary word: hashcmd


def find_names(case: Case) -> Iterator[Finding]:
    """Names of the patches that were not shown: symbols, and tests."""
    worst: dict[str, str] = {}               # {name: how bad it is so far}
    words: dict[str, tuple[int, int]] = {}   # single words in commands: one says nothing, some together do
    for at, text, is_command in case.reply.parts:
        for match in NAME.finditer(text):
            key = fold(match[0])
            name = case.hidden.names.get(key)
            is_path = any(start <= at + match.start() < end for _, start, end in case.places)
            if worst.get(key) == HIGH or key in case.shown.names or key in lists().library or is_path:
                continue
            use = Use(text, *match.span(), is_command, key in case.reply.defined)
            severity, why = name_state(case, name, use) if name else nowhere_state(case, match[0], use)
            if RANKS.index(severity) > RANKS.index(worst.get(key, "")):
                worst[key] = severity
                kind = "test" if name and name.is_test else "symbol"
                source = name.source if name else ""
                yield case.finding(kind, at + match.start(), at + match.end(), source, severity, why)
            is_patch = bool(name) and name.is_new and name.source == "patch"
            if severity in ("", LOW) and is_command and is_patch and _is_telling(key):
                words[key] = (at + match.start(), at + match.end())
    if len(words) >= SOME_NAMES:
        yield case.finding("symbol", *min(words.values()), "patch", HIGH, f"names of the patch: {', '.join(words)}")


@dataclass(frozen=True)
class Use:
    """How an answer uses a name."""

    text: str
    start: int
    end: int
    is_command: bool
    is_invented: bool   # the answer defines it

    @property
    def is_code(self) -> bool:
        return self.is_command or self._before(1) in ("`", ".", "$") or self.text[self.end:self.end + 1] in ("`", "(")

    @property
    def is_sharp(self) -> bool:
        """Between signs of code, so no word of a sentence."""
        before, after = self._before(1), self.text[self.end:self.end + 1]
        return before in (".", "$", "&", "!", ">", "^") or after in ("(", "[", "=") or (
            before in SIGNS and after in SIGNS)

    @property
    def is_member(self) -> bool:
        return self._before(1) == "."

    @property
    def is_function(self) -> bool:
        """Called, imported, or searched for by its definition."""
        return self.text[self.end:self.end + 1] == "(" or bool(DEFINES.search(self.line) or IMPORTS.search(self.line))

    @property
    def line(self) -> str:
        """What stands before it in its line."""
        return self._before(300).rpartition("\n")[2]

    @property
    def is_selected(self) -> bool:
        """As a test to run."""
        return self.is_command and bool(SELECTS.search(self.line))

    def _before(self, length: int) -> str:
        return self.text[max(0, self.start - length):self.start]


def name_state(case: Case, name: HiddenName, use: Use) -> tuple[str, str]:
    """(severity, why) of a name that the patches have and the conversation has not."""
    parts = [part for part in name_parts(name.spelling) if not part.isdigit()]
    if name.is_label and len(parts) > 1:
        return HIGH if len(parts) > 2 else MEDIUM, "a new test"
    if name.is_test:
        return _test_state(case, parts, use)
    if len(parts) < 2:
        return _word_state(case, name, parts[0], use) if parts and use.is_code else ("", "")
    rarity = sum(lists().weight(part) for part in parts if part not in lists().generic
                 and stem(part) not in case.shown.words)
    if not name.is_new:
        is_known = name.source == "description" or (use.is_member and not name.is_own and not rarity)
        is_guess = use.is_command and SEARCHES.search(use.line) and all(
            stem(part) in case.shown.task_words for part in parts)
        return MEDIUM if is_known or is_guess else HIGH, "a name of the project that was not shown"
    is_sought = use.is_command and bool(DEFINES.search(use.line)) and not use.is_invented
    if use.is_invented or (name.source == "test_patch" and not name.is_own and not is_sought):
        is_call = use.is_member and not use.is_invented   # of something public, perhaps
        severity = LOW if is_call else HIGH if rarity >= 1.5 else MEDIUM if rarity or case.is_blind else LOW
    else:
        severity = HIGH if name.is_own or is_sought or rarity >= 1 else MEDIUM
    return severity, "a new name of the patch"


def nowhere_state(case: Case, name: str, use: Use) -> tuple[str, str]:
    """The same of a name that not even the pull request has: told by heart, if it is no library's."""
    parts = [part for part in name_parts(name) if not part.isdigit()]
    is_test = not set(TESTS).isdisjoint(parts) and (use.is_selected or (len(parts) > 2 and not use.is_command))
    is_sought = use.is_command and bool(DEFINES.search(use.line))
    is_told = not use.is_command and use.is_code and not name[0].isupper()
    if len(parts) < 2 or use.is_invented or use.is_member or not (is_test or is_sought or is_told) or (
            not case.hidden.hunks or name.lower() in case.shown.squeezed):
        return "", ""
    if is_test:
        return _test_state(case, parts, use)
    is_known = [part in lists().generic or stem(part) in case.shown.words for part in parts]
    if is_sought:
        is_guess = all(is_known) and not any(name in text for _, text in case.reply.thoughts)
        return MEDIUM if is_guess else HIGH, "a function that nothing has shown"
    return MEDIUM, "a name that nothing has shown"


def _test_state(case: Case, parts: list[str], use: Use) -> tuple[str, str]:
    """The same of a test, or of a class of tests."""
    about = [part for part in parts if part not in TESTS]
    if not about or "".join(about) in case.shown.names:
        return (LOW if about else ""), "a test, as it is usually called"
    if use.is_invented and sum(stem(part) not in case.shown.words for part in about) < 2:
        return MEDIUM, "a test of the pull request, which the answer writes"
    return HIGH, "a test that was not shown"


def _word_state(case: Case, name: HiddenName, word: str, use: Use) -> tuple[str, str]:
    """The same of a name that is a single word. Whoever has seen the code may use any word for something new."""
    weight = lists().weight(word)
    if name.source == "description" or not _is_telling(word) or stem(word) in case.shown.words:
        return "", ""
    if not name.is_new:
        is_named = name.is_defined and use.is_function
        is_odd = not VOWEL.search(word) or (weight == 1 and bool(CLUSTER.search(word)))
        is_term = use.is_command and bool(SEARCHES.search(use.line)) and not use.is_function
        is_sharp = use.is_sharp and not use.is_invented and not is_term   # anybody may search for a word
        if is_named or (is_sharp and weight == 1) or (is_odd and use.is_command):
            return HIGH, "a name of the project that was not shown"
        is_likely = is_sharp or use.is_function or weight == 1 or (name.is_defined and not is_term)
        return MEDIUM if is_likely else LOW, "a name of the project"
    if use.is_invented or not weight:
        return "", ""
    if use.is_command and name.is_own and not VOWEL.search(word):
        return HIGH, "a name of the patch"
    if not case.is_blind:
        return "", ""
    return (MEDIUM, "a name of the patch") if weight == 1 or name.is_defined else ("", "")


def _is_telling(key: str) -> bool:
    """Whether a single word as a name is more than anybody's."""
    return (len(key) >= SHORT_NAME or (len(key) == SHORT_NAME - 1 and not VOWEL.search(key))) and (
        key not in lists().library and key not in lists().generic and stem(key) not in lists().stop)


def find_test_ids(case: Case) -> Iterator[Finding]:
    """A new test by its label, or a test selected by the name of its parameters, which no run has listed."""
    for at, text in case.reply.commands:
        for match in islice((one for one in HYPHENED.finditer(text) if one[0] in case.hidden.labels), MOST_PLACES):
            if match[0] not in case.shown.text:
                yield case.finding("test", at + match.start(), at + match.end(), "test_patch", HIGH, "a new test")
        for match in islice(TEST_ID.finditer(text), MOST_PLACES):
            if match[1] not in case.shown.text:
                yield case.finding("test", at + match.start(1), at + match.end(1), "test_patch", HIGH,
                                   "a test by its parameters, which were not shown")
