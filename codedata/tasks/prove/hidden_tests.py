"""Remove tests from the text of a Python file, so that its other tests can stay visible. Copy the
examples of doctests into hidden files, since an agent may edit the originals."""
from __future__ import annotations

import os
import re
from collections import Counter

from codedata.code.entities import SourceFile, entities_of, tree_of
from codedata.suites.source import Files

COPY = "test_examples_of_"   # prefix of a hidden file that pytest runs as one doctest
# A copy of examples begins with this code, which defines the names of their module. The module is
# in sys.modules, since pytest imports each module that it collects doctests from.
IN_MODULE = b""">>> import sys; file = str(getfixture('request').fspath.dirpath('%b'))
>>> for module in [*sys.modules.values()]:
...     if getattr(module, '__file__', '') == file:
...         globals().update(vars(module))

"""
EXAMPLE = re.compile(rb"^\s*>>> ", re.MULTILINE)
# the first triple quotes of a line outside of examples: such quotes delimit docstrings
QUOTES = re.compile(rb"""^(?!\s*(?:>>>|\.\.\.) )(.*?)["']{3}""", re.MULTILINE)
# the name of a doctest in a document
DOCUMENT = re.compile(rf"(?!.*{COPY})\S*?([^/.:\s]+\.(?:rst|md|txt))(?:::\1)?")
WORDS = re.compile(rb"\w+").findall
CONSTANT = re.compile(rb"(\w+)(?:: [^=\n]*)? = ")   # at the start of a statement
USED = rb"(?<!def )\b(?:%b)\b[\"'(,)\]]"   # a name in code, or as a whole string
# matches NULs, which replace a part that is cut; blank lines and comments before the NULs; the rest
# of their line, and indented comments after it
CUT = rb"(?:\n[ \t\r]*){0,9}(?:\n[ \t]*#.*){0,40}(?:\n[ \t]*)?\0+.*(?:\n[ \t]+#.*)*"


def without_tests(path: str, text: bytes, names: set[bytes]) -> bytes:
    """Return a test file without the tests of these qualified names, and without helpers, constants
    and classes that are then unused. Imports stay. Return b"" if the file lacks one of the
    named tests, or if the remaining text has no test or uses a removed test."""
    tree = tree_of(file := SourceFile(path, "python", text, True))
    parts = [(one.name.encode(), one.start, one.end) for one in entities_of(file, tree)]
    parts += [(found[1], *node.byte_range) for node in tree.root_node.children
              if (found := CONSTANT.match(text, node.start_byte))]
    gone = [part for part in parts if part[0] in names]
    if {part[0] for part in gone} != names:
        return b""
    left, used = bytearray(text), set()
    while gone:
        for name, start, end in gone:
            used.update(WORDS(name + b" " + left[start:end]))
            left[start:end] = bytes(end - start)
        words = Counter(WORDS(left))
        gone = [(name, start, end) for name, start, end in parts
                if left[start] and b"def test" not in left[start:end]
                and (word := WORDS(name)[-1]) in used
                and words[word] == WORDS(left[start:end]).count(word)]
    text = re.sub(CUT, b"", left)
    is_used = re.search(USED % b"|".join(WORDS(name)[-1] for name in names), text)
    return b"" if is_used or b"def test" not in text else text


def copied_examples(sources: Files) -> Files:
    """Return the hidden files with the examples of sources, which run in the namespaces of their
    modules. Triple quotes become line ends: a blank line ends the output of the last example."""
    return {re.sub(r"(\w+)\.py$", rf"{COPY}\1.txt", path):
            IN_MODULE % os.path.basename(path).encode() + QUOTES.sub(rb"\1\n", text)
            for path, text in sources.items()}
