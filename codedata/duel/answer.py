"""Build the requests for the king's and the challenger's turns, and ask for them.

The king sees only the history and a note on form.
"""
from __future__ import annotations

from codedata.code.turn import clean, format_problem
from codedata.duel.prompt_texts import packaged_text
from codedata.leak.request import behind, with_pull_request
from codedata.llm import Client, Reply
from codedata.records import Answer, Commit, Message
from codedata.texts import fill


def turn_problem(reply: Reply) -> str | None:
    """Return why a reply is not a turn, or None if it is one, for Client.chat(accept=…)."""
    return format_problem(reply.text, reply.truncated)


def ask_turn(client: Client, messages: list[Message], accept=turn_problem) -> str:
    """Return a well-formed turn without leaked thinking; raise ItemFailed after the last try."""
    def once_more(problem: str) -> list[Message]:
        return behind(messages, fill(packaged_text("format_again.md"), problem=problem).strip())

    grammar = packaged_text("turn.gbnf")
    return clean(client.chat(messages, accept=accept, grammar=grammar, once_more=once_more).text)


def with_note(client: Client, history: list[Message], note: str) -> list[Message]:
    """Return the history, cut to the prompt limit, and a note."""
    return behind(client.fit(history, note).messages, note)


def king_messages(client: Client, history: list[Message]) -> list[Message]:
    """Return the king's request: the history, cut to the prompt limit, and the sentence on form."""
    return with_note(client, history, packaged_text("form.md").strip())


def note_of(name: str, given: str = "") -> str:
    """Return a note with the sentence on form, the same for both sides to keep their turns
    comparable, and `given`: what is said of the pull request, by default all of it.
    """
    given = given or packaged_text("pull_request.md").strip()
    return fill(packaged_text(name), given=given, form=packaged_text("form.md").strip()).strip()


def challenger_messages(client: Client, answer: Answer, commit: Commit,
                        more: str = "") -> list[Message]:
    """Return the challenger's request: the history, the note with the pull request, and `more`."""
    note = note_of("challenger.md") + "{more}"
    return with_pull_request(client, answer.messages, note, commit, more=more)
