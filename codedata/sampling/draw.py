"""Draw turns from trajectories: choose rows and the order of their turns, and count the unusable
rows by reason.

The rows are visited in an order derived from the seed; within a row, the seed and the row's number
choose the turn. So the prompts of a source and a seed form one fixed sequence, and a later run
needs only a `Cursor` into it to continue. Attempts have no stable row numbers, so a digest of their
content takes the number's place.
"""
from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from codedata.conversation.tool_calls import default_tools
from codedata.conversation.turn import Turn, form_of, has_several_calls, n_calls, turn_text
from codedata.disk.layouts import load
from codedata.disk.store import digest, known_in
from codedata.errors import BrokenRecord
from codedata.messages import by_calls, calls_text, content_text, result_problem
from codedata.records import Prompt, Task, check_of
from codedata.sampling.refusals import (
    BAD_ID,
    EXCLUDED,
    INCOMPLETE,
    NO_BLOCK,
    NO_HISTORY,
    NO_MODEL,
    NO_TOOLS,
    NO_TURN,
    NUL,
    SUMMARIZED,
    SURROGATES,
    TOO_LONG,
    UNANSWERED,
)
from codedata.settings import ATTEMPTS, Exclude, PromptSettings
from codedata.tasks.folder.task_folder import audited_digest
from codedata.texts import safe_name, text_problem

FETCHES_AHEAD = 8
MAX_MESSAGES = 2_000   # messages used per row: a prompt copies its whole history, and later
                       # histories are too long
LATE = f"after message {MAX_MESSAGES:,} of its row"
SOLVED = "solved: the pull request's tests pass already"
DUPLICATE = "exact duplicate"
OLD_TASK = "its task was edited since"
SEVERAL_CALLS = 'several calls ([prompt] calls = "one")'
Cursor = tuple[int, int, int]   # (row in visiting order, trajectory in the row, turn) of a prompt
Drawn = tuple[Prompt, Cursor]
# (the prompts of one trajectory, its turns in the order of trying, the first two numbers of their
# cursors); the first usable turn becomes a prompt
Choice = tuple[Sequence[Prompt], Sequence[int], tuple[int, int]]


class Seen:
    """Count the sampled prompts per instance, and keep the digest of each."""

    def __init__(self, max_per_instance: int):
        self.limit = max_per_instance
        self.instances = Counter()
        self.digests = set()

    def add(self, prompt: Prompt) -> None:
        """Count a prompt as sampled."""
        self.instances[prompt.instance_id] += 1
        self.digests.add(_prompt_digest(prompt))

    def is_full(self, prompt: Prompt) -> bool:
        """Return whether a prompt's instance has all the prompts that it may have."""
        return bool(self.limit) and self.instances[prompt.instance_id] >= self.limit

    def problem(self, prompt: Prompt) -> str | None:
        """Return the reason not to sample a prompt again, or None."""
        if self.is_full(prompt):
            return "PR sampled already"
        return DUPLICATE if _prompt_digest(prompt) in self.digests else None


def draw(source, settings: PromptSettings, skipped: Counter, after: Cursor,
         states: Path) -> Iterator[Choice]:
    """Yield the choices after the cursor `after`, in the order of the seed. Count in `skipped`, by
    reason: unusable rows, attempts at edited tasks, late turns, and solved turns. `states` is the
    directory where run_turns.py notes the tests that pass before each turn.
    """
    for place, number, row in _rows(source, settings.seed, after[0]):
        if place < after[:2]:
            continue
        prompts, problem = prompts_of(row)
        if problem:
            skipped[problem] += 1
        skipped.update(LATE for one in row.get("messages", ())[MAX_MESSAGES:]
                       if one["role"] == "assistant")
        behind = after[2] if place == after[:2] else -1
        solved = solved_turns(row, states) if prompts else set()
        key = number
        if prompts and settings.source == ATTEMPTS:
            key = trajectory_name(row)
            task = known_in(states.parents[1], Task, row["instance_id"])
            if task and audited_digest(task)[:8] not in row["attempt"].split("."):
                skipped[OLD_TASK] += 1
                continue
        for turns in _choices(prompts, settings, key, behind):
            left = [turn for turn in turns if turn not in solved]
            skipped.update([SOLVED] * (len(turns) - len(left)))
            if left:
                yield prompts, left, place


def trajectory_name(row: dict) -> str:
    """Return the file name of a trajectory's record in executed/_states/. It has a digest, since
    several trajectories may have the same instance."""
    return f"{row['instance_id']}.{digest(row['messages'])}"


def solved_turns(row: dict, states: Path) -> set[int]:
    """Return the turns of a row before which all of the pull request's tests passed, except the
    first such turn, where the agent may still submit. Raise BrokenRecord if the file cannot
    be read."""
    path = states / f"{trajectory_name(row)}.json" if states.exists() else states
    if not path.is_file():
        return set()
    try:
        solved = [int(turn) for turn, tests in load(path)["turns"].items()
                  if tests["passed"] and not tests["failed"]]
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise BrokenRecord("has no `turns` with {passed, failed}.", str(path),
                           "Delete it, or mend it.") from e
    return set(sorted(solved)[1:])


