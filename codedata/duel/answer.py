"""Build the requests for the king's and the challenger's turns, and ask for them.

The king sees only the history and a note on form. A turn is asked for in the form of its
conversation: where the agent has tools, they are sent, and the reply's call is the turn. A model
that takes no tools is asked in the text form, in which calls are shell commands; its turn becomes a
call of the agent's shell.
"""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from codedata.code.tool_calls import new_call
from codedata.code.turn import Form, as_call, clean, form_of, plain
from codedata.duel.prompt_texts import packaged_text
from codedata.errors import HttpTrouble
from codedata.leak.request import behind, with_pull_request
from codedata.llm import Client, Reply
from codedata.llm.reply_log import current_reply_log
from codedata.messages import to_send
from codedata.progress import say
from codedata.records import Answer, Commit, Message, Prompt, Sample, Side
from codedata.texts import fill

REFUSES_TOOLS = (400, 404, 422)   # statuses
Conversation = Prompt | Answer | Sample     # what has `messages` and `tools`
Layout = Callable[[Conversation], list[Message]]   # returns a request
Accept = Callable[[Reply, Form], str | None]       # returns what is wrong with a reply


def turn_problem(reply: Reply, form: Form) -> str | None:
    """Return why a reply is not a turn of this form, or None if it is one."""
    return form.problem(_side(reply, form), reply.truncated)


def ask_turn(client: Client, layout: Layout, about: Conversation,
             accept: Accept = turn_problem) -> Side:
    """Return a well-formed turn without leaked thinking, or a text that `accept` takes for
    something else; raise ItemFailed after the last try.
    """
    form = form_of(about.messages, about.tools)
    if not form.tools:
        return _ask(client, layout(about), form, accept)
    as_text = layout(as_texts(about))
    if not (client.lacks_tools or client.has_kept(as_text, **_options(Form()))):
        try:
            turn = _ask(client, layout(about), form, accept)
            client.takes_tools()
            return turn
        except HttpTrouble as e:
            if e.status not in REFUSES_TOOLS or client.has_taken_tools:
                raise
    text = _ask(client, as_text, Form(), accept)
    if client.leave_out_tools():
        say(f"{client.spec.role}  {client.spec.model} takes no tools: it is asked in the text form")
    current_reply_log().notes["text_form"] = True
    turn = as_call(text, form.tools)
    if not turn and Form().problem(text):
        return text
    if problem := form.problem(turn) if turn else "the agent has no shell":
        client.give_up(f"takes no tools, and its turn is no call: {problem}")
    return turn


def as_texts(about: Conversation) -> Conversation:
    """Return a conversation in the text form, in which calls are shell commands."""
    return replace(about, messages=plain(about.messages, about.tools, as_bash=True), tools=None)


def with_note(client: Client, about: Conversation, note: str) -> list[Message]:
    """Return the history, cut to the prompt limit, and a note."""
    history = to_send(about.messages)
    return behind(client.fit(history, note + tools_json(about)).messages, note)


def tools_json(about: Conversation) -> str:
    """Return the tools as they are sent, "" without any: they count for the prompt limit."""
    return json.dumps(about.tools) if about.tools else ""


def counted(messages: list[Message], about: Conversation) -> list[Message]:
    """Return a request as --dry-run counts it: the tools are sent beside the messages."""
    tools = tools_json(about)
    return [*messages, {"role": "system", "content": tools}] if tools else messages


def king_messages(client: Client, about: Conversation) -> list[Message]:
    """Return the king's request: the history, cut to the prompt limit, and the sentence on form."""
    return with_note(client, about, form_note(about))


def form_note(about: Conversation) -> str:
    """Return the sentence on form, the same for both sides to keep their turns comparable."""
    return packaged_text("form_call.md" if about.tools else "form.md").strip()


def note_of(name: str, about: Conversation, given: str = "") -> str:
    """Return a note with the sentence on form and `given`: what is said of the pull request, by
    default all of it.
    """
    given = given or packaged_text("pull_request.md").strip()
    return fill(packaged_text(name), given=given, form=form_note(about)).strip()


def challenger_messages(client: Client, about: Conversation, commit: Commit,
                        more: str = "") -> list[Message]:
    """Return the challenger's request: the history, the note with the pull request, and `more`."""
    note = note_of("challenger.md", about) + "{more}"
    return with_pull_request(client, to_send(about.messages), note, commit, tools_json(about),
                             more=more)


def _ask(client: Client, messages: list[Message], form: Form, accept: Accept) -> Side:
    again = packaged_text("format_again_call.md" if form.tools else "format_again.md")

    def once_more(problem: str) -> list[Message]:
        return behind(messages, fill(again, problem=problem, fence=form.fence).strip())

    reply = client.chat(messages, accept=partial(accept, form=form), once_more=once_more,
                        **_options(form))
    return clean(reply.text) if turn_problem(reply, form) else _side(reply, form)


def _options(form: Form) -> dict:
    """Return what is sent beside the messages to get a turn of this form."""
    options = {"tools": form.tools} if form.tools else {}
    return {**options, "grammar": packaged_text("turn.gbnf")} if form == Form() else options


def _side(reply: Reply, form: Form) -> Side:
    """Return a reply as a side: without leaked thinking, and without what the model thought apart
    or wrote into ids, which may be about the pull request.
    """
    if not form.tools:
        return clean(reply.text)
    calls = [new_call(**call["function"]) for call in reply.tool_calls]
    called = {"role": "assistant", "content": clean(reply.text), "tool_calls": calls}
    return called if calls else as_call(reply.text, form.tools) or called
