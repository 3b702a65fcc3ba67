r"""What a turn must look like: prose, then exactly one non-empty bash block.

    THOUGHT: I look at the parser first.          (the label is not required, the prose is)

    ```bash
    sed -n '1,80p' src/parser.py
    ```

The rules, in this order. Each text is judged as the agent's harness would read it, which runs what stands between a
line "```bash" and the next line "```":

1.  A reply that was cut at its token limit is no turn.
2.  Thinking that leaked (`<think>…</think>`, also without its opening tag) is cut off first. Thinking without an end
    leaves nothing.
3.  `<|tool_calls_section_begin|>` at the start: a tool call in another protocol.
4.  Exactly one bash block: opened by a line "```bash" (nothing else on it but blanks), closed by a line "```". A second
    one, a missing end, "```sh" or "```bash ls```" on one line do not pass. Blocks of other languages may stand in the
    prose, but a fence inside the bash block makes its end ambiguous, so it does not pass.
5.  The block holds more than blanks.
6.  Prose stands before the block; a label alone is none.
7.  After the block, prose is allowed but not an observation that the model made up.
8.  NUL bytes and half characters (lone surrogates) cannot be stored.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

from codedata.records import text_problem

TOOL_CALLS = "<|tool_calls_section_begin|>"
THINKING = (("<think>", "</think>"), ("<thinking>", "</thinking>"), ("◁think▷", "◁/think▷"))
FENCE = re.compile(r"^ {0,3}```[ \t]*([^\s`]*)(.*)$")
LABEL = re.compile(r"\**\s*THOUGHTS?\s*\**\s*:\s*\**", re.IGNORECASE)
OBSERVATION = re.compile(r"^\s*(\**observation\**\s*:|<(output|returncode|observation)>)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Turn:
    """A well-formed agent turn."""

    thought: str
    command: str


def clean(text: str) -> str:
    """The reply without leaked thinking and without blanks around it."""
    text = text.strip()
    for opening, closing in THINKING:
        if text.startswith(opening):
            text = text.partition(closing)[2].strip()
        else:
            before, found, after = text.partition(closing)
            if found and "```" not in before:   # the opening tag was part of the prompt's template
                text = after.strip()
    return text


def format_problem(text: str, truncated: bool = False) -> str | None:
    """Why a reply is not a turn, in a few words, or None."""
    if truncated:
        return "truncated at max_tokens"
    return read_turn(text)[1]


def format_ok(text: str, truncated: bool = False) -> bool:
    return format_problem(text, truncated) is None


def parse_turn(text: str) -> Turn | None:
    """The thought and the command of a well-formed turn, else None."""
    return read_turn(text)[0]


def has_one_bash_block(text: str) -> bool:
    """True where a data set's own turn holds exactly one non-empty bash block, whatever else it says."""
    lines = text.split("\n")
    blocks, problem = _bash_blocks(lines)
    return not problem and len(blocks) == 1 and bool("".join(lines[blocks[0][0] + 1:blocks[0][1]]).strip())


def read_turn(text: str) -> tuple[Turn | None, str | None]:
    """(turn, None) or (None, what is wrong)."""
    text = clean(text)
    if not text:
        return None, "empty answer"
    if problem := text_problem(text):
        return None, f"the answer {problem}"
    if text.startswith(TOOL_CALLS):
        return None, "a tool call, not a bash block"
    lines = text.split("\n")
    blocks, problem = _bash_blocks(lines)
    if problem:
        return None, problem
    if len(blocks) != 1:
        return None, "no bash block" if not blocks else f"{len(blocks)} bash blocks"
    first, last = blocks[0]
    command = "\n".join(lines[first + 1:last]).strip("\r\n")
    if not command.strip():
        return None, "an empty bash block"
    thought = LABEL.sub("", "\n".join(lines[:first]), count=1).strip()
    if not any(c.isalnum() for c in thought):
        return None, "no thought before the bash block"
    if OBSERVATION.search("\n".join(lines[last + 1:])):
        return None, "an observation made up after the bash block"
    return Turn(thought, command), None


def _bash_blocks(lines: list[str]) -> tuple[list[tuple[int, int]], str | None]:
    """([(line of the opening fence, of the closing one)], None), or what is wrong with the fences."""
    blocks, start, language = [], None, ""
    for i, line in enumerate(lines):
        fence = FENCE.match(line.rstrip("\r"))
        if not fence:
            continue
        word, rest = fence[1], fence[2].strip()
        if start is None:
            if word == "bash" and rest:
                return [], "more than ```bash on the line that opens the block"
            if word and "```" in rest:
                continue   # an inline span, opened and closed on this line
            start, language = i, word
        elif not word and not rest:
            if language == "bash":
                blocks.append((start, i))
            start = None
        elif language == "bash":
            return [], "a fence inside the bash block"
        elif word == "bash" and not rest:
            return [], "a bash block inside another block"
    if start is not None:
        return blocks, "a bash block without an end" if language == "bash" else "a block without an end"
    return blocks, None
