"""Check without a model whether the text of a pull request can be a task's instruction.

A text must have a few words, and contain everything that a solver could not guess: names that the
tests use and the gold patch introduces, and the wording of messages. The languages' grammars find
these in patches; without a grammar, a pattern finds literals. Not promised: that a passing text is
sufficient, or that a name in a string is found.
"""
from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import PurePosixPath
from textwrap import dedent

from codedata.code.entities import (
    LANGUAGES,
    SourceFile,
    captured,
    is_document,
    language_of,
    query_of,
)
from codedata.code.patches import hunks_of
from codedata.texts import squeezed

MAX_START = 200        # characters of a text to print
MAX_LINES = 20_000     # lines to read of each patch
WORD = re.compile(r"https?://\S+|([^\W\d]\w*)")
# any three consecutive words of a line; two may be equal by chance
WORDING = re.compile(r"(?<!\S)[^\w\s]*(?=(\w\S* \S+ \S*\w))")
# for languages without a grammar; an apostrophe in a word begins no literal
LITERAL = re.compile(r'''"((?:[^"\\\n]|\\.)*)"|`([^`]*)`|(?<!\w)'((?:[^'\\\n]|\\.)*)'(?!\w)''')
# at the end: trailers, the row of dashes that GitHub puts before them, references to issues
TRAILERS = re.compile(r"""(?:\n{1,9}(?:(?:[A-Z][\w-]{0,60}-(?:by|to|[Ii]d|[Oo]n)|Cc|Link):\ .+
    |-{9,}\ *|(?i:(?:
    close[sd]?|fix(?:e[sd])?|resolve[sd]?|relates\ to|see):?\ (?:\#\d+|https?://\S+)\.?\ *)
    )){1,30}\s*\Z""", re.VERBOSE)
# after the title: that row, authors' trailers, bots' lines, and git's list of conflicts
OF_BOTS = re.compile(r"""(?<=\n)(?:-{9,} | [A-Z][\w-]{0,60}-by:\ .+
    | .*(?:\[bot\]|\bpre-commit\.ci\b).* | Bumps\ .+\ from\ \S+\ to\ .+
    | (?:\#\ )?Conflicts:(?:\n\#?\t\S+)*)\ *(?:\n|\Z)""", re.VERBOSE)
SQUASHED = re.compile(r"\* .+")   # a title in GitHub's list of squashed commits
CHANGELOG = re.compile(r"(?i)\b(?:change|history|news)[^/]*(?:/[^/]+)?\Z")   # a document's path
ENTRIES = re.compile(r"\n(?=\s*[-*+] |\s*\n)")   # between the entries of a changelog
MIN_ENTRY = 4          # words of an entry; shorter lines are headings


def request_problems(text: str, new_names: Iterable[str], min_words: int
                     ) -> Iterator[tuple[str, str]]:
    """Yield (rule, details) for each rule that leaves out a request with this text; none if
    `min_words` is 0. `new_names` are the names that the text must contain."""
    if not min_words:
        return
    if n_words(text) < min_words:
        yield f"needs a text: it has fewer than {min_words} words", text.strip()[:MAX_START]
    said = squeezed(text)
    if unsaid := [name for name in new_names if name not in said]:
        yield "needs a text: it lacks names or wording that its tests use", ", ".join(unsaid)


def own_words(message: str) -> str:
    """Return a commit's message without lines added by git and its host; may be ""."""
    text = _without_squash_list(TRAILERS.sub("", message.strip()))
    text = re.sub(r"\A(?:Merge .*|(.*?) \(#\d+\))$", r"\1", text, flags=re.MULTILINE)
    return OF_BOTS.sub("", text).strip()


def _without_squash_list(text: str) -> str:
    """Return a commit's message without the titles of squashed commits; their bodies stay."""
    title, *paragraphs = re.split(r"\n\s*\n", text)
    left = [one for one in paragraphs if not SQUASHED.fullmatch(one)]
    is_list = "".join(paragraphs[:1]).startswith("* ") and len(paragraphs) - len(left) > 1
    return "\n\n".join([title, *left]) if is_list else text


def changelog_entries(patch: str) -> str:
    """Return the entries that a patch adds to changelogs, without headings; may be ""."""
    added = "\n\n".join("\n".join(hunk.added) for hunk in hunks_of(patch)
                        if is_document(hunk.path) and CHANGELOG.search(hunk.path))
    entries = (one.strip("\n") for one in ENTRIES.split(added))
    return "\n".join(one for one in entries if n_words(one) >= MIN_ENTRY)


def n_words(text: str) -> int:
    """Return the number of words in a text; addresses do not count."""
    return sum(map(bool, WORD.findall(text)))


def names_brought(gold: str, tests: str) -> set[str]:
    """Return the names that the test patch uses but does not define, and that the gold patch
    defines or gives to a new file; plus the wording common to the literals of both. Some may also
    be in the base."""
    of_gold, of_tests = map(_names_in, (gold, tests))
    said, wanted = ({*WORDING.findall("\n".join(one["text"] - one["own"]))}
                    for one in (of_gold, of_tests))
    return said & wanted | of_gold["given"] & of_tests["used"] - of_tests["own"]


def _names_in(patch: str) -> dict[str, set[str]]:
    """Return the names and literals in a patch's new text, by capture name in the language's query
    (python_names.scm); a new file's name is in "given". Without a grammar, find only literals."""
    names = defaultdict(set)
    for hunk in hunks_of(patch, "", MAX_LINES):
        if not hunk.old:
            names["given"].add(PurePosixPath(hunk.path).stem)
        known = language_of(hunk.path)
        language = known or "python"   # other texts may have examples for doctest
        queries = LANGUAGES[language].get("names")
        if not (is_document(hunk.path) or (known and queries)):
            names["text"] |= {*chain(*LITERAL.findall("\n".join(hunk.new)))}
        if not queries:
            continue
        # also parse only the added lines: a cut statement above them may hide definitions
        for new in (hunk.new, hunk.added):
            lines = new if known else [line.lstrip()[4:] for line in new
                                       if line.lstrip().startswith((">>> ", "... "))]
            text = dedent("\n".join(lines)).encode()
            found = captured(SourceFile(hunk.path, language, text, False),
                             query_of(language, *queries))
            for capture, nodes in found.items():
                names[capture] |= {node.text.decode() for node in nodes}
    return names
