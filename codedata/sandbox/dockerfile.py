"""Read a Dockerfile as every builder of the engine does, old or new.

What they read in different ways is refused: directives of the parser, here-documents, options that
BuildKit alone has, ONBUILD. So is a FROM that names no image in which a step can run.
"""
from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

ODD = re.compile(r"[^\S \t]|[\x00-\x08\x0e-\x1f\x7f]")   # a blank to some readers alone
DIRECTIVE = re.compile(r"\s*#\s*(syntax|escape|check)\s*=", re.IGNORECASE)
PASSED_OVER = re.compile(r"[ \t]*(#|$)")
CONTINUED = re.compile(r"(?<!\\)\\[ \t]*$")
FLAGS = re.compile(r"(--\S+\s+)*")
NOT_CLASSIC = re.compile(r"#.*|ONBUILD\b|RUN\s+--\S*|(?:RUN|COPY|ADD)\s(?:.*\s)?\d*<<(?!<)\S*",
                         re.IGNORECASE)
VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::?-([^{}]*))?\})")
IMAGE = re.compile(r"(?!scratch(\s|$))\w[\w.:/@-]*(\s|$)", re.ASCII)


class Instruction(NamedTuple):
    """Hold an instruction, without the line breaks and comments within it."""

    text: str    # all of it
    name: str    # in upper case
    rest: str    # its arguments, behind its flags; with their values in ARG and FROM


def read_dockerfile(text: str) -> tuple[list[Instruction], str]:
    """Return (the instructions, "" or why the Dockerfile is refused, with the line)."""
    args: dict[str, str] = {}
    found: list[Instruction] = []
    for line, joined in _joined(text):
        try:
            found.append(_instruction(joined, args))
        except ValueError as e:
            return found, f"line {line} of the Dockerfile: {e}"
    return found, ""


def base_of(text: str) -> str:
    """Return the image that a Dockerfile begins with, "" where it does not say."""
    return next((one.rest.split()[0] for one in read_dockerfile(text)[0] if one.name == "FROM"), "")


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Yield (number of its first line, text) of each instruction, and of a directive."""
    first, begun = 0, ""
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = line.removesuffix("\r")
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
    """Return an instruction; ARG adds its defaults to the arguments. Raise ValueError for what is
    refused."""
    name, rest = [*text.split(None, 1), "", ""][:2]
    name = name.upper()
    if odd := ODD.search(text) or NOT_CLASSIC.match(text.lstrip()):
        raise ValueError(f"{odd[0][-80:]!r}: directives, options of RUN, here-documents, ONBUILD "
                         "and odd blanks are refused")
    rest = FLAGS.sub("", rest, count=1)
    if name in ("ARG", "FROM"):
        rest = VARIABLE.sub(lambda one: args.get(one[1] or one[2]) or one[3] or "", rest)
    if name == "ARG":
        args |= dict(word.partition("=")[::2] for word in shlex.split(rest))
    if name == "FROM" and not IMAGE.match(rest):
        raise ValueError(f"{text[:80]!r} names no image with a shell: scratch has none, nor a "
                         "variable without default")
    return Instruction(text, name, rest)
