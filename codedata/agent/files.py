"""View, search and edit files of a sandbox. Paths are absolute, in ~/, or relative to bash's
current folder.

Files are read and written by commands in the sandbox, so a tool has only the rights of the
sandbox's user. Texts are UTF-8; only files up to MAX_BYTES can be edited. If two agents edit one
file at the same time, an edit may be lost.
"""
from __future__ import annotations

import base64
import re
from difflib import SequenceMatcher, get_close_matches
from itertools import islice
from shlex import quote

from codedata.agent.tools import Failed
from codedata.sandbox import Sandbox

VIEW_LINES = 250          # lines shown by default
MAX_MATCHES = 100         # matches shown of a search
MAX_LINE_CHARS = 300      # characters shown of a matching line
MAX_BYTES = 600_000       # largest file: its base64 still fits into the output that a sandbox keeps
CHUNK_BYTES = 200_000     # bytes written by one command
CONTEXT_LINES = 3         # lines shown before and after an edit
MAX_PLACES = 10           # line numbers listed if a text occurs more than once
READ = "(set -o pipefail; head -c {n} < {path} | base64 -w 0)"
VIEW = """if [ -d {path} ]; then echo 0; ls -1Ap -- {path}
else awk 'END {{print NR}}' < {path} && sed -n '{start},{end}p' < {path}; fi"""
WRITE = """mkdir -p -- "$(dirname -- {path})" && printf %s {part} | base64 -d {how} {path}"""
SEARCH = "grep -rnHIE --exclude-dir=.git {only}-e {pattern} -- {path}"


def view_file(sandbox: Sandbox, path: str, start: int = 1, end: int = 0) -> str:
    """Show lines of a file with their numbers, or the names in a folder.

    path: of the file or folder
    start: the first line, from 1
    end: the last line; 0: 250 lines from the start
    """
    start = max(1, start)
    if end <= 0:
        end = start + VIEW_LINES - 1
    if end < start:
        return Failed(f"`end` ({end}) is before `start` ({start}).")
    result = sandbox.run(VIEW.format(path=_quoted(path), start=start, end=end))
    first, _, body = result.output.partition("\n")
    if not result.ok or not first.isdecimal():
        return Failed(f"{path} cannot be shown: {result.output.strip()}")
    n_lines = int(first)
    if n_lines == 0:
        return body or f"{path} is empty."
    if start > n_lines:
        return Failed(f"{path} has {n_lines} lines; there is no line {start}.")
    more = f"\n({n_lines - end} more lines follow)" if end < n_lines else ""
    return _numbered(body.removesuffix("\n").split("\n"), start) + more


def search(sandbox: Sandbox, pattern: str, path: str = ".", files: str = "") -> str:
    """Find lines that match a regular expression (grep -E), in a file or in all files below
    a folder.

    pattern: the expression
    path: the file or folder
    files: only files with such names, for example *.py
    """
    only = f"--include={quote(files)} " if files else ""
    result = sandbox.run(SEARCH.format(only=only, pattern=quote(pattern), path=_quoted(path)))
    matches = [line for line in result.output.splitlines() if not line.startswith("grep: ")]
    if result.exit_code not in (0, 1) and not matches:
        return Failed(result.output.strip() or f"grep ended with {result.exit_code}.")
    matches.sort(key=_place)   # the order of a folder's files differs between machines
    lines = [line if len(line) <= MAX_LINE_CHARS else line[:MAX_LINE_CHARS] + " …"
             for line in matches[:MAX_MATCHES]]
    if len(matches) > MAX_MATCHES:
        lines.append(f"({len(matches) - MAX_MATCHES} more: narrow the search)")
    return "\n".join(lines) or "No line matches."


