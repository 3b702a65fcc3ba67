"""Read the actions in a model's reply: native tool calls, or a THOUGHT and one bash block.

A reply becomes an AgentTurn: the message for the history, and its actions. An action or turn that
cannot be carried out has a `problem`, which is sent to the model. A text without any action, even a
malformed one, is prose, and may be the model's answer.
"""
from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from codedata.agent.tools import Tool
from codedata.llm import Reply
from codedata.texts import printable, storable, text_of

BLOCK = re.compile(r"^```bash[ \t]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
OPENING = re.compile(r"^```bash\b", re.MULTILINE)
ATTEMPT = re.compile(r"^```(?:bash|sh|shell)\b|<tool_call>", re.MULTILINE)   # valid action or not
THINKING = re.compile(r"\A.*</think(?:ing)?>", re.DOTALL)   # a template may add the opening tag
EMPTY_REPLY = "(nothing)"   # endpoints refuse empty assistant messages
SHOWN_CHARS = 60            # characters shown of a call, or of an invalid argument or name
MAX_CHARS = 200_000         # limit for a reply or arguments: each later request repeats them
OVER_LIMIT = f"longer than {MAX_CHARS:,} characters: write a long file in several steps"


@dataclass(frozen=True)
class Action:
    """Hold a call of a tool."""

    tool: str
    arguments: dict
    id: str = ""             # the call's id; empty in the text protocol
    problem: str = ""        # why it cannot be carried out

    def __str__(self) -> str:
        """Return the call as a short line for the terminal."""
        return printable(" ".join(map(str, [self.tool, *self.arguments.values()])), SHOWN_CHARS)


@dataclass(frozen=True)
class AgentTurn:
    """Hold one reply of a model: its message and its actions."""

    message: dict
    actions: list[Action] = field(default_factory=list)
    problem: str = ""        # why there is no action
    is_prose: bool = False   # the reply is a complete text that attempts no action


def read_turn(reply: Reply, protocol: str, tools: dict[str, Tool]) -> AgentTurn:
    """Return a reply in a protocol, "native" or "text", as an AgentTurn."""
    head, fence, rest = reply.text.partition("```")   # ignore tags inside code blocks
    text = storable((THINKING.sub("", head) + fence + rest).strip())
    message = {"role": "assistant", "content": text or EMPTY_REPLY}
    if reply.truncated:
        return AgentTurn(message, problem=packaged("cut_short.md"))
    if len(text) > MAX_CHARS:
        message["content"] = f"{text[:SHOWN_CHARS]} …"
        return AgentTurn(message, problem=f"your reply is {OVER_LIMIT}")
    if protocol == "text":
        command, problem = one_command(text)
        actions = [Action("bash", {"command": command})]
    else:
        actions = [_native_action(tools, storable(call["id"]), **call["function"])
                   for call in reply.tool_calls]
        problem = "" if actions else "your reply has no tool call in it"
    if problem:
        return AgentTurn(message, [], problem, bool(text) and not ATTEMPT.search(text))
    # serialise the parsed arguments again, since endpoints refuse invalid calls in a history
    calls = [{"id": action.id, "type": "function", "function": {
        "name": action.tool, "arguments": json.dumps(action.arguments, ensure_ascii=False)}}
        for action in actions if action.id]
    if calls:
        message |= {"content": text or None, "tool_calls": storable(calls)}
    return AgentTurn(message, actions)


def _native_action(tools: dict[str, Tool], call_id: str, name: str, arguments: str) -> Action:
    """Return the action of a native tool call of the API."""
    if name not in tools:
        problem = f"There is no tool {name[:SHOWN_CHARS]!r}. There are {', '.join(tools)}."
        is_safe = re.fullmatch(r"[\w-]{1,64}", name, re.ASCII)
        return Action(name if is_safe else "unknown", {}, call_id, problem)
    parsed = _arguments(arguments or "{}")
    if isinstance(parsed, str):
        return Action(name, {}, call_id, f"{name} was not called: its arguments are {parsed}.")
    return Action(name, parsed, call_id, tools[name].problem(parsed))


def observation(action: Action, text: str) -> dict:
    """Return the message with an action's result."""
    if action.id:
        return {"role": "tool", "tool_call_id": action.id, "content": text}
    return {"role": "user", "content": text}


def one_command(text: str) -> tuple[str, str]:
    """Return (the command of the only bash block, ''), or ('', the problem)."""
    n_openings = len(OPENING.findall(text))
    if not n_openings:
        return "", "there is no bash block in your reply"
    if n_openings > 1:
        return "", f"there are {n_openings} bash blocks in your reply"
    block = BLOCK.search(text)
    if not block:
        return "", "the bash block has no end"
    if not block[1].strip():
        return "", "the bash block is empty"
    return block[1].strip("\r\n"), ""


def packaged(name: str) -> str:
    """Return a prompt text of this package."""
    return text_of("codedata.agent", name).strip()


def _arguments(raw: str) -> dict | str:
    """Return the arguments of a call, or the problem with them."""
    if len(raw) > MAX_CHARS:
        return OVER_LIMIT
    try:
        arguments = json.loads(raw, strict=False)   # accepts raw line ends in strings
    except json.JSONDecodeError as e:
        near = raw[max(0, e.pos - SHOWN_CHARS // 2):e.pos + SHOWN_CHARS // 2]
        return f"not valid JSON, {e.msg} at character {e.pos}, near {near!r}"
    except (RecursionError, ValueError):
        return "nested too deep, or hold a number that is too long"
    return arguments if isinstance(arguments, dict) else "not a JSON object"
