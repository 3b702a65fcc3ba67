r"""Read a turn, and check that it is well-formed in the Form of its conversation.

A turn is either a text with exactly one block to run, or an assistant message with calls of tools
that run, read, search, edit or submit (tool_calls.py): one call, or several made before any result
was seen. FENCES has the languages of blocks to run; a conversation uses one of them. `Form.read`
reads every kind of turn. These rules are for a text with a bash block:

    THOUGHT: I look at the parser first.          (the prose is required, the label is not)

    ```bash
    sed -n '1,80p' src/parser.py
    ```

If a text breaks several rules, problem() reports only one, mostly the first. An agent's harness
runs the text between "```bash" at the end of a line and the next line that starts with "```". In a
turn that passes, this text is the block.

1.  A reply that was cut at its token limit is not a turn.
2.  Thinking (`<think>…</think>`, at the start also without its opening tag) is removed from the
    prose first. Without a closing tag it extends to the end. A tag in backticks is a mention of the
    tag and is kept; so is the content of blocks.
3.  NUL bytes and lone surrogates do not pass, because they cannot be stored.
4.  `<|tool_calls_section_begin|>` at the start does not pass: that is another tool call protocol.
5.  There is exactly one bash block, opened by a line "```bash" and closed by a line "```"; both
    lines may end in spaces. A second one, a missing end, "```sh", "```bash ls```" on one line, and
    indented or longer fences do not pass. Blocks of other languages may come before it, and after
    it if they name their language. A fence inside it does not pass.
6.  The block contains more than whitespace.
7.  Prose comes before the block. A label or a block of code does not count as prose.
8.  Prose may follow the block, but not an observation that the model made up. No prose contains
    thinking tags or special tokens (`<|im_end|>`), unless in backticks.

A call needs no prose: one turn in eight of today's agents has none.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from codedata.conversation.tool_calls import (
    Effect,
    bash_texts,
    call_effect,
    call_text,
    function_of,
    is_known,
    parts_of,
    shell_call,
    shell_command,
    text_effect,
)
from codedata.messages import content_text
from codedata.records import Side
from codedata.texts import fill, text_of, text_problem

TOOL_CALLS = "<|tool_calls_section_begin|>"
CLOSING_TAG = re.compile(r"(?<!`)(?:</think(?:ing)?>|◁/think▷)")
# thinking tags and special tokens such as <|im_end|>
TAG = re.compile(r"(?<!`)(?:</?think(?:ing)?>|◁/?think▷|<\|\w+\|>)")
# a block (group 1, to be skipped), or thinking
THOUGHT = re.compile(r"^( {0,3}(`{3,}).*?(?:^ {0,3}\2`*[ \t\r]*$|\Z))|(?<!`)(?:"
                     r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)|◁think▷.*?(?:◁/think▷|\Z))",
                     re.DOTALL | re.MULTILINE | re.IGNORECASE)
FENCE = re.compile(r" {0,3}(`{3,})(.*)\Z")   # groups: its ticks, and the text after them
# the text that a harness runs; takes linear time if the text ends with a fence
HARNESS = re.compile(r"```bash[ \t]*\r?\n(.*?)\n```", re.DOTALL)
# languages of blocks to run: bash's, mini-swe-agent's, and SWE-agent's, which may have no name
FENCES = BASH, MSWEA, COMMAND = "bash", "mswea_bash_command", ""
# the first line of a block to run, or of a block that shows a call
BLOCK = re.compile(r"^`{3,}(?:bash|tool|mswea_bash_command)\b", re.MULTILINE)
# a call that a model wrote as text, so that it was not parsed as a call
WRITTEN_CALL = re.compile(r"<tool_call>|<function=|\"keystrokes\":")
NO_CALL = "no tool call"   # problem of a text, which may be an answer to a user
# repeats are bounded to avoid quadratic time on a megabyte of stars or line ends
LABEL = re.compile(r"\A[#*_ ]{0,8}THOUGHTS?[*_]{0,4}"
                   r"(?:[ ]{0,4}[:：][*_]{0,4}|[ ]{0,8}(?=\n|\Z))", re.IGNORECASE)
OBSERVATION = re.compile(
    r"^[ \t>#*_]{0,8}(?:observations?[*_ ]{0,6}(?::|\r?$)|<(?:output|returncode|observation)\b)",
    re.IGNORECASE | re.MULTILINE)


def clean(text: str) -> str:
    """Return the reply without leaked thinking and outer whitespace."""
    return split_thinking(text)[0]


def split_thinking(text: str) -> tuple[str, str]:
    """Return (a text without thinking and outer whitespace, the thinking with its tags), by rule 2.
    """
    thoughts = [match[0] for match in THOUGHT.finditer(text) if not match[1]]
    text = THOUGHT.sub(r"\1", text).strip()
    # the opening tag may have been part of the prompt template
    ends = [match.end() for match in CLOSING_TAG.finditer(text.partition("```")[0])]
    start = ends[-1] if ends else 0
    return text[start:].strip(), "".join([*thoughts, text[:start]])


@dataclass(frozen=True)
class Form:
    """Describe the form of a conversation's turns: texts with a block of the language `fence` or,
    if there are `tools` (definitions for the chat API), calls of them.

    `several` is set only if a model is asked to answer, and some turn of the agent has several
    calls. It is True if the answer may have several calls, too; with `one_call`, it is False.
    """

    fence: str = BASH
    tools: list[dict] = field(default_factory=list)
    several: bool | None = None

    def problem(self, side: Side, truncated: bool = False) -> str | None:
        """Return why a side is not a well-formed turn, in a few words, or None if it is one."""
        if truncated:
            return "truncated at max_tokens"
        return self.read(side).problem()

    def read(self, side: Side, history: Sequence[dict] = ()) -> Turn | CallTurn:
        """Return a side as a turn, well-formed or not."""
        if self.tools:
            message = {"content": side} if isinstance(side, str) else side
            return CallTurn(message, self.tools, history)
        return Turn(clean(side) if isinstance(side, str) else content_text(side), self.fence,
                    history)


def as_call(text: str, tools: list[dict]) -> dict | None:
    """Return a text with a bash block as a message that calls the shell tool among `tools`. Return
    None if the text is not a well-formed turn, or if there is no shell tool."""
    turn = Turn(clean(text))
    call = None if turn.problem() else shell_call(turn.block, tools)
    return call and {"role": "assistant", "content": turn.thought, "tool_calls": [call]}


def form_of(messages: Sequence[dict], tools: list[dict] | None = None) -> Form:
    """Return the form of a conversation's turns.

    Its tools determine it, else its newest turn that has a form, else the example in its prompts.
    """
    if tools:
        return Form(tools=tools)
    for message in reversed(messages):
        for fence in FENCES if message["role"] == "assistant" else ():
            if Turn(content_text(message), fence).has_one_block():
                return Form(fence)
    texts = [*map(content_text, messages)]
    prompts = "\n".join(texts)
    for fence in (MSWEA, BASH):
        if f"```{fence}\n" in prompts:
            return Form(fence)
    has_example = texts and Turn(texts[0], COMMAND).runnable
    return Form(COMMAND if has_example else BASH)


def n_calls(side: Side | None) -> int:
    """Return the number of calls in a side, or in a message."""
    return len(side.get("tool_calls") or ()) if isinstance(side, dict) else 0


def has_several_calls(sides: Iterable[Side | None]) -> bool:
    """Return whether one of these sides or messages has several calls."""
    return any(n_calls(side) > 1 for side in sides)


def commands_of(turn: Turn | CallTurn) -> list[str]:
    """Return the shell commands equivalent to a turn's calls, in order, without calls that have
    none; [] for a malformed turn."""
    return [] if turn.problem() else [shell_command(effect) for effect in turn.effects
                                      if effect.does != "other"]


def turn_text(side: Side | None, history: Sequence[dict] = (), as_bash: bool = False) -> str:
    """Return a side as text for judges and users: the prose, then a block for each call or, with
    `as_bash`, one block with the equivalent shell commands."""
    if side is None or isinstance(side, str):
        return side or ""
    calls = side.get("tool_calls") or ()
    calls = bash_texts(calls, history) if as_bash else [call_text(one, history) for one in calls]
    return "\n\n".join(filter(None, [content_text(side).strip(), *calls]))


def plain(messages: list[dict], tools: list[dict] | None = None,
          as_bash: bool = False) -> list[dict]:
    """Return a conversation as texts: {role, content} of system, user and assistant only.

    Calls are shown as by turn_text(); a tool's result becomes a message of the user, after a line
    with the number of its call if the turn has several. The first message lists the `tools` and
    explains the form of calls. With `as_bash`, calls become equivalent shell commands, their
    results have no numbers, and the first message asks for bash blocks and lists no tools. A
    conversation of texts is returned unchanged.
    """
    if not tools and all(message["role"] != "tool" and not message.get("tool_calls")
                         and isinstance(message["content"], str) for message in messages):
        return messages
    texts = []
    ids = []   # ids of the calls of the last turn
    for i, message in enumerate(messages):
        role = "user" if message["role"] == "tool" else message["role"]
        text = turn_text(message, messages[:i], as_bash)
        if role == "assistant":
            ids = [call.get("id") for call in message.get("tool_calls") or ()]
        elif not as_bash and len(ids) > 1 and message.get("tool_call_id") in ids:
            text = f"({ids.index(message['tool_call_id']) + 1} of {len(ids)})\n{text}"
        if texts and role == texts[-1]["role"] == "user":
            texts[-1] = {"role": role, "content": f"{texts[-1]['content']}\n\n{text}"}
        else:
            texts.append({"role": role, "content": text})
    if tools:
        note = text_of("codedata.conversation", f"calls_as_{'bash' if as_bash else 'text'}.md")
        note = fill(note, tools=tools_text(tools)).strip()
        system = texts.pop(0)["content"] if texts and texts[0]["role"] == "system" else ""
        texts.insert(0, {"role": "system", "content": f"{system}\n\n{note}".strip()})
    return texts


def tools_text(tools: list[dict]) -> str:
    """Return a line for each tool: its name, its arguments, and the first line of its description.
    """
    lines = []
    for tool in tools:
        function = function_of(tool)
        schema = function.get("parameters") or {}
        arguments = {**dict.fromkeys(schema.get("required") or ()), **schema.get("properties", {})}
        about = str(function.get("description") or "").strip().partition("\n")[0]
        lines.append(f"- {function.get('name')}({', '.join(arguments)}): {about}")
    return "\n".join(lines)


class CallTurn:
    """Hold an assistant message, read as a turn of one or more tool calls."""

    def __init__(self, message: dict, tools: list[dict], history: Sequence[dict]):
        self.message = message
        self.calls = message.get("tool_calls") or []
        self.thought = content_text(message).strip()
        self.text = turn_text(message, history)
        self._tools = {one.get("name"): one for one in map(function_of, tools)}
        # the effect of each call; None if unknown
        self.effects = [call_effect(call, history) for call in self.calls]

    def problem(self) -> str | None:
        """Return why this is not a well-formed turn, or None if it is one."""
        if not self.calls and WRITTEN_CALL.search(self.text):
            return "a call that is cut, or not written in its form"
        if not self.calls:
            return NO_CALL if self.text else "empty answer"
        if problem := text_problem(self.text + json.dumps(self.message, ensure_ascii=False)):
            return f"the answer {problem}"
        calls = [parts_of(call) for call in self.calls]
        if any(call in calls[:i] for i, call in enumerate(calls)):
            return "the same call twice"
        problems = (self._call_problem(*call, effect)
                    for call, effect in zip(calls, self.effects, strict=True))
        if problem := next(filter(None, problems), None):
            return problem
        if OBSERVATION.search(self.thought):
            return "an observation made up before the call"
        if BLOCK.search(self.thought):
            return "a block to run beside the call"
        return prose_problem(self.thought)

    def _call_problem(self, name: str, arguments: dict | None, effect: Effect | None
                      ) -> str | None:
        """Return the problem with one of the calls, or None."""
        if name not in self._tools:
            return f"a call of {name[:60]}, which is none of its tools"
        if arguments is None:
            return "arguments that are no JSON object"
        needed = (self._tools[name].get("parameters") or {}).get("required") or ()
        if missing := [argument for argument in needed if argument not in arguments]:
            return f"a call of {name} without {', '.join(missing)}"
        if not effect and is_known(name):
            return f"a call of {name} without an argument that it needs"
        if not effect:
            return f"the tool {name}, which neither runs, reads, searches nor edits"
        if effect.does in ("run", "python") and not effect.command.strip():
            return "an empty command"
        return None


def prose_problem(prose: str) -> str | None:
    """Return why the prose around a command or call is refused, or None."""
    return "thinking tags or special tokens in the prose" if TAG.search(prose) else None


class Turn:
    """Hold a text, parsed as a turn up to its first faulty fence."""

    def __init__(self, text: str, fence: str = BASH, history: Sequence[dict] = ()):
        lines = text.split("\n")
        self.text = text
        self._fence, self._history = fence, history
        self._languages = {fence} if fence else {BASH, COMMAND}
        self._name = "bash block" if fence else "command block"
        self.in_blocks = set()   # the lines of all blocks, with their fences
        self.runnable = []   # lines of the fences of each block to run
        self.fault = self._read_blocks(lines)   # the problem with the faulty fence, or None
        first, last = self.runnable[0] if self.runnable else (0, 0)
        self.block = "\n".join(lines[first + 1:last]).strip("\r\n")   # without outer line ends
        prose = [line for i, line in enumerate(lines[:first]) if i not in self.in_blocks]
        self.thought = LABEL.sub("", "\n".join(prose).strip()).strip()
        self.behind = "\n".join(lines[last + 1:])

    @property
    def effects(self) -> list[Effect]:
        """Return [the block's effect], a list as for a turn with calls."""
        if self._fence != COMMAND:
            return [Effect("run", self.block)]
        return [text_effect(self.block, self._history)]

    def has_one_block(self) -> bool:
        """Return whether there is exactly one non-empty block to run; check no other rule."""
        return not self.fault and len(self.runnable) == 1 and bool(self.block.strip())

    def problem(self) -> str | None:
        """Return why this is not a well-formed turn, or None if it is one."""
        name = self._name
        if not self.text:
            return "empty answer"
        if problem := text_problem(self.text):
            return f"the answer {problem}"
        if self.text.startswith(TOOL_CALLS):
            return f"a tool call, not a {name}"
        if not self.runnable:
            return self.fault or f"no {name}"
        if len(self.runnable) > 1:
            return f"{len(self.runnable)} {name}s"
        if OBSERVATION.search(self.behind):
            return f"an observation made up after the {name}"
        if self.fault:
            return self.fault
        if not self.block.strip():
            return f"an empty {name}"
        commands = HARNESS.findall(self.text[:self.text.rfind("\n```") + 4])
        if self._fence == BASH and [one.strip("\r\n") for one in commands] != [self.block]:
            return "fences that a harness reads differently"
        if not any(map(str.isalnum, self.thought)):
            return f"no thought before the {name}"
        return prose_problem(self.thought) or prose_problem(self.behind)

    def _read_blocks(self, lines: list[str]) -> str | None:
        """Find the blocks; return the problem with the first faulty fence, or None."""
        start, ticks, language = -1, "", ""   # for the open block; -1 outside of blocks
        opening, name = f"```{self._fence}", self._name
        for i, line in enumerate(lines):
            line = line.rstrip(" \t\r")
            fence = FENCE.match(line)
            if not fence:
                continue
            info = fence[2].strip()
            if start < 0:
                if "`" in info:
                    continue
                if self._fence and info.split()[:1] == [self._fence] and line != opening:
                    return f"a bash block that does not open with a line {opening}"
                if self._fence and not info and self.runnable:
                    return "a fence without a language after the bash block"
                start, ticks, language = i, fence[1], info
                continue
            if language in self._languages and line != "```":
                return f"a fence inside the {name}"
            if self._fence and line == opening:
                return "a bash block inside another block"
            if info or len(fence[1]) < len(ticks):
                continue   # a line of the block
            self.in_blocks.update(range(start, i + 1))
            if language in self._languages:
                self.runnable.append((start, i))
            start = -1
        if start < 0:
            return None
        return f"a {name if language in self._languages else 'block'} without an end"