def edit_file(sandbox: Sandbox, path: str, old: str, new: str) -> str:
    """Replace a text in a file. It has to stand there exactly once, to the letter, with its
    blanks and line ends.

    path: of the file
    old: the text to replace, with as many lines around it as make it the only one
    new: what is to stand there
    """
    text = _read(sandbox, path)
    if isinstance(text, Failed):
        return text
    if "\r\n" in text and "\r\n" not in old:   # models see and write LF line ends
        old = old.replace("\n", "\r\n")
        new = new.replace("\n", "\r\n")
    if not old:
        return Failed("`old` is empty: nothing to look for.")
    if old == new:
        return Failed("`old` and `new` are the same.")
    n = text.count(old)
    if n == 0:
        nearest = _nearest(text.splitlines(), old.splitlines())
        return Failed(f"`old` does not stand in {path}. {nearest}")
    if n > 1:
        return Failed(f"`old` stands in {path} {n} times, at lines {_places(text, old)}. "
                      "Add lines around it, so that it is the only one.")
    first = text[:text.index(old)].count("\n") + 1
    text = text.replace(old, new)
    if problem := write(sandbox, path, text.encode()):
        return problem
    start = max(1, first - CONTEXT_LINES)
    end = first + new.count("\n") + CONTEXT_LINES
    return f"{path} is edited:\n{_numbered(text.splitlines()[start - 1:end], start)}"


def create_file(sandbox: Sandbox, path: str, content: str) -> str:
    """Write a file, and the folders it needs. What stood in it before is replaced.

    path: of the file
    content: the whole text
    """
    problem = write(sandbox, path, content.encode())
    return problem or f"{path} is written: {len(content.splitlines())} lines."


def write(sandbox: Sandbox, path: str, data: bytes) -> Failed | None:
    """Write a file, keeping the mode and owner of an existing one; return None, or Failed with
    the reason."""
    for at in range(0, max(len(data), 1), CHUNK_BYTES):
        part = base64.b64encode(data[at:at + CHUNK_BYTES]).decode()
        result = sandbox.run(WRITE.format(path=_quoted(path), part=part, how=">>" if at else ">"))
        if not result.ok:
            return Failed(f"{path} cannot be written: {result.output.strip()}")
    return None


def _read(sandbox: Sandbox, path: str) -> str:
    """Return the text of a file, or Failed with the reason."""
    result = sandbox.run(READ.format(path=_quoted(path), n=MAX_BYTES + 1))
    try:
        data = base64.b64decode(result.output, validate=True)
        if result.ok and len(data) <= MAX_BYTES:
            return data.decode()
    except UnicodeDecodeError:
        return Failed(f"{path} is not a UTF-8 text: edit it with bash.")
    except ValueError:   # output that is not base64 is an error message
        return Failed(f"{path} cannot be read: {result.output.strip()}")
    return Failed(f"{path} is longer than {MAX_BYTES:,} bytes: edit it with bash.")


def _quoted(path: str) -> str:
    """Return a path quoted for bash; only a leading ~/ is expanded."""
    return '"$HOME"/' + quote(path[2:]) if path.startswith("~/") else quote(path)


def _numbered(lines: list[str], start: int) -> str:
    return "\n".join(f"{n:6}\t{line}" for n, line in enumerate(lines, start))


def _place(line: str) -> tuple[str, int]:
    """Return the file and line number of a line that grep printed."""
    match = re.match(r"(.*?):(\d+):", line)
    return (match[1], int(match[2])) if match else (line, 0)


def _places(text: str, old: str) -> str:
    """Return the line numbers of the first MAX_PLACES occurrences of `old`."""
    matches = islice(re.finditer(re.escape(old), text), MAX_PLACES + 1)
    lines = [str(text.count("\n", 0, match.start()) + 1) for match in matches]
    if len(lines) > MAX_PLACES:
        lines[MAX_PLACES:] = "…"
    return ", ".join(lines)


def _nearest(lines: list[str], wanted: list[str]) -> str:
    """Describe to a model the lines of a file that are most similar to `wanted`."""
    stripped = [line.strip() for line in lines]
    sought = [line.strip() for line in wanted]
    same = SequenceMatcher(None, stripped, sought, autojunk=False).find_longest_match()
    if any(stripped[same.a:same.a + same.size]):
        start = max(0, same.a - same.b)
        end = start + len(wanted)
        shown = _numbered(lines[start:end], start + 1)
        if stripped[start:end] == sought:
            return f"Only its blanks differ from these lines:\n{shown}"
        return f"The nearest lines are:\n{shown}"
    first = next(filter(None, sought), "")
    near = get_close_matches(first, stripped, 3)
    numbers = [i for i, line in enumerate(stripped) if line and line in near][:3]
    shown = "\n".join(_numbered([lines[i]], i + 1) for i in numbers)
    if not shown:
        return "No line is like it: look at the file first."
    return f"The nearest lines are:\n{shown}"
