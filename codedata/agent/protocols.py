"""Read the actions in a model's reply: native tool calls, or text with a THOUGHT and one bash block.

A reply is read into an AgentTurn: the message that goes into the history, and its actions. An action
or turn that cannot be carried out has a `problem`, which is sent to the model. A text without any
action, not even a malformed one, is prose, and may be the model's answer.
"""
from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Protocol

from codedata.agent.tools import Tool
from codedata.records import storable
from codedata.texts import text_of

BLOCK = re.compile(r"^```bash[ \t]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
OPENING = re.compile(r"^```bash\b", re.MULTILINE)
ATTEMPT = re.compile(r"^```(?:bash|sh|shell)\b|<tool_call>", re.MULTILINE)   # an action, valid or not
THINKING = re.compile(r"\A.*</think(?:ing)?>", re.DOTALL)   # the opening tag may be in the template
EMPTY_REPLY = "(nothing)"   # endpoints refuse empty assistant messages
SHOWN_CHARS = 60            # shown of an argument or name that is invalid


@dataclass(frozen=True)
class Action:
    """Hold a call of a tool."""

    tool: str
    arguments: dict
    id: str = ""             # the call id of the native protocol
    problem: str = ""        # why it cannot be carried out


@dataclass(frozen=True)
class AgentTurn:
    """Hold one reply of a model: its message and its actions."""

    message: dict
    actions: list[Action] = field(default_factory=list)
    problem: str = ""        # the message to the model where its action is malformed or missing
    is_prose: bool = False   # the reply is a whole text that attempts no action


class ModelReply(Protocol):
    """Define what is read of a reply; codedata.llm.Reply implements it."""

    text: str
    tool_calls: list[dict]
    truncated: bool
    call: dict               # model, tokens_in, tokens_out, cost_usd: None where unknown


class Native:
    """Read and write the native tool calls of the API."""

    name = "native"
    instructions = ""

    def __init__(self, tools: dict[str, Tool]):
        self.tools = tools
        self.schemas = [tool.schema for tool in tools.values()]

    def read(self, reply: ModelReply) -> AgentTurn:
        """Return a reply as an AgentTurn."""
        text = without_thinking(reply.text)
        message = {"role": "assistant", "content": text or EMPTY_REPLY}
        if reply.truncated:
            return AgentTurn(message, problem=self.again(packaged("cut_short.md")))
        if not reply.tool_calls and is_prose(text):
            return AgentTurn(message, is_prose=True)
        if not reply.tool_calls:
            return AgentTurn(message, problem=self.again("your reply has no tool call in it"))
        actions = [self._action(call) for call in reply.tool_calls]
        calls = storable([_call(action) for action in actions])
        return AgentTurn({**message, "content": text or None, "tool_calls": calls}, actions)

    def again(self, problem: str) -> str:
        """Return the message that asks for another reply because of a problem."""
        return packaged("native_again.md").replace("{problem}", problem)

    def how_to_hand_in(self, may_write_bash: bool) -> str:
        """Return the message to a model that answered in prose; it may offer the text protocol."""
        names = ["native_prose.md", "native_bash.md"] if may_write_bash else ["native_prose.md"]
        return "\n\n".join(map(packaged, names))

    def observation(self, action: Action, text: str) -> dict:
        """Return the message with an action's result."""
        return {"role": "tool", "tool_call_id": action.id, "content": text}

    def _action(self, call: dict) -> Action:
        name = call["function"]["name"]
        if name not in self.tools:
            problem = f"There is no tool {name[:SHOWN_CHARS]!r}. There are {', '.join(self.tools)}."
            safe = name if re.fullmatch(r"[\w-]{1,64}", name, re.ASCII) else "unknown"
            return Action(safe, {}, call["id"], problem)
        arguments = _arguments(call["function"]["arguments"] or "{}")
        if isinstance(arguments, str):
            return Action(name, {}, call["id"], f"{name} was not called: its arguments are {arguments}.")
        return Action(name, arguments, call["id"], self.tools[name].problem(arguments))


class Text:
    """Read and write a THOUGHT and one bash block, for models without tool calls.

    The only tool is `bash`; a command that prints an end marker ends the run.
    """

    name = "text"
    schemas: tuple = ()

    def __init__(self, tools: dict[str, Tool]):
        names = ["text.md", "text_stop.md"] if "stop" in tools else ["text.md"]
        self.instructions = "\n\n" + "\n\n".join(map(packaged, names))

    def read(self, reply: ModelReply) -> AgentTurn:
        """Return a reply as an AgentTurn."""
        text = without_thinking(reply.text)
        message = {"role": "assistant", "content": text or EMPTY_REPLY}
        command, problem = one_command(text)
        if reply.truncated:
            problem = packaged("cut_short.md")
        elif is_prose(text):
            return AgentTurn(message, is_prose=True)
        if problem:
            return AgentTurn(message, problem=self.again(problem))
        return AgentTurn(message, [Action("bash", {"command": command})])

    def again(self, problem: str) -> str:
        """Return the message that asks for another reply because of a problem."""
        return packaged("text_again.md").replace("{problem}", problem)

    def how_to_hand_in(self, _) -> str:
        """Return the message to a model that answered in prose."""
        return packaged("text_prose.md")

    def observation(self, action: Action, text: str) -> dict:
        """Return the message with an action's result."""
        return {"role": "user", "content": text}


def is_prose(text: str) -> bool:
    """Return whether a text says something and attempts no action."""
    return bool(text) and not ATTEMPT.search(text)


def one_command(text: str) -> tuple[str, str]:
    """Return (the command of the only bash block, ''), or ('', what is wrong)."""
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


def without_thinking(text: str) -> str:
    """Return the text without leading thinking; a closing tag inside a code block is part of it."""
    head, fence, rest = text.partition("```")
    return storable((THINKING.sub("", head) + fence + rest).strip())


def packaged(name: str) -> str:
    """Return a prompt text of this package."""
    return text_of("codedata.agent", name).strip()


def _arguments(raw: str) -> dict | str:
    """Return the arguments of a call, or what is wrong with them."""
    try:
        arguments = json.loads(raw, strict=False)   # accepts raw line ends in strings
    except json.JSONDecodeError as e:
        near = raw[max(0, e.pos - SHOWN_CHARS // 2):e.pos + SHOWN_CHARS // 2]
        return f"not valid JSON, {e.msg} at character {e.pos}, near {near!r}"
    except (RecursionError, ValueError):
        return "nested too deep, or hold a number that is too long"
    return arguments if isinstance(arguments, dict) else "not a JSON object"


def _call(action: Action) -> dict:
    """Return a call for the history, serialized again: endpoints refuse invalid calls there."""
    arguments = json.dumps(action.arguments, ensure_ascii=False)
    return {"id": action.id, "type": "function",
            "function": {"name": action.tool, "arguments": arguments}}