def _rows(source, seed: int, start: int) -> Iterator[tuple[tuple[int, int], int, dict]]:
    """Yield ((position, index of the trajectory in its row), number, row) in the order of the seed,
    from a position on. Threads fetch ahead.
    """
    # RandomState, since numpy promises to keep its random numbers
    order = np.random.RandomState(seed).permutation(source.n_rows)

    def fetch(position: int) -> list[tuple[tuple[int, int], int, dict]]:
        number = int(order[position])
        return [((position, which), number, row)
                for which, row in enumerate(source.rows(number, 1))]

    with ThreadPoolExecutor(FETCHES_AHEAD) as pool:
        fetches = (pool.submit(fetch, position) for position in range(start, len(order)))
        ahead = deque(islice(fetches, FETCHES_AHEAD))
        try:
            while ahead:
                yield from ahead.popleft().result()
                ahead.extend(islice(fetches, 1))
        finally:
            for future in ahead:
                future.cancel()


def _choices(prompts: Sequence[Prompt], settings: PromptSettings, key: int | str,
             behind: int) -> Iterator[Sequence[int]]:
    """Yield lists of turns of a row; one turn of each list becomes a prompt. `behind` is the last
    turn that was already drawn, or -1.

    If turns = "random", the turns come in random order.
    """
    turns = range(len(prompts))
    if settings.turns == "all":
        yield from ([turn] for turn in turns[behind + 1:])
    elif turns and behind < 0:
        drawn = random.Random(f"{settings.seed}:{key}").sample(turns, len(turns))
        yield {"random": drawn, "first": turns[:1], "last": turns[-1:]}[settings.turns]


@dataclass
class Prompts(Sequence):
    """Make the prompt of an assistant turn on demand: the histories of all turns together are many
    times the length of their row."""

    row: dict
    places: list[int]   # indexes of the turns among the messages
    tools: list | None
    calls: dict[str, list[int]]   # {tool known only from calls: indexes of the messages with these
                                  # calls}
    several: bool | None

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, turn: int) -> Prompt:
        turn = range(len(self))[turn]   # -1 means the last turn
        row, place = self.row, self.places[turn]
        reply = row["messages"][place]
        unseen = row["unseen"](place) if row["unseen"] else ()
        tools = [one for one in self.tools or () if any(
            i < place and i not in unseen
            for i in self.calls.get(one["function"]["name"], [-1]))]
        return Prompt(row["instance_id"], row["repo"], language="", turn=turn, tools=tools or None,
                      several=self.several,
                      messages=by_calls(one for i, one in enumerate(row["messages"][:place])
                                        if i not in unseen),
                      assistant=reply if "tool_calls" in reply else content_text(reply))


def prompts_of(row: dict) -> tuple[Sequence[Prompt], str]:
    """Return (a prompt for each assistant turn of a row, "" or the reason why later turns are left
    out), or ([], reason) for an unusable row.

    A turn's history is what its model saw. If the row has calls but no tools, its agent's default
    tools are used; a tool known only from calls is listed from its first call on. The prompts'
    `language` is empty.
    """
    if "problem" in row:   # it cannot be read, or its attempt cheated
        return [], row["problem"]
    if not safe_name(row["instance_id"]):
        return [], BAD_ID
    messages = row["messages"][:MAX_MESSAGES]
    places = [i for i, message in enumerate(messages)
              if message["role"] == "assistant" and i not in row["no_turns"]]
    if not places:
        return [], NO_MODEL if row["no_turns"] else NO_TURN
    tools, calls = row["tools"], {}
    if not tools and any("tool_calls" in message for message in messages):
        tools, calls = default_tools(row["agent"], messages)
    if fault := check_of("Tools | None")(tools):
        return [], f"tools{fault}"
    prompts = Prompts(row, places, tools, calls, has_several_calls(messages) or None)
    return prompts, SUMMARIZED if row["is_cut"] else ""


def prompt_problem(prompt: Prompt, settings: PromptSettings, exclude: Exclude) -> str | None:
    """Return the reason to leave a prompt out that does not depend on its PR, or None."""
    if prompt.instance_id in exclude.ids:
        return EXCLUDED
    if not any(message["role"] == "user" for message in prompt.messages):
        return NO_HISTORY if prompt.messages else INCOMPLETE
    text = turn_text(prompt.assistant)
    for message in prompt.messages:
        text += content_text(message) + calls_text(message) + str(
            message.get("reasoning_content") or "")
        # stop at the limit: this function runs for each of the many turns of a long row
        if len(text) > settings.max_chars:
            return TOO_LONG
    if "\x00" in text:
        return NUL
    if text_problem(text):
        return SURROGATES
    if problem := result_problem(prompt.messages):
        return problem
    form = form_of(prompt.messages, prompt.tools)
    if form.tools:
        if settings.calls == "one" and n_calls(prompt.assistant) > 1:
            return SEVERAL_CALLS
        return form.problem(prompt.assistant)
    if not isinstance(prompt.assistant, str):
        return NO_TOOLS
    roles = [*(message["role"] for message in prompt.messages), "assistant"]
    if ("assistant", "assistant") in pairwise(roles):
        return UNANSWERED
    if Turn(prompt.assistant, form.fence).has_one_block():
        return None
    return f"{NO_BLOCK}{'bash' if form.fence else 'command'} block"


def _prompt_digest(prompt: Prompt) -> str:
    """Return the digest of a prompt's history and reference, for exact duplicates."""
    return digest([prompt.messages, prompt.assistant])
