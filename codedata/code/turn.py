r"""Check that a turn is well-formed: prose, then exactly one non-empty bash block.

    THOUGHT: I look at the parser first.          (the prose is required, the label is not)

    ```bash
    sed -n '1,80p' src/parser.py
    ```

The rules apply in this order. A turn that passes is read the same way by an agent's harness, which
runs the text between "```bash" at the end of a line and the next line that starts with "```".

1.  A reply that was cut at its token limit is not a turn.
2.  Leaked thinking (`<think>…</think>`, also without its opening tag) is removed first. If it has
    no closing tag, nothing remains. A tag in backticks is a mention of the tag, and is kept.
3.  NUL bytes and lone surrogates do not pass, because they cannot be stored.
4.  `<|tool_calls_section_begin|>` at the start does not pass: that is another tool call protocol.
5.  There is exactly one bash block, opened by a line "```bash" and closed by a line "```"; both
    lines may end in blanks. A second one, a missing end, "```sh", "```bash ls```" on one line, and
    indented or longer fences do not pass. Blocks of other languages may come before it, and after
    it if they name their language. A fence inside it does not pass.
6.  The block contains more than whitespace.
7.  Prose comes before the block; a label alone or a block of code is not prose.
8.  Prose may follow the block, but not an observation that the model made up. No prose contains
    thinking tags or special tokens (`<|im_end|>`), unless in backticks.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

from codedata.records import text_problem

TOOL_CALLS = "<|tool_calls_section_begin|>"
THINKING = (("<think>", "</think>"), ("<thinking>", "</thinking>"), ("◁think▷", "◁/think▷"))
# this matches thinking tags and special tokens such as <|im_end|>
TAG = re.compile(r"(?<!`)(?:</?think(?:ing)?>|◁/?think▷|<\|\w+\|>)")
FENCE = re.compile(r" {0,3}(`{3,})([^`]*)\Z")
BLANKS = re.compile(r"\s*")
HARNESS_OPENING = re.compile(r"```bash[ \t]*\r?\n")
# repeats are bounded, so that a megabyte of stars or line ends does not take quadratic time
LABEL = re.compile(r"[#*_ ]{0,8}THOUGHTS?[*_]{0,4}(?:[ ]{0,4}[:：][*_]{0,4}|[ ]{0,8}(?=\n|\Z))", re.IGNORECASE)
OBSERVATION = re.compile(r"^[ \t>#*_]{0,8}(?:observations?[*_ ]{0,6}(?::|\r?$)|<(?:output|returncode|observation)\b)",
                         re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Turn:
    """Hold the thought and the command of a well-formed agent turn."""

    thought: str
    command: str


@dataclass(frozen=True)
class _Block:
    language: str
    first: int    # line of the opening fence
    last: int     # line of the closing one


def clean(text: str) -> str:
    """Return the reply without leaked thinking and outer blanks, or "" if thinking has no end."""
    text, at = text.strip(), 0
    before_blocks = text.find("```")
    for _, closing in THINKING:   # the opening tag may have been part of the prompt template
        end = text.rfind(closing, 0, before_blocks if before_blocks >= 0 else len(text))
        if end >= 0 and text[end - 1:end] != "`":
            at = max(at, end + len(closing))
    while True:
        at = BLANKS.match(text, at).end()
        closing = next((closing for opening, closing in THINKING if text.startswith(opening, at)), None)
        if closing is None:
            return text[at:]
        end = text.find(closing, at)
        if end < 0:
            return ""
        at = end + len(closing)


def format_problem(text: str, truncated: bool = False) -> str | None:
    """Return in a few words why a reply is not a well-formed turn, or None if it is one."""
    return "truncated at max_tokens" if truncated else read_turn(text)[1]


def format_ok(text: str, truncated: bool = False) -> bool:
    """Return whether a reply is a well-formed turn."""
    return format_problem(text, truncated) is None


def parse_turn(text: str) -> Turn | None:
    """Return the thought and the command of a well-formed turn, else None."""
    return read_turn(text)[0]


def has_one_bash_block(text: str) -> bool:
    """Return whether a turn has exactly one non-empty bash block; check no other rule."""
    lines = text.split("\n")
    blocks, problem = _blocks(lines)
    bash = [b for b in blocks if b.language == "bash"]
    return not problem and len(bash) == 1 and bool("".join(lines[bash[0].first + 1:bash[0].last]).strip())


def read_turn(text: str) -> tuple[Turn | None, str | None]:
    """Return (turn, None), or (None, the reason) if the text is not a well-formed turn."""
    text = clean(text)
    if not text:
        return None, "empty answer"
    if problem := text_problem(text):
        return None, f"the answer {problem}"
    if text.startswith(TOOL_CALLS):
        return None, "a tool call, not a bash block"
    lines = text.split("\n")
    blocks, problem = _blocks(lines)
    bash = [b for b in blocks if b.language == "bash"]
    if len(bash) > 1 or not (bash or problem):
        return None, f"{len(bash)} bash blocks" if bash else "no bash block"
    if bash and OBSERVATION.search("\n".join(lines[bash[0].last + 1:])):
        return None, "an observation made up behind the bash block"
    if problem:
        return None, problem
    command = "\n".join(lines[bash[0].first + 1:bash[0].last]).strip("\r\n")
    if not command.strip():
        return None, "an empty bash block"
    if [found.strip("\r\n") for found in _harness_commands(text)] != [command]:
        return None, "fences that a harness reads otherwise"
    thought = _prose(lines, blocks, bash[0].first)
    thought = thought[label.end():].strip() if (label := LABEL.match(thought)) else thought
    if not any(c.isalnum() for c in thought):
        return None, "no thought before the bash block"
    if TAG.search(thought) or TAG.search("\n".join(lines[bash[0].last + 1:])):
        return None, "thinking tags or special tokens in the prose"
    return Turn(thought, command), None


def _blocks(lines: list[str]) -> tuple[list[_Block], str | None]:
    """Return the fenced blocks up to the first faulty fence, and the fault or None."""
    blocks: list[_Block] = []
    start, ticks, language, has_bash = -1, 0, "", False
    for i, line in enumerate(lines):
        line = line.rstrip(" \t\r")
        if language == "bash" and start >= 0:
            if line == "```":
                blocks.append(_Block("bash", start, i))
                start, has_bash = -1, True
            elif re.match(" {0,3}```", line):
                return blocks, "a fence inside the bash block"
            continue
        fence = FENCE.match(line)
        if not fence:
            continue
        n, info = len(fence[1]), fence[2].strip()
        if start >= 0:
            if not info and n >= ticks:
                blocks.append(_Block(language, start, i))
                start = -1
            elif line == "```bash":
                return blocks, "a bash block inside another block"
            continue
        start, ticks, language = i, n, info or "(none)"
        if info.split()[:1] == ["bash"] and line != "```bash":
            return blocks, "a bash block that does not open with a line ```bash"
        if not info and has_bash:
            return blocks, "a fence without a language behind the bash block"
    if start >= 0:
        return blocks, "a bash block without an end" if language == "bash" else "a block without an end"
    return blocks, None


def _prose(lines: list[str], blocks: list[_Block], end: int) -> str:
    """Return the text before line `end`, without blocks of code."""
    inside = {i for b in blocks if b.first < end for i in range(b.first, b.last + 1)}
    return "\n".join(line for i, line in enumerate(lines[:end]) if i not in inside).strip()


def _harness_commands(text: str) -> list[str]:
    """Return the commands that a harness would run. A single regex would take quadratic time."""
    commands, at = [], 0
    while opening := HARNESS_OPENING.search(text, at):
        end = text.find("\n```", opening.end())
        if end < 0:
            break
        commands.append(text[opening.end():end])
        at = end + 4
    return commands
