"""Read the actions in a model's reply: native tool calls, or text with a THOUGHT and one bash block a turn.

A reply is read into a AgentTurn: the message that goes into the history, and its actions. An action or turn that cannot
be carried out has a `problem`, which is sent to the model.
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
THINKING = re.compile(r"\A.*</think(?:ing)?>", re.DOTALL)   # the opening tag may be part of the chat template
EMPTY_REPLY = "(nothing)"   # endpoints refuse empty assistant messages
ANSWER_CHARS = 60            # shown of an argument or name that is invalid


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
    problem: str = ""        # the message to the model where there is no action


class ModelReply(Protocol):
    """Define what is read of a reply; codedata.llm.Reply implements it."""

    text: str
    tool_calls: list[dict]
    truncated: bool
    call: dict               # model, tokens_in, tokens_out, cost_usd: None where unknown


class Native:
    """Read and write the native tool calls of the API."""

    name = "native"

    def __init__(self, tools: dict[str, Tool]):
        self.tools = tools
        self.schemas = [tool.schema for tool in tools.values()]

    def opening(self, system_prompt: str, task: str) -> list[dict]:
        """Return the first messages of a run."""
        return [{"role": "system", "content": system_prompt}, {"role": "user", "content": task}]

    def read(self, reply: ModelReply) -> AgentTurn:
        """Return a reply as an AgentTurn; `problem` is set where it has no usable action."""
        text = without_thinking(reply.text)
        if reply.truncated or not reply.tool_calls:
            problem = _packaged("cut_short.md") if reply.truncated else "your reply has no tool call in it"
            return AgentTurn(said(text), problem=_packaged("native_again.md").replace("{problem}", problem))
        actions = [self._action(call) for call in reply.tool_calls]
        calls = [{"id": action.id, "type": "function",
                  "function": {"name": action.tool, "arguments": json.dumps(action.arguments, ensure_ascii=False)}}
                 for action in actions]   # serialized again: endpoints refuse a history with invalid calls
        return AgentTurn({"role": "assistant", "content": text or None, "tool_calls": storable(calls)}, actions)

    def observation(self, action: Action, text: str) -> dict:
        """Return the message with an action's result."""
        return {"role": "tool", "tool_call_id": action.id, "content": text}

    def _action(self, call: dict) -> Action:
        name, raw = call["function"]["name"], call["function"]["arguments"]
        if name not in self.tools:
            name = name if re.fullmatch(r"[\w-]{1,64}", name, re.ASCII) else "unknown"
            return Action(name, {}, call["id"], f"There is no tool {call['function']['name'][:ANSWER_CHARS]!r}. "
                          f"There are {', '.join(self.tools)}.")
        try:
            arguments = json.loads(raw or "{}", strict=False)   # accepts raw line ends in strings
        except json.JSONDecodeError as e:
            near = raw[max(0, e.pos - ANSWER_CHARS // 2):e.pos + ANSWER_CHARS // 2]
            return Action(name, {}, call["id"], f"{name} was not called: its arguments are not valid JSON, {e.msg} at "
                          f"character {e.pos}, near {near!r}.")
        except (RecursionError, ValueError):
            return Action(name, {}, call["id"], f"{name} was not called: its arguments are nested too deep, or hold a "
                          "number that is too long.")
        if not isinstance(arguments, dict):
            return Action(name, {}, call["id"], f"{name} was not called: its arguments are not a JSON object.")
        return Action(name, arguments, call["id"], self.tools[name].problem(arguments))


class Text:
    """Read and write a THOUGHT and one bash block, for models without tool calls.

    The only tool is `bash`; a command that prints an end marker ends the run.
    """

    name = "text"
    schemas: tuple = ()

    def __init__(self, tools: dict[str, Tool]):
        self.can_stop = "stop" in tools

    def opening(self, system_prompt: str, task: str) -> list[dict]:
        """Return the first messages of a run."""
        system_prompt += "\n\n" + _packaged("text.md") + ("\n\n" + _packaged("text_stop.md") if self.can_stop else "")
        return [{"role": "system", "content": system_prompt}, {"role": "user", "content": task}]

    def read(self, reply: ModelReply) -> AgentTurn:
        """Return a reply as an AgentTurn; `problem` is set where it has no usable action."""
        text = without_thinking(reply.text)
        command, problem = one_command(text)
        if reply.truncated:
            problem = _packaged("cut_short.md")
        if problem:
            return AgentTurn(said(text), problem=_packaged("text_again.md").replace("{problem}", problem))
        return AgentTurn(said(text), [Action("bash", {"command": command})])

    def observation(self, action: Action, text: str) -> dict:
        """Return the message with an action's result."""
        return {"role": "user", "content": text}


def one_command(text: str) -> tuple[str, str]:
    """Return (the command of the only bash block, ''), or ('', what is wrong)."""
    blocks, n_openings = BLOCK.findall(text), len(OPENING.findall(text))
    if n_openings > 1:
        return "", f"there are {n_openings} bash blocks in your reply"
    if not blocks:
        return "", "the bash block has no end" if n_openings else "there is no bash block in your reply"
    return (blocks[0].strip("\r\n"), "") if blocks[0].strip() else ("", "the bash block is empty")


def without_thinking(text: str) -> str:
    """Return the text without leading thinking; a closing tag inside a code block is part of the text."""
    head, fence, rest = text.partition("```")
    return storable((THINKING.sub("", head) + fence + rest).strip())


def said(text: str) -> dict:
    """Return an assistant message; its content is never empty."""
    return {"role": "assistant", "content": text or EMPTY_REPLY}


def _packaged(name: str) -> str:
    return text_of("codedata.agent", name).strip()
