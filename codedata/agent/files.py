"""View, search and edit files of a sandbox. Paths are absolute, in ~/, or relative to bash's directory.

Commands of the sandbox read and write the files, so a tool has no more rights than the sandbox's user. Texts are
UTF-8; edits are for files up to MAX_BYTES. Nothing is promised where two agents edit one file.
"""
from __future__ import annotations

import base64
import difflib
import re
from shlex import quote

from codedata.agent.tools import Failed
from codedata.sandbox import Sandbox

VIEWED = 250              # lines shown by default
FOUND = 100               # matches shown of a search
FOUND_CHARS = 300         # characters shown of a matching line
MAX_BYTES = 600_000      # largest file: its base64 still fits into the output that a sandbox keeps
CHUNK_BYTES = 200_000     # bytes written by one command
AROUND = 3                # lines shown on either side of an edit
LISTED = 10               # line numbers listed where a text occurs more than once
READ = "(set -o pipefail; head -c {n} < {path} | base64 -w 0)"
VIEW = """if [ -d {path} ]; then echo 0; ls -1Ap -- {path}
else awk 'END {{print NR}}' < {path} && sed -n '{start},{end}p' < {path}; fi"""
WRITE = """mkdir -p -- "$(dirname -- {path})" && printf %s {part} | base64 -d {how} {path}"""


def view_file(sandbox: Sandbox, path: str, start: int = 1, end: int = 0) -> str:
    """Show lines of a file with their numbers, or the names in a folder.

    path: of the file or folder
    start: the first line, from 1
    end: the last line; 0: 250 lines from the start
    """
    start = max(1, start)
    end = end if end > 0 else start + VIEWED - 1
    if end < start:
        return Failed(f"`end` ({end}) is before `start` ({start}).")
    result = sandbox.run(VIEW.format(path=_quoted(path), start=start, end=end))
    first, _, body = result.output.partition("\n")
    if not result.ok or not first.isdecimal():
        return Failed(f"{path} cannot be shown: {result.output.strip()}")
    n_lines, lines = int(first), body.removesuffix("\n").split("\n")
    if n_lines == 0:
        return body or f"{path} is empty."
    if start > n_lines:
        return Failed(f"{path} has {n_lines} lines; there is no line {start}.")
    more = f"\n({n_lines - end} more lines follow)" if end < n_lines else ""
    return _numbered(lines, start) + more


def search(sandbox: Sandbox, pattern: str, path: str = ".", files: str = "") -> str:
    """Find lines that match a regular expression (grep -E), in a file or in all files below a folder.

    pattern: the expression
    path: the file or folder
    files: only files with such names, for example *.py
    """
    only = f"--include={quote(files)} " if files else ""
    result = sandbox.run(f"grep -rnHIE --exclude-dir=.git {only}-e {quote(pattern)} -- {_quoted(path)}")
    found = [line for line in result.output.splitlines() if not line.startswith("grep: ")]
    if result.exit_code not in (0, 1) and not found:
        return Failed(result.output.strip() or f"grep ended with {result.exit_code}.")
    found.sort(key=_place)   # the order of a folder's files differs between machines
    lines = [line if len(line) <= FOUND_CHARS else line[:FOUND_CHARS] + " …" for line in found[:FOUND]]
    more = [f"({len(found) - FOUND} more: narrow the search)"] if len(found) > FOUND else []
    return "\n".join(lines + more) or "No line matches."


def edit_file(sandbox: Sandbox, path: str, old: str, new: str) -> str:
    """Replace a text in a file. It has to stand there exactly once, to the letter, with its blanks and line ends.

    path: of the file
    old: the text to replace, with as many lines around it as make it the only one
    new: what is to stand there
    """
    text = _read(sandbox, path)
    if isinstance(text, Failed):
        return text
    if "\r\n" in text and "\r\n" not in old:   # a model sees and writes LF line ends
        old, new = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")
    if not old or old == new:
        return Failed("`old` is empty: nothing to look for." if not old else "`old` and `new` are the same.")
    n = text.count(old)
    if n == 0:
        return Failed(f"`old` does not stand in {path}. {_nearest(text.splitlines(), old.splitlines())}")
    if n > 1:
        return Failed(f"`old` stands in {path} {n} times, at lines {_places(text, old)}. "
                      "Add lines around it, so that it is the only one.")
    before, _, after = text.partition(old)
    if problem := write(sandbox, path, (before + new + after).encode()):
        return problem
    first = before.count("\n") + 1
    start = max(1, first - AROUND)
    lines = (before + new + after).splitlines()[start - 1:first + new.count("\n") + AROUND]
    return f"{path} is edited:\n{_numbered(lines, start)}"


def create_file(sandbox: Sandbox, path: str, content: str) -> str:
    """Write a file, and the folders it needs. What stood in it before is replaced.

    path: of the file
    content: the whole text
    """
    problem = write(sandbox, path, content.encode())
    return problem or f"{path} is written: {len(content.splitlines())} lines."


def write(sandbox: Sandbox, path: str, data: bytes) -> Failed | None:
    """Write a file, keeping the mode and owner of an existing one; return None, or Failed with the reason."""
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
    """Return the file and line number of a line of grep output."""
    found = re.match(r"(.*?):(\d+):", line)
    return (found[1], int(found[2])) if found else (line, 0)


def _places(text: str, old: str) -> str:
    lines, at = [], text.find(old)
    while at >= 0 and len(lines) < LISTED:
        lines.append(str(text.count("\n", 0, at) + 1))
        at = text.find(old, at + len(old))
    return ", ".join(lines) + (", …" if at >= 0 else "")


def _nearest(lines: list[str], wanted: list[str]) -> str:
    """Describe to a model the lines of a file that are most similar to `wanted`."""
    stripped, sought = [line.strip() for line in lines], [line.strip() for line in wanted]
    lines_sought = {line for line in sought if line}
    scores = {at: sum(a == b != "" for a, b in zip(stripped[at:], sought, strict=False)) for at in range(len(lines))
              if not lines_sought.isdisjoint(stripped[at:at + len(sought)])}
    if scores:
        at = max(scores, key=scores.get)
        shown = _numbered(lines[at:at + len(wanted)], at + 1)
        if stripped[at:at + len(sought)] == sought:
            return f"Only its blanks differ from these lines:\n{shown}"
        return f"The nearest lines are:\n{shown}"
    alike = [line for line in wanted if line.strip()][:1]
    near = difflib.get_close_matches(alike[0].strip(), stripped, 3, 0.6) if alike else []
    found = [(i, line) for i, line in enumerate(lines, 1) if line.strip() in near]
    if not found:
        return "No line is like it: look at the file first."
    return "The nearest lines are:\n" + "\n".join(f"{i:6}\t{line}" for i, line in found[:3])
