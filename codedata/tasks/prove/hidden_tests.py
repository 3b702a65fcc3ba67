"""Take tests out of the text of a Python file, so that the other tests in it can stay visible."""
from __future__ import annotations

import re
from collections.abc import Collection

from codedata.code.entities import SourceFile, entities_of, tree_of

WORD = re.compile(rb"\w+")
TEST = b"def test"
DEFINED = re.compile(rb"\bdef \w+")
CONSTANT = re.compile(rb"^(\w+)\b[^=\n]*=", re.MULTILINE)
# NULs in place of what is cut, blank lines and comments above, the rest of its line, comments below
CUT = re.compile(rb"(?:\n[ \t\r]*)*(?:\n[ \t]*#.*)*(?:\n[ \t]*)?\0+.*(?:\n[ \t]+#.*)*")


def without_tests(path: str, text: bytes, names: Collection[str]) -> bytes:
    """Return a test file without the tests of these qualified names, and without helpers, and
    classes without tests, that nothing else uses. Return b"" if it lacks one of the tests, or if
    what is left has no test, names one of them, or has a constant that nothing else uses."""
    parts = entities_of(file := SourceFile(path, "python", text, True), tree_of(file))
    gone = [one for one in parts if one.name in names]
    if {one.name for one in gone} != {*names}:
        return b""
    used: set[bytes] = set()
    while gone:
        for one in gone:
            used.update(WORD.findall(f"{one.name} ".encode() + text[one.start:one.end]))
            text = text[:one.start] + bytes(one.end - one.start) + text[one.end:]
        gone = [one for one in parts if text[one.start] and TEST not in text[one.start:one.end]
                and (word := one.name.rpartition(".")[2].encode()) in used
                and word not in WORD.findall(text[:one.start] + text[one.end:])]
    text = CUT.sub(b"", text)
    words = WORD.findall(DEFINED.sub(b"", text))
    shown = {name.rpartition(".")[2].encode() for name in names}.intersection(words) or [
        word for word in CONSTANT.findall(text) if words.count(word) == 1 and word in used]
    return b"" if shown or TEST not in text else text
