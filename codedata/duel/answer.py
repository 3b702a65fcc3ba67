"""Ask for the king's and the challenger's turns. The king is shown the history and a sentence on form, nothing else."""
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from codedata.duel.format import clean, format_problem
from codedata.duel.leaks import LeakCheck, Try, refused_text
from codedata.duel.texts import packaged_text
from codedata.leak.request import NONE, behind, with_pull_request
from codedata.llm import Client, Reply
from codedata.records import Answer, Commit, Message
from codedata.texts import fill

DEFENCE = re.compile(r"\W*mine, because\b", re.IGNORECASE)
Layout = Callable[[str], list[Message]]   # the request, with a text behind its note


def turn_problem(reply: Reply) -> str | None:
    """Return why a reply is not a turn, for Client.chat(accept=…)."""
    return format_problem(reply.text, reply.truncated)


def turn_or_defence_problem(reply: Reply) -> str | None:
    return None if DEFENCE.match(reply.text) else turn_problem(reply)


def ask_turn(client: Client, messages: list[Message], accept=turn_problem) -> str:
    """Return the next turn, well-formed and without leaked thinking; ItemFailed after the last try."""
    def once_more(problem: str) -> list[Message]:
        return behind(messages, fill(packaged_text("format_again.md"), problem=problem).strip())

    return clean(client.chat(messages, accept=accept, grammar=packaged_text("turn.gbnf"), once_more=once_more).text)


def form() -> str:
    """Return the sentence on form, the same for king and challenger: so the pull request is the only difference."""
    return packaged_text("form.md").strip()


def king_messages(client: Client, history: list[Message]) -> list[Message]:
    return behind(client.fit(history, form()).messages, form())


def challenger_messages(client: Client, answer: Answer, commit: Commit, more: str = "") -> list[Message]:
    """Return the history with the note and the pull request behind it, and `more` behind these."""
    note = fill(packaged_text("challenger.md"), given=packaged_text("pull_request.md").strip(), form=form())
    return with_pull_request(client, answer.messages, note.strip() + "{more}", commit, more=more)


def placebo_messages(client: Client, answer: Answer) -> list[Message]:
    """Return the challenger's request with no pull request in it: the control."""
    note = fill(packaged_text("challenger.md"), given=f"The pull request: {NONE}", form=form()).strip()
    return behind(client.fit(answer.messages, note).messages, note)


def answer_knowing(client: Client, leaks: LeakCheck, answer: Answer, commit: Commit) -> Answer:
    """Return the record with the challenger's turn in it."""
    layout = partial(challenger_messages, client, answer, commit)
    return replace(answer, challenger=ask_knowing(client, layout, answer.messages, commit, leaks))


def ask_knowing(client: Client, layout: Layout, history: list[Message], commit: Commit, leaks: LeakCheck) -> str:
    """Return the next turn, in which the leak judges find nothing that only the pull request could have told.

    One in which they do is asked for again with all that was found so far; the model may defend it once. ItemFailed
    after [challenger] leak_retries such requests; -1: any turn is taken.
    """
    turn = ask_turn(client, layout(""))
    if not leaks.is_on:
        return turn
    tries: list[Try] = []
    may_defend, defence = True, ""
    while True:
        tries.append(leaks.look_at(history, turn, commit, tries, defence))
        if not tries[-1].findings or len(tries) > leaks.retries:
            break
        note = fill(packaged_text("leak.md"), tries=refused_text(tries)).rstrip()
        note += "\n\n" + packaged_text("defence.md").strip() if may_defend else ""
        said = ask_turn(client, layout("\n\n" + note.strip()), turn_or_defence_problem if may_defend else turn_problem)
        defence = said if DEFENCE.match(said) else ""
        may_defend = may_defend and not defence
        turn = turn if defence else said
    leaks.keep(tries)
    if tries[-1].findings:
        client.give_up(f"shows what it cannot know: {tries[-1].told()}")
    return turn
