"""Keep further blind answers to a turn in answer*/_samples/<item>.json, and check whether two
answers take the same step. If all do, there is nothing to choose from, and the turn is left out.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from codedata.conversation.steps import same_turn
from codedata.conversation.turn import form_of
from codedata.disk.layouts import load
from codedata.driver import in_driver
from codedata.duel.answer import Layout, TurnRecord, ask_turn
from codedata.duel.executed import Execution
from codedata.errors import BrokenRecord
from codedata.llm import Client, Models
from codedata.llm.replies import current_reply_log
from codedata.records import Answer, Side, check_of
from codedata.settings import Settings

KEPT = "_samples"         # folder next to the answers
BLIND_TEMPERATURE = 1.0   # temperature of further answers: at 0, all answers would be equal
MIN_SAMPLES = 3           # minimum number of blind answers for `how = "chosen"`


def n_samples(settings: Settings) -> int:
    """Return the number of blind answers that the king gives to each turn."""
    is_chosen = settings.challenger.how == "chosen"
    return max(settings.king.samples, MIN_SAMPLES if is_chosen else 1)


def sampler_of(king: Client, models: Models) -> Client:
    """Return the king's client for further answers, with a temperature that makes them differ."""
    warm = max(king.spec.temperature, BLIND_TEMPERATURE)
    return Client(replace(king.spec, temperature=warm), models)


def ask_samples(client: Client, layout: Layout, record: TurnRecord, n: int) -> list[Side]:
    """Return `n` further blind answers, and save them next to the current item's record."""
    # the first call requests n replies; each later call reads a kept reply, or requests a missing
    # one
    samples = [ask_turn(client, layout, record, n=1 if i else n) for i in range(n)]
    if samples:
        current_reply_log().put_beside(KEPT, {"samples": samples})
    return samples


@in_driver
def samples_of(path: Path) -> list[Side]:
    """Return the further blind answers that were saved for the answer at a path; [] if there are
    none. Raise BrokenRecord if the saved answers cannot be read."""
    kept = path.parent / KEPT / path.name
    if not kept.exists():
        return []
    record = load(kept)
    samples = record.get("samples") if isinstance(record, dict) else None
    if fault := check_of("list[Side]")(samples):
        raise BrokenRecord(f"`samples`{fault}", str(kept), "Delete it, or mend it.")
    return samples


def take_same_step(answer: Answer, one: Side, other: Side,
                   run_of: Callable[[Side], Execution | None]) -> bool:
    """Return whether two answers take the same step: if their commands are the same, or if both
    were run and changed files in the same way."""
    form = form_of(answer.messages, answer.tools)
    effects = [form.read(side, answer.messages).effects for side in (one, other)]
    runs = [run_of(side) for side in (one, other)]
    return same_turn(*effects) or bool(all(runs) and runs[0].made_the_same(runs[1]))
