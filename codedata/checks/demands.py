"""Find names and wording that tests demand and only the gold patch has, and add the missing ones
to an instruction.

The languages' grammars find them in patches; without a grammar, a pattern finds literals. Not
promised: that names in strings are found, or that knowing the names is enough to pass the tests.
"""
from __future__ import annotations

import fnmatch
import glob
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import PurePosixPath
from textwrap import dedent
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_LINES = 20_000     # lines to read of each patch
MAX_SHOWN = 160        # characters of a literal or a use; longer ones are not shown
# captures every three consecutive words of a line, since two may be equal by chance
WORDING = re.compile(r"(?<!\S)[^\w\s]*(?=(\w\S* \S+ \S*\w))")
# matches the gap between two lines' literals that form one string: "a " "b" or "a " + "b"
JOINED = re.compile(r"""(["'`])(?:[ \t]*\+)?[ \t]*\n(?:\s*\+)?[ \t]*[fbru]{0,2}\1""")
# captures the text of a literal; an apostrophe in a word begins no literal
LITERAL = re.compile(r'''"((?:[^"\\\n]|\\.)*)"|`([^`]*)`|(?<!\w)'((?:[^'\\\n]|\\.)*)'(?!\w)''')
# only such literals count as shared: single spaces, 3 letters or digits in the first word
WHOLE = re.compile(r"\S*\w{3}\S*(?: \S+)*")
# matches a placeholder of %, str.format, an f-string or a template
SLOT = re.compile(r"%(?:\(\w+\))?[-+.\d]*[sdrifgx]|\$?\{[^{}]*\}")
# to show a use, climb from the name through PARTS, up to a node in WHOLES
WHOLES = ("call", "call_expression", "import_from_statement")
PARTS = (*WHOLES, "attribute", "member_expression", "selector_expression", "keyword_argument",
         "argument_list", "arguments", "dotted_name", "aliased_import")
# captures a word of a literal; \w lacks the vowel signs of some scripts
VALUE = re.compile(r"[^\W\d_][^\s\d.,:;!?()'\"\[\]{}|/\\=]{2,}")
TITLE = "The tests use these names and texts, which the code does not have yet:"


def names_brought(gold: str, tests: str) -> set[str]:
    """Return names that the test patch uses but does not define, and that the gold patch defines or
    has as the name of a new file. Add literals and runs of three words that both have, and test
    literals that fit a new format of the gold patch. Some may be in the base: see lacking()."""
    of_gold, of_tests = map(_names_in, (gold, tests))
    texts = [one["text"] - one["own"] for one in (of_gold, of_tests)]
    said, wanted = ({*WORDING.findall("\n".join(one))} for one in texts)
    same = {one for one in set.intersection(*texts) if WHOLE.fullmatch(one)}
    modules = of_gold["file"] & of_tests["module"]
    used = (of_gold["given"] | of_gold["file"]) & of_tests["used"] - of_tests["own"]
    return said & wanted | same | used | modules | {*_filled(texts[1], gold)}


def values_brought(gold: str, tests: str) -> set[str]:
    """Return the words in literals that both the gold patch and the test patch have. Some may be in
    the base: see lacking()."""
    return set.intersection(*({*VALUE.findall("\n".join(names["text"] - names["own"]))}
                              for names in map(_names_in, (gold, tests))))


def lacking(names: Iterable[str], files: Iterable[SourceFile]) -> list[str]:
    """Return the names and wording that no file gives: by a definition or in a string, docstrings
    included. In a language without a query, a file gives all its words."""
    given, said = set(), []
    for file in files:
        nodes = _captured(file.path, file.language, file.text)
        given.update(_texts(nodes.get("given", ())))
        said += _texts(nodes.get("text", ())) if nodes else [file.text.decode(errors="replace")]
    texts = "\n".join(said)
    return sorted(name for name in names if name not in given and not _has(texts, name))


