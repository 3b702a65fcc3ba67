"""Parse a Dockerfile so that the result is right for every builder of the engine, old or new.

read_dockerfile() refuses syntax that builders parse differently (parser directives, here-documents,
options of BuildKit, ONBUILD), and a FROM without an image that can run a step. rewritten() replaces
such syntax in an untrusted Dockerfile, if it has an equivalent for all builders.
"""
from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from codedata.errors import ItemFailed

MAX_CHARS = 100_000     # limit for the characters of an untrusted Dockerfile
MAX_REWRITTEN = 1_000_000   # limit after here-documents were replaced by scripts
MAX_EXPANDED = 10_000   # limit for an ARG or FROM after its variables were expanded
# characters that only some parsers treat as whitespace
ODD = re.compile(r"[^\S \t]|[\x00-\x08\x0e-\x1f\x7f]")
DIRECTIVE = re.compile(r"\s*#\s*(syntax|escape|check)\s*=", re.IGNORECASE)
PASSED_OVER = re.compile(r"[ \t]*(#|$)")
CONTINUED = re.compile(r"(?<!\\)\\[ \t]*$")
FLAG, FLAGS = re.compile(r"\S+\s+"), re.compile(r"(--\S+\s+)*")
# a character of a word, or a quoted part of it
QUOTED = r"""(?:[^\s"'\\<]|\\.|"(?:\\.|[^"\\])*"|'[^']*')"""
WORD = re.compile(rf"(?:{QUOTED}|<)+")
HERE = rf"(?:RUN|COPY|ADD)\s(?:{QUOTED}|<|\s)*?(?<=\s)\d*<<(?=[^\s<])\S+"
NOT_CLASSIC = re.compile(rf"#.*|ONBUILD\b|RUN\s+--\S*|{HERE}", re.IGNORECASE)
# removed from an untrusted Dockerfile: directives, and mounts that are empty in a first build
SYNTAX = re.compile(r"\s*#\s*(syntax|check)\s*=", re.IGNORECASE)
EMPTY_MOUNT = re.compile(r"--mount=(?:\S*,)?type=(?:cache|tmpfs)[,\s]")
DOCUMENT = re.compile(r"<<(-?)([\"']?)([A-Za-z_][\w.]*)\2")
SHELL = ["/bin/sh", "-c"]
RUNS_FILE = 'f=$(mktemp) && printf %s "$0" >"$f" && chmod 755 "$f" && "$f" && rm "$f"'
VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-([^{}]*))?\})")
IMAGE = re.compile(r"(?!scratch(\s|$))\w[\w.:/@-]*(\s|$)", re.ASCII)


class Instruction(NamedTuple):
    """Hold an instruction, without its inner line breaks and comments."""

    text: str    # the whole instruction
    name: str    # in upper case
    rest: str    # its arguments, after its flags; in ARG and FROM with values for variables


def read_dockerfile(text: str) -> tuple[list[Instruction], str]:
    """Return (the instructions, the reason why the Dockerfile is refused, or ""). The reason names
    the line."""
    args: dict[str, str] = {}
    found: list[Instruction] = []
    for line, joined in _joined(_lines(text)):
        try:
            found.append(_instruction(joined, args))
        except ValueError as e:
            return found, f"line {line} of the Dockerfile: {e}"
    return found, ""


def base_of(text: str) -> str:
    """Return the image of a Dockerfile's first FROM, or ""."""
    instructions, _ = read_dockerfile(rewritten(text)[0])
    return next((one.rest.split()[0] for one in instructions if one.name == "FROM"), "")


