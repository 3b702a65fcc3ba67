"""How the king and the challenger are asked. The king's request is built from the history and nothing else."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from codedata.checks.leak import find_leaks, is_leaky, told
from codedata.duel.format import clean, format_problem
from codedata.duel.leaks import note_leaks
from codedata.duel.texts import packaged_text
from codedata.llm import Client, Reply
from codedata.records import Answer, Commit, Message
from codedata.texts import fill

NONE = "(none)"


def turn_problem(reply: Reply) -> str | None:
    """Why a reply is not a turn, for Client.chat(accept=…)."""
    return format_problem(reply.text, reply.truncated)


def ask_turn(client: Client, messages: list[dict]) -> str:
    """The next turn, well-formed and without leaked thinking; ItemFailed after the last try."""
    return clean(client.chat(messages, accept=turn_problem, grammar=packaged_text("turn.gbnf")).text)


def king_messages(client: Client, history: list[dict]) -> list[dict]:
    return client.fit(history).messages


def challenger_messages(client: Client, answer: Answer, commit: Commit, more: str = "") -> list[dict]:
    """The history under the blind-agent rule: the note with the PR, then `more`, behind the agent's system prompt."""
    note = packaged_text("challenger.md")
    parts = {"repo": commit.repo, "language": commit.language, "issue": commit.issue or NONE,
             "description": commit.description or NONE, "files": "\n".join(commit.files)}
    fixed = fill(note, **parts, patch=NONE, test_patch=NONE) + more + "\n\n"
    fitted = client.fit(answer.messages, fixed, (commit.patch, commit.test_patch))
    filled = fill(note, **parts, patch=fitted.patches[0] or NONE, test_patch=fitted.patches[1] or NONE)
    history = fitted.messages
    own = history[0]["content"] + "\n\n" if history and history[0]["role"] == "system" else ""
    return [{"role": "system", "content": own + filled + more}, *history[bool(own):]]


def answer_knowing(client: Client, leak_retries: int, answer: Answer, commit: Commit) -> Answer:
    """The record with the challenger's turn in it."""
    layout = partial(challenger_messages, client, answer, commit)
    return replace(answer, challenger=ask_knowing(client, layout, answer.messages, commit, leak_retries))


def ask_knowing(client: Client, layout: Callable[[str], list[Message]], history: list[Message], commit: Commit,
                leak_retries: int) -> str:
    """The next turn, with nothing in it that only the pull request could have told.

    One that has is asked for again with what was found, at most `leak_retries` times, then ItemFailed; -1: any turn is
    taken. layout(more) is the request, with `more` behind the rule.
    """
    turn = ask_turn(client, layout(""))
    if leak_retries < 0:
        return turn
    findings = find_leaks(history, turn, commit)
    for _ in range(leak_retries):
        if not is_leaky(findings):
            break
        turn = ask_turn(client, layout(fill(packaged_text("leak.md"), turn=turn, findings="\n".join(
            f"- {line}" for line in told(findings)))))
        findings = find_leaks(history, turn, commit)
    if is_leaky(findings):
        client.give_up(f"shows what it cannot know: {'; '.join(told(findings))}")
    note_leaks(history, turn, commit, findings)
    return turn
