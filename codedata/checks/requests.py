"""Tell without a model whether the text of a pull request can be a task's instruction.

A request is left out if its title says that it is a chore. Its text has to be a few words long, and
to say the names that nobody could know: those that its tests use and that the gold patch brings.
The languages' grammars find them in patches. Not promised: that a text which passes says enough, or
that a name in a string is found.
"""
from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from codedata.code.entities import SourceFile, language_of, languages, query_of, tree_of
from codedata.code.patches import Hunk, hunks_of

MAX_TITLE = 200        # characters that are read
MAX_LINES = 20_000     # of each patch
WORD = re.compile(r"[^\W\d]\w*")
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\WA-Z_]+")   # of a name: httpCode, http_code
VERSION = r"v?\d+(?:\.\d+)+[\w.+-]*\W*\Z"
# types of conventional commits that change no behaviour; dependencies, as their bots name them;
# releases; typos
CHORE = re.compile(rf"""
    (?:chore|ci|docs|build|style|test)(?:\([^)]*\))?!?:
    | bump\b.*\ from\ \S+\ to\ | \[pre-commit\.ci\]\ | (?:bump|update|upgrade)\b.*\ to\ {VERSION}
    | (?:(?:bump|release|prepare|version)\b\D{{0,40}})?{VERSION}
    | .*\btypos?\b""", re.IGNORECASE | re.VERBOSE)
IS_CHORE = "its title is that of a chore, a release or a typo"
IS_SHORT = "needs a text: it has fewer than {} words"
IS_UNSAID = "needs a text: it lacks names that its tests use"


def request_problem(text: str, new_names: Iterable[str], min_words: int) -> tuple[str, str]:
    """Return (the rule that leaves a request with this text out, details), or ("", ""), as always
    with `min_words` of 0. `new_names` are those that somebody has to be told."""
    title, n_words = text.strip().partition("\n")[0][:MAX_TITLE], len(WORD.findall(text))
    if not min_words:
        return "", ""
    if CHORE.match(title):
        return IS_CHORE, title
    if n_words < min_words:
        return IS_SHORT.format(min_words), f"it has {n_words}"
    unsaid = [name for name in new_names if not _is_said(str(name), text)]
    return (IS_UNSAID, ", ".join(map(str, unsaid))) if unsaid else ("", "")


def names_brought(gold: str, tests: str) -> list[str]:
    """Return the names, sorted, that the patch of tests uses and does not define, that the gold
    patch defines, and that no old line of the two has."""
    gold_hunks, test_hunks = (hunks_of(patch, "", MAX_LINES) for patch in (gold, tests))
    old = {name for hunk in (*gold_hunks, *test_hunks)
           for name in WORD.findall("\n".join((hunk.path, hunk.header, *hunk.old)))}
    brought, wanted = _names_in(gold_hunks), _names_in(test_hunks)
    names = (brought["new"] | brought["given"] | brought["key"]) & (wanted["used"] | wanted["key"])
    return sorted(filter(WORD.fullmatch, names - old - wanted["new"] - wanted["own"]))


def _names_in(hunks: Iterable[Hunk]) -> dict[str, set[str]]:
    """Return the names in hunks with their added lines, by capture (python_names.scm)."""
    from tree_sitter import QueryCursor
    found = defaultdict(set)
    for hunk in hunks:
        language = language_of(hunk.path)
        if queries := languages().get(language, {}).get("names"):
            lines = [line[1:] for line in hunk.lines if not line.startswith(("-", "\\"))]
            tree = tree_of(SourceFile(hunk.path, language, "\n".join(lines).encode(), False))
            cursor = QueryCursor(query_of(language, *queries))
            for capture, nodes in cursor.captures(tree.root_node).items():
                for node in nodes:
                    if capture != "top" or not node.start_point.column:
                        kind = capture.replace("top", "new")
                        found[kind].add(node.text.decode(errors="replace"))
    return found


def _is_said(name: str, text: str) -> bool:
    """Return whether a text has a name, or its parts as words in a row."""
    parts = r"[\W_]{0,3}".join(map(re.escape, PART.findall(name))) or re.escape(name)
    return re.search(rf"(?<![^\W_]){parts}(?![^\W_])", text, re.IGNORECASE) is not None
