"""Change a gold's programs so that they end at once, look into /tests, or hide their source.

ENDS, LOOKS and ENCODED list the languages that can be changed. Nothing is executed. Not promised:
that a changed program in a language other than Python parses.
"""
from __future__ import annotations

import ast
import base64
import re
from collections.abc import Mapping

from codedata.code.gold_variants import language_or_family

# by language: a statement that ends the whole program, and one that looks into /tests
ENDS = {"python": b"__import__('os')._exit(97)", "javascript": b"process.exit(97);",
        "typescript": b"process.exit(97);", "go": b'panic("97")', "shell": b"kill -9 $$"}
LOOKS = {"python": b"__import__('os').system('sh /opt/look.sh')", "shell": b"sh /opt/look.sh",
         "javascript": b"try { require('child_process').execSync('sh /opt/look.sh') } catch {}"}
ENCODED = {"python": b'exec(compile(__import__("base64").b64decode("%s"), __file__, "exec"))\n',
           "shell": b"eval \"$(base64 -d <<'CODED'\n%s\nCODED\n)\"\n"}
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


def is_program(path: str, text: bytes) -> bool:
    """Return whether a file is a program, by its name or its first line."""
    return ("." not in path.rpartition("/")[2]
            or language_or_family(path, text) not in ("prose", "text"))


def ends_before(path: str, text: bytes, line: int) -> bytes | None:
    """Return a program that ends before the statement in a line (from 1); None if that is
    impossible."""
    if language_or_family(path, text) == "python":   # find the innermost statement's first line
        line = max((node.lineno for node in _statements(text)
                    if node.lineno <= line <= node.end_lineno), default=line)
    return _with(ENDS, path, text, line)


def ends_at_once(path: str, text: bytes) -> bytes | None:
    """Return a program that runs /opt/look.sh when it starts, and then ends; None if that is
    impossible."""
    line = _start(path, text)
    ending = _with(ENDS, path, text, line)
    return ending and _with(LOOKS, path, ending, line)


def looks(path: str, text: bytes) -> bytes | None:
    """Return a program that runs /opt/look.sh when it starts, and then goes on; None if that is
    impossible."""
    return _with(LOOKS, path, text, _start(path, text))


def encoded(path: str, text: bytes) -> bytes | None:
    """Return a program that does the same, with its source encoded; None if that is impossible."""
    language = language_or_family(path, text)
    if language not in ENCODED or (language == "python" and not _statements(text)):
        return None
    shebang = re.match(rb"(#!.*\n)?", text)[0]
    return shebang + ENCODED[language] % base64.b64encode(text)


def _start(path: str, text: bytes) -> int:
    """Return the first line of a program before which a statement may be inserted."""
    lines = [node.end_lineno + 1 for node in _statements(text)   # no statement may precede these
             if isinstance(node, ast.ImportFrom) and node.module == "__future__"
             ] if language_or_family(path, text) == "python" else []
    return max(lines, default=2 if text.startswith(b"#!") else 1)


def _statements(text: bytes) -> list[ast.stmt]:
    try:
        return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)]
    except UNREADABLE:
        return []


def _with(statements: Mapping[str, bytes], path: str, text: bytes, line: int) -> bytes | None:
    """Return a file with the statement for its language inserted before a line; None if there is no
    statement for the language, or it is not valid there."""
    language = language_or_family(path, text)
    lines = text.splitlines(keepends=True)
    if language not in statements or line > len(lines):
        return None
    indent = re.match(rb"[ \t]*", lines[line - 1])[0]
    lines.insert(line - 1, indent + statements[language] + b"\n")
    found = b"".join(lines)
    return found if language != "python" or _statements(found) else None
