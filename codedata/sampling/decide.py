"""Ask a model that knows the pull request in which state the work is at a turn: [prompt] decide.

Each answer is kept as prompt/_decided/<instance_id>.<turn>.<digest>.json, {instance_id, turn,
quote, why, state}. The digest is of all that was asked, so a later run asks nothing twice. The
answers tell how the task was solved: only prompt.py and report.py read them.
"""
from __future__ import annotations

import json
import time
from pathlib import Path

from codedata.code.turn import plain
from codedata.errors import BrokenRecord, HttpTrouble, ItemFailed
from codedata.layouts import load, to_json, write_atomic
from codedata.leak.judge import OF_COMMIT
from codedata.leak.request import behind, with_pull_request
from codedata.ledger import Ledger
from codedata.llm import Client, Reply
from codedata.llm.reply_log import ReplyLog, recording
from codedata.progress import say
from codedata.records import Commit, Message, Prompt, storable
from codedata.run_loop import attempt_line
from codedata.store import digest
from codedata.texts import json_objects, printable, text_of

FOLDER = "_decided"
PROMPT = text_of(__package__, "decide.md")
SCHEMA = json.loads(text_of(__package__, "decide.json"))
STATES = SCHEMA["schema"]["properties"]["state"]["enum"]
NOTHING_TO_TELL = "nothing_to_tell"
UNREADABLE = "unreadable"   # in place of a state: no reply had the form that was asked for
MIN_QUOTE_CHARS = 12        # without blanks: a shorter text stands anywhere
AGAIN = "\n\nYou were asked this before, and your answer was refused: {problem}."


class Decider:
    """Find the state of the work at turns, with one call for each turn. Several threads may ask."""

    def __init__(self, client: Client, prompts: Path):
        self._client = client
        self.directory = prompts / FOLDER
        self.ledger = Ledger(self.directory)
        self.found: list[str] = []   # the states of the turns that were looked at in this run

    def state(self, prompt: Prompt, commit: Commit) -> str:
        """Return one of STATES, or UNREADABLE. Raise HttpTrouble if the endpoint gives no reply: a
        turn is never left out for that."""
        history = plain(prompt.messages, prompt.tools)
        key = digest([history, *(getattr(commit, field) for field in OF_COMMIT), PROMPT,
                      self._client.spec.identity()])
        name = f"{prompt.instance_id}.{prompt.turn}.{key}"
        path = self.directory / f"{name}.json"
        if not path.exists() or self.ledger.may_have_kept(name):   # the latter: killed in between
            self._ask(name, prompt, history, commit)
        state = state_in(path)
        self.found.append(state)
        return state

    def _ask(self, name: str, prompt: Prompt, history: list[Message], commit: Commit) -> None:
        """Write the record of a turn, then the ledger line with its calls."""
        calls = ReplyLog(self.directory, "prompt.decide", name, self.ledger)
        started = time.monotonic()
        with recording(calls):
            answer = self._answer(history, commit)
        if answer["state"] == UNREADABLE:
            say(f"prompt  {name} is left out: {answer['why']}")
        record = {"instance_id": prompt.instance_id, "turn": prompt.turn, **answer}
        write_atomic(self.directory / f"{name}.json", to_json(record))
        line = attempt_line(calls.stage, name, "done", calls, started)
        self.ledger.append(self.directory, {**line, "instance_id": prompt.instance_id})
        calls.finish(made=True)

    def _answer(self, history: list[Message], commit: Commit) -> dict:
        def accept(reply: Reply) -> str | None:
            return read_reply(reply.text, history)[1] or None

        def once_more(problem: str) -> list[Message]:
            return behind(request, AGAIN.replace("{problem}", problem))

        try:
            request = with_pull_request(self._client, history, PROMPT, commit)
            reply = self._client.chat(request, accept=accept, once_more=once_more, schema=SCHEMA)
        except HttpTrouble:
            raise
        except ItemFailed as e:
            return {"quote": "", "why": e.what, "state": UNREADABLE}
        return read_reply(reply.text, history)[0]


def read_reply(text: str, history: list[Message]) -> tuple[dict, str]:
    """Return ({quote, why, state}, "") of a valid reply, else ({}, the problem)."""
    found = next((value for *_, value in json_objects(text) if value.get("state") in STATES), {})
    if not found:
        return {}, f"it has no JSON object with a `state`, one of {', '.join(STATES)}"
    answer = {key: str(found.get(key) or "") for key in ("quote", "why", "state")}
    quote = "".join(answer["quote"].split())
    shown = "".join("".join(message["content"].split()) for message in history)
    if answer["state"] != NOTHING_TO_TELL and len(quote) < MIN_QUOTE_CHARS:
        return {}, "its `quote` is too short to show anything"
    if quote not in shown:
        return {}, f"the conversation does not say {printable(answer['quote'], 200)!r}"
    return storable(answer), ""


def state_in(path: Path) -> str:
    """Return the state in a record, which a person may have edited. Raise BrokenRecord if it has
    none."""
    record = load(path)
    state = record.get("state") if isinstance(record, dict) else None
    if state not in (*STATES, UNREADABLE):
        raise BrokenRecord(f"has no `state` that is one of {', '.join(STATES)}.", str(path),
                           "Mend it, or delete it: the turn is asked about again.")
    return state