def rewritten(text: str) -> tuple[str, dict[str, bytes]]:
    """Turn the here-documents of an untrusted Dockerfile into arguments or files; drop its cache
    mounts and its syntax directive. Return (the new text, the files to add to its context). Other
    syntax that builders parse differently stays. Raise ItemFailed if the text is too long."""
    if len(text) > MAX_CHARS:
        raise ItemFailed(f"its Dockerfile has more than {MAX_CHARS:,} characters")
    lines, shell, files = _lines(text), SHELL, {}
    found = []
    n_chars = 0
    for _, joined in _joined(lines):
        name, rest = [*joined.split(None, 1), "", ""][:2]
        name = name.upper()
        if SYNTAX.match(joined):
            continue
        if name in ("FROM", "SHELL"):
            shell = re.findall(r'"([^"]*)"', rest) if name == "SHELL" else SHELL
        if name == "RUN":
            flags = FLAGS.match(rest)[0]
            kept = [flag for flag in FLAG.findall(flags) if not EMPTY_MOUNT.match(flag)]
            rest = "".join(kept) + rest[len(flags):]
            joined = f"RUN {rest}"
        words = [word for word in WORD.finditer(rest) if DOCUMENT.fullmatch(word[0])]
        if words and name in ("RUN", "COPY", "ADD"):
            bodies = [[*_body(word[0], lines)] for word in words]
            joined = (_run_of(rest, bodies, shell) if name == "RUN" else
                      _copy_of(joined, iter(bodies), files))
        found.append(joined)
        n_chars += len(joined)
        if n_chars > MAX_REWRITTEN:
            raise ItemFailed(f"its Dockerfile has more than {MAX_REWRITTEN:,} characters, with a "
                             "shell for each here-document")
    return "\n".join(found), files


def _body(word: str, lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    """Yield the lines of a here-document and its end marker; for `<<-`, without leading tabs."""
    strips, _, end = DOCUMENT.fullmatch(word).groups()
    for _, line in lines:
        line = line.lstrip("\t") if strips else line
        yield line
        if line == end:
            return


def _run_of(rest: str, bodies: list[list[str]], shell: list[str]) -> str:
    """Return a RUN instruction with its here-documents as an argument of the shell."""
    flags = FLAGS.match(rest)[0]
    script = "\n".join([rest[len(flags):], *(line for body in bodies for line in body)])
    if DOCUMENT.fullmatch(rest[len(flags):].strip()):   # the here-document is the whole script
        script = "".join(f"{line}\n" for line in bodies[0][:-1])
    shell = [*SHELL, RUNS_FILE] if script.startswith("#!") else shell
    return f"RUN {flags}{json.dumps([*shell, script])}"


def _copy_of(text: str, bodies: Iterator[list[str]], files: dict[str, bytes]) -> str:
    """Return a COPY or ADD instruction with its here-documents replaced by files; add these to
    `files`. A here-document with variables stays, since only the builder knows their values."""
    def path_of(word: re.Match) -> str:
        document = DOCUMENT.fullmatch(word[0])
        content = "".join(f"{line}\n" for line in next(bodies)[:-1]) if document else ""
        if not document or ("$" in content and not document[2]):
            return word[0]
        path = f".codedata-here/{len(files)}/{document[3]}"
        files[path] = content.encode()
        return path
    return WORD.sub(path_of, text)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    lines = text.removeprefix("\ufeff").split("\n")
    return ((number, line.removesuffix("\r")) for number, line in enumerate(lines, 1))


def _joined(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield (number of its first line, text) of each instruction and directive."""
    first, begun = 0, ""
    for number, line in lines:
        if PASSED_OVER.match(line) and (first or not DIRECTIVE.match(line)):
            continue
        first = first if begun else number
        begun += CONTINUED.sub("", line)
        if not CONTINUED.search(line):
            yield first, begun
            begun = ""
    if begun:
        yield first, begun


def _instruction(text: str, args: dict[str, str]) -> Instruction:
    """Return the instruction in a text; ARG adds its defaults to `args`. Raise ValueError if it is
    refused."""
    name, rest = [*text.split(None, 1), "", ""][:2]
    name = name.upper()
    if odd := ODD.search(text) or NOT_CLASSIC.match(text.lstrip()):
        raise ValueError(f"{odd[0][-80:]!r}: directives, options of RUN, here-documents, ONBUILD "
                         "and odd blanks are refused")
    rest = FLAGS.sub("", rest, count=1)
    if name in ("ARG", "FROM"):
        if len(rest) <= MAX_EXPANDED:
            rest = VARIABLE.sub(lambda one: args.get(one[1] or one[2]) or one[3] or "", rest)
        if len(rest) > MAX_EXPANDED:   # check each line, since each line can double the length
            raise ValueError(f"{text[:80]!r} has more than {MAX_EXPANDED:,} characters")
    if name == "ARG":
        args |= dict(word.partition("=")[::2] for word in shlex.split(rest))
    if name == "FROM" and not IMAGE.match(rest):
        raise ValueError(f"{text[:80]!r} names no image with a shell: scratch has none, nor a "
                         "variable without default")
    return Instruction(text, name, rest)