def with_demands(text: str, names: Iterable[str], tests: Mapping[str, bytes]) -> str:
    """Return a text with a list of the `names` (from lacking()) that it does not mention. Show each
    name by its shortest import and its shortest other use in the test files."""
    said, lines = squeezed(text), []
    longest_first = sorted({*_uses_in(tests)}, key=lambda use: (-len(use[1]), use))
    for name in names:
        if name not in said:
            uses = {" import " in code: code for used, code in longest_first
                    if len(code) <= MAX_SHOWN and _has(used, name)}
            lines += uses.values() or [name]
    listed = "\n".join(f"- `{line}`" for line in dict.fromkeys(lines))
    return f"{text.rstrip()}\n\n{TITLE}\n\n{listed}\n" if lines else text


def _filled(texts: Iterable[str], gold: str) -> Iterator[str]:
    """Yield, for each format of two words or more that a patch adds or changes, the shortest of
    `texts` that fits it."""
    old, new = set(), set()
    for hunk in hunks_of(gold, "", MAX_LINES):
        old.update(*LITERAL.findall(_code(hunk.old)))
        new.update(*LITERAL.findall(_code(hunk.added)))
    shortest_first = sorted(texts, key=lambda text: (len(text), text))
    for parts in map(SLOT.split, new - old):
        if len(parts) > 1 and len(re.findall(r"\w{3,}", " ".join(parts))) > 1:
            yield from fnmatch.filter(shortest_first, "?*".join(map(glob.escape, parts)))[:1]


def _uses_in(tests: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """Yield pairs from test files: (name, the code that uses it, with literals as …) and (literal,
    the literal in quotes)."""
    for path, text in tests.items():
        nodes = _captured(path, language_of(path), text)
        for node in {*nodes.get("text", ())} - {*nodes.get("own", ())}:   # no docstrings
            literal = squeezed(node.text.decode())
            yield literal, f'"{literal}"'
        for node in nodes.get("used", ()):
            name = node.text.decode()
            while node.parent.type in PARTS and node.type not in WHOLES:
                node = node.parent
            module = node.child_by_field_name("module_name")   # only `from … import …` has one
            code = f"from {module.text.decode()} import {name}" if module else node.text.decode()
            yield name, squeezed(LITERAL.sub("…", code))


def _code(lines: Iterable[str]) -> str:
    """Return lines of code as a text, with joined literals as one literal."""
    return JOINED.sub("", "\n".join(lines))


def _has(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _texts(nodes: Iterable[Node]) -> list[str]:
    return [node.text.decode(errors="replace") for node in nodes]


def _captured(path: str, language: str, text: bytes) -> dict[str, list[Node]]:
    """Return {capture: nodes} of a file by its language's query of names; {} without a query."""
    queries = LANGUAGES.get(language, {}).get("names")
    return captured(SourceFile(path, language, text, False),
                    query_of(language, *queries)) if queries else {}


def _names_in(patch: str) -> dict[str, set[str]]:
    """Return the names and literals in a patch's new text, by capture name in the language's query
    (python_names.scm), and the names of new files as "file". Without a grammar, find only literals.
    """
    names = defaultdict(set)
    for hunk in hunks_of(patch, "", MAX_LINES):
        if not hunk.old:
            names["file"].add(PurePosixPath(hunk.path).stem)
        known = language_of(hunk.path)
        language = known or "python"   # other texts may have doctest examples
        if not (is_document(hunk.path) or (LANGUAGES[language].get("names") and known)):
            names["text"] |= {*chain(*LITERAL.findall(_code(hunk.new)))}
        # also parse only the added lines: a hunk that begins inside a statement hides definitions
        for new in (hunk.new, hunk.added):
            lines = new if known else [line.lstrip()[4:] for line in new
                                       if line.lstrip().startswith((">>> ", "... "))]
            text = dedent(_code(lines)).encode()
            for capture, nodes in _captured(hunk.path, language, text).items():
                names[capture] |= {node.text.decode() for node in nodes}
    return names
