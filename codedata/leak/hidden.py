"""Index shown texts and hidden patches, to find giveaways of the solution in turns
(leaked_facts.py), issue reports, documents and instructions."""
from __future__ import annotations

import ast
import re
from contextlib import suppress
from functools import cached_property, lru_cache

from codedata.code.operators.syntax import compiling
from codedata.code.patches import Hunk, hunks_of
from codedata.conversation.turn import plain
from codedata.records import Commit, Message
from codedata.texts import bare

MAX_LINES = 20_000           # lines of a patch to read
MAX_OWN_LINES = 2_000        # lines of a turn's code to parse
MIN_CODE_CHARS = 12          # without whitespace: shorter lines occur in any code
NAME = re.compile(r"[^\W\d]\w*")
PATH = re.compile(r"[\w@+~-][\w.@+~/-]{0,300}\w")
# from the third line on: loops of shells and Rust, caught exceptions, closures, several variables
# assigned together in Go, parameters of arrow functions
DEFINED = re.compile(r"(?:\b(?:def|class|func|function|fn|struct|interface|trait|enum|type|module|"
                     r"const|let|var|#define)\s+(?:mut\s+)?(?:\([^)]{0,200}\)\s*)?|"
                     r"\bfor\s(?=\w+ in [^\n]{1,200}(?:\bdo\b|\{))|\bcatch \((?:\w+ )?(?=\w+\))|"
                     r"(?<=\(\|)(?=\w+\|)|(?<=\bdo \|)(?=\w+\|)|(?<!\w)(?="
                     r"\w+(?:,[ \t]*\w+){0,9}(?:[ \t]*:=|\)?[ \t]*=>)))([^\W\d]\w*)")
# matches a definition in a C-like language; each character matches in only one way, which avoids
# backtracking
TYPED = re.compile(r"^(?:[\w*&<>\[\],]+[ \t]+){0,4}(?:[\w*&<>\[\],]+[ \t]+[*&]*|[\w*&<>\[\],]+[*&])"
                   r"([^\W\d]\w*)\(", re.MULTILINE)
ASSIGNED = re.compile(r"^[ \t]*([^\W\d]\w*)[ \t]*(?::[^=\n]{1,60})?(?::=|=(?!=))", re.MULTILINE)
DEFINITIONS = (DEFINED, TYPED, ASSIGNED)
# FOLDED: line breaks in brackets. LINE: a line of Python without a diff's `+` and the `el` of
# `elif`, or the code after `python -c`; each line is parsed in four forms
FOLDED = re.compile(r"(?<=[(\[,])[ \t]*\n|\n(?=[ \t]*(?:[)\]]|(?:for|if)\b[^:\n]*$))", re.MULTILINE)
LINE = re.compile(r"^[ \t+]*(.*\bpython[\d.]* -c ['\"])?(?:el(?=if\b))?(\S.{1,400}?)(?(1)['\"])$",
                  re.MULTILINE)
# names bound in the dump of a syntax tree; `alias(name=` of an import and `keyword(arg=` bind none
BOUND = re.compile(r"(?:Name\(id='(?=\w+', ctx=Store)|\barg\(arg='|(?<!alias\()\b(?:as)?name=')"
                   r"(\w+)")
LABEL = re.compile(r"""\b(?:it|test|describe|t\.Run)\(\s*["'`]([^"'`\n]{4,200})|"""
                   r"""\bname: *"([^"\n]{4,200})"|"""
                   r"""^(?:check|expect|run|ok|case)\w* ["']?(\w+_\w+)""", re.MULTILINE)
RANGE = re.compile(r"(?<![\w.])(\d{1,6}),(\d{1,6})p\b|"
                   r"\blines? (\d{1,6})(?: ?(?:-|to|and) ?(\d{1,6}))?|"
                   r"(?<=\.)\w{1,5}:(\d{1,6})\b")


class Shown:
    """Index the text of a conversation, including its last message."""

    def __init__(self, history: list[Message]):
        self.text = "\n".join(message["content"] for message in plain(history))

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
        return base_names(PATH.findall(self.text))

    @cached_property
    def bare(self) -> str:
        """Return the conversation in the form of bare()."""
        return bare(self.text)

    def share(self, lines: list[str], min_chars: int) -> float:
        """Return the share (0 to 1) of the lines of at least `min_chars` characters that were
        shown; 0 without such lines. Lines are compared in the form of bare().
        """
        counted = [line for line in map(bare, lines) if len(line) >= min_chars]
        return sum(line in self.bare for line in counted) / max(1, len(counted))

    def shows(self, hunk: Hunk) -> bool:
        """Return whether at least a third of a hunk's old code lines was shown."""
        return self.share(hunk.old, MIN_CODE_CHARS) >= 1 / 3


class Patch:
    """Index the hunks of a pull request's two patches."""

    def __init__(self, patch: str, test_patch: str, files: tuple[str, ...]):
        self.hunks = [*hunks_of(patch, "patch", MAX_LINES),
                      *hunks_of(test_patch, "test_patch", MAX_LINES)]
        sources = {hunk.path: hunk.source for hunk in reversed(self.hunks)}
        self.paths = dict.fromkeys(files, "files") | sources
        self.by_file = {path.rpartition("/")[2]: path for path in self.paths}

    @cached_property
    def names(self) -> set[str]:
        """Return the names that the hunks define."""
        return {name for hunk in self.hunks
                for name in defined_in("\n".join((hunk.header, *hunk.old, *hunk.added)))}

    @cached_property
    def labels(self) -> set[str]:
        """Return the labels (string names) of the tests that the pull request adds."""
        added = "\n".join(line for hunk in self.hunks if hunk.source == "test_patch"
                          for line in hunk.added)
        return {label for groups in LABEL.findall(added) for label in groups if label}

    @cached_property
    def old_bare(self) -> str:
        """Return the removed and context lines in the form of bare()."""
        return "\n".join(bare(line) for hunk in self.hunks for line in hunk.old)


def patch_of(commit: Commit) -> Patch:
    """Return the pull request's patches, cached so that turns of an instance share them."""
    return _read(commit.patch, commit.test_patch, tuple(commit.files))


_read = lru_cache(maxsize=8)(Patch)


def parts_of_test(test: str) -> list[str]:
    """Return file, classes and name of a test, or only its name, without parameters and without the
    number of a repeated name."""
    return re.split(r"::| > ", re.split(r"\[| \(\d+\)$", test)[0])


def base_names(paths: list[str]) -> set[str]:
    """Return the file names of paths."""
    return {path.rpartition("/")[2] for path in paths}


def defined_in(text: str) -> set[str]:
    """Return the names that a text defines."""
    return {name for pattern in DEFINITIONS for name in pattern.findall(text)}


@lru_cache(maxsize=8)
def foreign_names(turn: str) -> set[str]:
    """Return the names in a turn that its code does not define or bind. Python is parsed line by
    line, since an edit contains only parts of programs."""
    code = "\n".join(turn.split("```")[1::2])
    names = {*NAME.findall(turn)} - defined_in(code)
    for _, line in LINE.findall(FOLDED.sub(" ", code))[:MAX_OWN_LINES]:
        for form in "{}", "{} pass", "try: pass\n{} pass", "match 0:\n {} pass":
            with suppress(SyntaxError), compiling():
                names -= {*BOUND.findall(ast.dump(ast.parse(form.format(line))))}
    return names
