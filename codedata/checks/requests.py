"""Check without a model whether the text of a pull request can be a task's instruction.

A text must have a few words, and contain everything that a solver could not guess: the names and
wording that demands.py finds. Not promised: that a passing text is sufficient.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from codedata.code.entities import is_document, is_of_tests, language_of
from codedata.code.patches import hunks_of
from codedata.texts import squeezed

MAX_START = 200        # characters of a text to print
WORD = re.compile(r"https?://\S+|([^\W\d]\w*)")
# Matches at the end: trailers, GitHub's row of dashes before them, references to issues.
TRAILERS = re.compile(r"""(?:\n{1,9}(?:(?:[A-Z][\w-]{0,60}-(?:by|to|[Ii]d|[Oo]n)|Cc|Link):\ .+
    |-{3,}\ *|(?i:(?:(?:this|it)\ (?:\w{1,20}\ )?)?(?:
    close[sd]?|fix(?:e[sd])?|resolve[sd]?|relates\ to|see):?\ (?:\#\d+|https?://\S+)\.?\ *)
    )){1,30}\s*\Z""", re.VERBOSE)
# Matches after the title: a row of dashes, authors' trailers, bots' lines, lines with a link to a
# request or commit (it may be the solution), git's list of conflicts.
OF_BOTS = re.compile(r"""(?<=\n)(?:-{3,} | [A-Z][\w-]{0,60}-by:\ .+
    | updated-dependencies:(?:\n(?:-\ |\ \ |\.{3}).*)*
    | .*(?:\[bot\]|\bpre-commit\.ci\b|github\.com(?:/[\w.-]+){2}/(?:pull|commit)/).*
    | Bumps\ .+\ from\ \S+\ to\ .+
    | (?:\#\ )?Conflicts:(?:\n\#?\t\S+)*)\ *(?:\n|\Z)""", re.VERBOSE)
SQUASHED = re.compile(r"\* .+")   # a title in GitHub's list of squashed commits
CHANGELOG = re.compile(r"(?i)\b(?:change|history|news)[^/]*(?:/[^/]+)?\Z")   # matches a changelog
ENTRIES = re.compile(r"\n(?=\s*[-*+] |\s*\n)")   # matches the gap between entries of a changelog
MAX_DOCUMENTED = 60    # lines
MIN_ENTRY = 4          # words of an entry or a squashed title; shorter ones tell nothing


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
    """Return a commit's message without lines that git, GitHub or bots add; may be ""."""
    text = _without_squash_list(TRAILERS.sub("", message.strip()))
    text = OF_BOTS.sub("", re.sub(r"\AMerge .*", "", text)).strip()
    text = re.sub(r"\A(.*) \(#\d+\)$", r"\1", text, flags=re.MULTILINE)
    return TRAILERS.sub("", text)   # trailers before the list of commits


def _without_squash_list(text: str) -> str:
    """Return a commit's message without short titles of squashed commits, as "wip". Longer titles
    may be the only sentences that tell the behaviour. Bodies stay."""
    title, *paragraphs = re.split(r"\n\s*\n", text)
    left = [one for one in paragraphs if not SQUASHED.fullmatch(one) or n_words(one) >= MIN_ENTRY]
    is_list = "".join(paragraphs[:1]).startswith("* ") and len(paragraphs) - len(left) > 1
    return "\n\n".join([title, *left]) if is_list else text


def changelog_entries(patch: str) -> str:
    """Return the entries that a patch adds to changelogs, without headings and entries that it only
    rewords; may be ""."""
    hunks = [hunk for hunk in hunks_of(patch)
             if is_document(hunk.path) and CHANGELOG.search(hunk.path)]
    removed = [{*WORD.findall(line)} for hunk in hunks
               for line in {*hunk.old}.difference(hunk.new)]
    added = "\n\n".join("\n".join(hunk.added) for hunk in hunks)
    entries = (one.strip("\n") for one in ENTRIES.split(added))
    return "\n".join(one for one in entries if n_words(one) >= MIN_ENTRY and not any(
        2 * len(words & old) >= len(words | old) for words in [{*WORD.findall(one)}]
        for old in removed))


def added_documentation(patch: str, names: Iterable[str]) -> str:
    """Return the lines that a patch adds to documents, from hunks that add one of `names`; "" if
    there are none, or more than MAX_DOCUMENTED. Changelogs and code do not count."""
    words = "|".join(map(re.escape, names))
    texts = []
    for hunk in hunks_of(patch):
        text = "\n".join(hunk.added).strip("\n")
        is_code = is_of_tests(hunk.path) or language_of(hunk.path)
        if (words and is_document(hunk.path) and not (is_code or CHANGELOG.search(hunk.path))
                and re.search(rf"(?<!\w)(?:{words})(?!\w)", text)):
            texts.append(text)
    whole = OF_BOTS.sub("", "\n\n".join(texts))
    return whole if whole.count("\n") < MAX_DOCUMENTED else ""


def n_words(text: str) -> int:
    """Return the number of words in a text; addresses do not count."""
    return sum(map(bool, WORD.findall(text)))
