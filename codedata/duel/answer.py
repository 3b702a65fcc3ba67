"""Ask for the king's and challenger's turns. The king sees only the history and a note on form."""
from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from codedata.code.turn import clean, format_problem
from codedata.duel.prompt_texts import packaged_text
from codedata.leak.cache import LeakCheck, Try, refused_text
from codedata.leak.request import NONE, behind, with_pull_request
from codedata.llm import Client, Reply
from codedata.records import Answer, Commit, Message
from codedata.states import Reads
from codedata.store import Store
from codedata.texts import fill

DEFENCE = re.compile(r"\W*mine, because\b", re.IGNORECASE)
Layout = Callable[[str], list[Message]]   # returns the request with a text added after its note


def turn_problem(reply: Reply) -> str | None:
    """Return why a reply is not a turn, or None if it is one, for Client.chat(accept=…)."""
    return format_problem(reply.text, reply.truncated)


def turn_or_defence_problem(reply: Reply) -> str | None:
    """Return why a reply is neither a turn nor a defence against a leak finding, else None."""
    return None if DEFENCE.match(reply.text) else turn_problem(reply)


def ask_turn(client: Client, messages: list[Message], accept=turn_problem) -> str:
    """Return a well-formed turn without leaked thinking; raise ItemFailed after the last try."""
    def once_more(problem: str) -> list[Message]:
        return behind(messages, fill(packaged_text("format_again.md"), problem=problem).strip())

    grammar = packaged_text("turn.gbnf")
    return clean(client.chat(messages, accept=accept, grammar=grammar, once_more=once_more).text)


def form() -> str:
    """Return the sentence on form, the same for both sides to keep their turns comparable."""
    return packaged_text("form.md").strip()


def with_note(client: Client, history: list[Message], note: str) -> list[Message]:
    """Return the history, cut to the prompt limit, and a note."""
    return behind(client.fit(history, note).messages, note)


def king_messages(client: Client, history: list[Message]) -> list[Message]:
    """Return the king's request: the history, cut to the prompt limit, and the sentence on form."""
    return with_note(client, history, form())


def challenger_note(given: str) -> str:
    """Return the challenger's note; `given` is the text on the pull request."""
    return fill(packaged_text("challenger.md"), given=given, form=form()).strip()


def challenger_messages(client: Client, answer: Answer, commit: Commit,
                        more: str = "") -> list[Message]:
    """Return the challenger's request: the history, the note with the pull request, and `more`."""
    note = challenger_note(packaged_text("pull_request.md").strip())
    return with_pull_request(client, answer.messages, note + "{more}", commit, more=more)


def placebo_messages(client: Client, answer: Answer) -> list[Message]:
    """Return the challenger's request without a pull request, as a control."""
    return with_note(client, answer.messages, challenger_note(f"The pull request: {NONE}"))


def pull_requests(root: Path) -> Reads:
    """Return the PR records and the fields of them that a challenger depends on."""
    fields = ("repo", "language", "issue", "description", "files", "patch", "test_patch")
    return Reads(Store(root, Commit), fields)


def ask_knowing(client: Client, layout: Layout, history: list[Message], commit: Commit,
                leaks: LeakCheck) -> str:
    """Return the next turn, in which the leak check finds nothing that only the pull request shows.

    If it finds something, the turn is asked for again with all findings so far, up to [challenger]
    leak_retries times; once, the model may reply with a defence of its turn instead. Raise
    ItemFailed if findings remain. If leak_retries is -1, the first turn is returned unchecked.
    """
    turn, defence, may_defend = ask_turn(client, layout("")), "", True
    if not leaks.is_on:
        return turn
    tries: list[Try] = []
    while True:
        tries.append(leaks.check(history, turn, commit, tries, defence))
        if not tries[-1].findings or len(tries) > leaks.retries:
            break
        note = fill(packaged_text("leak.md"), tries=refused_text(tries)).rstrip()
        note += "\n\n" + packaged_text("defence.md").strip() if may_defend else ""
        accept = turn_or_defence_problem if may_defend else turn_problem
        reply = ask_turn(client, layout("\n\n" + note.strip()), accept)
        if DEFENCE.match(reply):
            defence, may_defend = reply, False
        else:
            turn, defence = reply, ""
    leaks.save(tries)
    if tries[-1].findings:
        client.give_up(f"shows what it cannot know: {tries[-1].describe()}")
    return turn
