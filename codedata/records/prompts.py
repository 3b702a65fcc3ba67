"""Define what prompt.py writes: prompts, whole trajectories, hidden pull requests."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from codedata.records.field_types import Integer, Object, Side, Tools


class Message(TypedDict, total=False):
    """Hold a message of a conversation, in the form of the chat API.

    Most have only a role and a text. An assistant's message may have `tool_calls`, and thinking in
    `reasoning_content`; a tool's result has `tool_call_id`.
    """

    role: str
    content: str | list[Object] | None   # a text, or a list of parts {type, text}
    tool_calls: list[Object]    # {id, type, function {name, arguments}}; arguments are JSON text
    tool_call_id: str
    reasoning_content: str


@dataclass(frozen=True)
class Prompt:
    """Hold one turn to answer: an entry of prompt/prompts_<count>_<k>.json."""

    directory = "prompt"
    instance_id: str
    repo: str
    language: str
    turn: int                # index among the trajectory's assistant turns, from 0
    messages: list[Message]  # the history as the agent saw it
    assistant: Side          # the reference: the dataset's next turn
    order: int = 0           # position in the file when it was written, from 1; 0: no number yet
    tools: Tools | None = None   # the agent's tools; null: none
    several: bool | None = None  # whether any turn of the trajectory has several calls; null: no


@dataclass(frozen=True)
class SourceTrajectory:
    """Hold the source and the outcome of a whole trajectory:
    prompt/_trajectories/<instance_id>.<digest of its messages>.json. Exports use these outcomes;
    correct them if they are wrong.
    """

    directory = "prompt/_trajectories"
    instance_id: str
    repo: str
    source: str              # as set in [prompt], like `config` and `split`
    config: str              # the attempt's name, if the source is `attempt`
    split: str
    row: Integer             # row number in the source, from 0
    digest: str              # covers the row's messages, tools and outcome
    resolved: bool | None    # null: unknown in the source
    reward: float | None     # null: unknown in the source
    exit_status: str         # "": unknown in the source
    n_turns: int
    n_chars: int             # in messages and calls
    n_patch_chars: int       # in the agent's own patch


@dataclass(frozen=True)
class Commit:
    """Hold the hidden pull request of an instance: commit/<instance_id>.json."""

    directory = "commit"
    named_by_id = True
    instance_id: str
    repo: str
    language: str
    base_commit: str
    issue: str               # the agent's instruction (problem_statement); may be empty
    description: str         # the pull request's own text; may be empty
    files: list[str]         # paths that patch and test_patch touch
    patch: str
    test_patch: str
    created_at: str | None = None   # ISO 8601, UTC
    licence: str | None = None      # the repository's, SPDX if the source has it
    matched: str | None = None      # how a session's commits were found (docs/data.md)
