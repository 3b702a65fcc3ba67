"""Play turns out: only the first step differs, and what follows says which one is better.

After each first step the same model goes on blind, several times, each time in a branch of its own
and up to a horizon. Then the pull request's tests run. A pair is two first steps of which one is
followed by passing tests more often; tests that no continuation passes decide nothing, and a step
is not the worse one if a command was ended behind it: half of what it does may be undone.

variants/played_out/<item>.json    Answer: `challenger` is the better step, `king` the worse one
variants/played_out/_played/<item>.json   {side: [{commands, tests, timed_out}, …]}
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import permutations

from codedata.code.commands import SUBMIT, action_style
from codedata.code.turn import form_of
from codedata.errors import Excluded, ItemFailed
from codedata.layouts import to_json, write_atomic
from codedata.llm.reply_log import current_reply_log
from codedata.messages import content_text
from codedata.progress import begin_step
from codedata.records import Answer, Commit, Message, Side
from codedata.sandbox import Result
from codedata.settings import Settings
from codedata.store import digest
from codedata.turns.execute import Runner, State, sides_by_command
from codedata.turns.observations import shown_like
from codedata.turns.replay import command_of

PLAYED = "_played"
MIN_LEAD = 2               # continuations of a step that pass a test, more than of the other step
Ask = Callable[[Answer], Side]   # returns the next turn of a conversation, blind


class PlayedOut:
    """Make pairs of first steps; make() is the item function of run_turns.py --how played_out."""

    def __init__(self, settings: Settings, runner: Runner, ask: Ask, model: dict):
        """`ask` returns the policy's next turn; `model` are the settings that it depends on."""
        self._settings, self._runner, self._ask, self._model = settings, runner, ask, model

    def make(self, answer: Answer, commit: Commit) -> Answer:
        """Return the pair of a turn. Raise Excluded if no step leads often enough."""
        log = current_reply_log()
        sides = self._runner.candidates(answer, log.item)
        sides.pop("reference", None)   # it has the rest of its trajectory
        with self._runner.state(answer, commit) as state:
            if state.found.diverged is not None:
                raise Excluded(f"its history cannot be replayed: {state.found.state}")
            firsts = [names[0] for names in sides_by_command(sides, answer).values()]
            if len(firsts) < 2:
                raise Excluded("all first steps are the same")
            played = {name: self._continuations(answer, sides[name], name, state)
                      for name in firsts}
        write_atomic(log.directory / PLAYED / f"{log.item}.json", to_json(played))
        better, worse = decided(played)
        return replace(answer, king=sides[worse], challenger=sides[better])

    def _continuations(self, answer: Answer, side: Side, name: str, state: State) -> list[dict]:
        """Return what became of each continuation. A finished one is kept at once."""
        log, run = current_reply_log(), self._settings.run
        played = []
        for i in range(run.continuations):
            begin_step(f"playing out {name}", i + 1, run.continuations)
            piece = digest(["played out", answer.messages, side, i, run.horizon, self._model])
            done = log.result_of(piece)
            if done is None:
                done = self._continue(answer, side, state)
                log.keep(piece, done)
            played.append(done)
        return played

    def _continue(self, answer: Answer, side: Side, state: State) -> dict:
        """Run a first step and what the policy does after it; return {commands, tests, timed_out}.
        """
        form = form_of(answer.messages, answer.tools)
        messages = list(answer.messages)
        commands, timed_out = [], False
        with state.branches.branch(*state.branch.layers) as branch:
            for i in range(1 + self._settings.run.horizon):
                command = command_of(side, messages, form)
                if not command or action_style(command) == SUBMIT:
                    break
                commands.append(command)
                result = state.replayer.run(branch, command)
                timed_out = timed_out or result.timed_out
                messages += observed(side, result, messages)
                if i < self._settings.run.horizon:
                    try:
                        side = self._ask(replace(answer, messages=messages))
                    except ItemFailed:   # no well-formed turn: the continuation ends here
                        break
            return {"commands": commands, "tests": state.hidden.run(branch),
                    "timed_out": timed_out}


def observed(side: Side, result: Result, messages: list[Message]) -> list[Message]:
    """Return the messages of a turn that was run: the turn, and what its agent is shown."""
    shown = shown_like(content_text(messages[-1]), result)
    if isinstance(side, str):
        return [{"role": "assistant", "content": side}, {"role": "user", "content": shown}]
    calls = [{**call, "id": f"call_{len(messages)}"} for call in side["tool_calls"]]
    return [{**side, "role": "assistant", "tool_calls": calls},
            {"role": "tool", "tool_call_id": calls[0]["id"], "content": shown}]


def decided(played: Mapping[str, list[dict]]) -> tuple[str, str]:
    """Return (the better step, the worse one): no test passes less often after the better one, and
    one passes at least MIN_LEAD times more. Raise Excluded if there is no such pair."""
    passes = {name: Counter(test for run in runs for test, status in run["tests"].items()
                            if status == "passed") for name, runs in played.items()}
    leads = {}
    for better, worse in permutations(passes, 2):
        lead = Counter(passes[better])
        lead.subtract(passes[worse])
        if any(run["timed_out"] for run in played[worse]):
            continue
        if min(lead.values(), default=0) >= 0 and max(lead.values(), default=0) >= MIN_LEAD:
            leads[better, worse] = sum(lead.values())
    if not leads:
        raise Excluded("no first step is followed by passing tests often enough more than another")
    return max(leads, key=leads.get)
