"""Build the requests for the king's and the challenger's turns, and send them.

The king sees only the history and a note on form. A turn is requested in the form of its
conversation. If the agent has tools, they are sent, and the tool calls of the reply are the turn.
The reply may have several calls only if some turn of the agent has several. A model that refuses
tools even in a well-formed conversation, or whose `protocol` is text, is asked in the text form,
with calls as shell commands; the turn in its reply becomes a call of the agent's shell. All answers
of a root have one of the two forms.
"""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from codedata.conversation.tool_calls import new_call
from codedata.conversation.turn import Form, as_call, clean, form_of, n_calls, plain, split_thinking
from codedata.disk.ledger import sound_lines
from codedata.disk.store import Store
from codedata.duel.prompt_texts import packaged_text
from codedata.errors import HttpTrouble, RunStopped
from codedata.llm import Client, Models, Reply
from codedata.llm.asking import Rejected, read_reply, refuse_empty
from codedata.llm.replies import current_reply_log
from codedata.messages import behind, to_send
from codedata.records import Answer, Message, Prompt, Side
from codedata.settings import AUTO, NATIVE, TEXT
from codedata.texts import fill

REASONING = "_reasoning"   # folder next to the answers
REFUSES_TOOLS = (400, 404, 422)   # HTTP statuses that may refuse tools
OTHER_FORM = ("Set that, with a model that can; or set the new form in [llm] and make the others "
              "again: king.py --refresh, ch.py --refresh.")
TASK = {"role": "user", "content": "Go on."}
TurnRecord = Prompt | Answer   # records with `messages` and `tools`
Layout = Callable[[TurnRecord], list[Message]]   # returns the messages of a request
ReadSide = Callable[[Reply, Form], Side]         # raises Rejected if a reply is not a turn


def read_turn(reply: Reply, form: Form, thoughts: list[str] | None = None) -> Side:
    """Return a reply as a turn of this form, and append its separate reasoning to `thoughts`. Raise
    Rejected if it is not a turn."""
    side = _side(refuse_empty(reply), form)
    if problem := form.problem(side, reply.truncated):
        raise Rejected(problem)
    n = n_calls(side)
    if n > 1 and not form.several:
        raise Rejected("two calls" if n == 2 else f"{n} calls")
    if thoughts is not None:
        thoughts += filter(None, (reply.reasoning, split_thinking(reply.text)[1]))
    return side


def keep_reasoning(thoughts: list[str]) -> None:
    """Save the king's reasoning next to the current item's record; write nothing if there is none.
    A challenger's reasoning reveals the pull request and is not saved."""
    calls = current_reply_log()
    if thoughts:
        calls.put_beside(REASONING, {"king": "\n".join(thoughts)})
    elif calls.made_before:   # remove the reasoning of an earlier answer
        calls.put_beside(REASONING, None)


def ask_turn(client: Client, layout: Layout, record: TurnRecord,
             read: ReadSide = read_turn, n: int = 1) -> Side:
    """Return a well-formed turn without leaked thinking, or another text that `read` accepts; raise
    ItemFailed after the last try. `n` is passed to Client.ask().
    """
    form = _form_asked(client, record)
    if not form.tools:
        return _ask(client, layout(record), form, read, n)
    # in the text form, calls are shell commands
    as_text = layout(replace(
        record, messages=plain(record.messages, record.tools, as_bash=True), tools=None))
    refusal = ""
    protocol = client.spec.protocol
    is_text = protocol == TEXT
    if protocol == AUTO:   # a kept reply to `as_text`: an earlier run found that tools are refused
        is_text = (client.takes_tools is False or True in client.forms
                   or client.has_kept(as_text, **_options(Form())))
    if not is_text:
        _check_form(client, False)
        try:
            if thinking := [one for one in record.messages if one.get("reasoning_content")]:
                client.note_thinking(thinking)
            turn = _ask(client, layout(record), form, read, n)
            client.note_tools(True)
            return turn
        except HttpTrouble as e:
            if e.status not in REFUSES_TOOLS or client.takes_tools or _takes(client, form):
                raise
            if protocol == NATIVE:
                e.todo = f'[{client.spec.role}] protocol = "native" allows no other form.'
                raise
            refusal = e.what
    _check_form(client, True)
    if refusal:
        client.note_tools(False, refusal)
    text = _ask(client, as_text, Form(), read, n)
    current_reply_log().note(text_form=True)
    turn = as_call(text, form.tools)
    if not turn and Form().problem(text):   # `read` has accepted a text that is not a turn
        return text
    problem = form.problem(turn) if turn else "the agent has no shell"
    if problem:
        client.give_up(f"takes no tools, and its turn is no call: {problem}")
    return turn


def note_forms(models: Models, stores: dict[str, Store], to_make: set[str]) -> None:
    """Note the forms of the root's answers in conversations with tools. Leave out answers that are
    made again. `stores` maps stages to the stores of their answers; the run's own stage is last.
    """
    *_, own = stores
    for stage, store in stores.items():
        forms, with_tools = {}, set()   # from the lines, since a ledger may hold only some items
        for line in sound_lines(store.directories):
            item, tools = line["item"], None
            if line.get("state") in ("done", "adopted"):
                if line["stage"] == stage:
                    forms[item] = bool(line.get("text_form"))
                tools = {**line.get("wrote", {}), **line.get("found", {})}.get("tools")
            elif line.get("state") == "pruned":
                forms.pop(item, None)
                tools = ""
            if tools is not None:   # "": an edit or --prune took them away
                (with_tools.add if tools else with_tools.discard)(item)
        models.forms.update(form for name, form in forms.items() if name in with_tools
                            and name in store and not (stage == own and name in to_make))


def _check_form(client: Client, is_text: bool) -> None:
    """Raise RunStopped if the root's answers have the other form. A root of an earlier version may
    have both."""
    if client.forms == {not is_text}:
        other = NATIVE if is_text else TEXT
        raise RunStopped(f'has to be "{other}", the form of the root\'s other answers.',
                         f"[{client.spec.role}] protocol", OTHER_FORM, exit_code=2)


def _form_asked(client: Client, record: TurnRecord) -> Form:
    """Return the form of a conversation, with `several` if an answer may have several calls."""
    form = form_of(record.messages, record.tools)
    if form.tools and record.several:
        return replace(form, several=not client.spec.one_call)
    return form


def _takes(client: Client, form: Form) -> bool:
    """Send a conversation without calls, but with tools, and return whether any reply comes. If a
    reply comes, the refused request had another fault."""
    try:
        client.ask([TASK], tools=form.tools)
    except HttpTrouble as e:
        if e.status not in REFUSES_TOOLS:
            raise
        return False
    client.note_tools(True)
    return True


def tools_json(record: TurnRecord) -> str:
    """Return the tools as JSON text, to count towards the prompt limit; "" without tools."""
    return json.dumps(record.tools) if record.tools else ""


def to_count(messages: list[Message], record: TurnRecord) -> list[Message]:
    """Return a request as messages, for --dry-run to count. The tools, which are sent separately,
    become a message."""
    tools = tools_json(record)
    return [*messages, {"role": "system", "content": tools}] if tools else messages


def king_messages(client: Client, record: TurnRecord) -> list[Message]:
    """Return the king's request: the history, cut to the prompt limit, and the sentence on form."""
    note, history = form_note(client, record), to_send(record.messages)
    return behind(client.fit(history, note + tools_json(record)).messages, note)


def form_note(client: Client, record: TurnRecord) -> str:
    """Return the sentence on form. Both sides get the same one, to keep their turns comparable."""
    form = _form_asked(client, record)
    name = "form_calls.md" if form.several else "form_call.md" if form.tools else "form.md"
    return packaged_text(name).strip()


def _ask(client: Client, messages: list[Message], form: Form, read: ReadSide, n: int) -> Side:
    """Send a request, and return read(reply)."""
    name = "format_again_call.md" if form.tools else "format_again.md"
    again = packaged_text("format_again_calls.md" if form.several else name)

    def once_more(_, problem: str) -> list[Message]:
        return behind(messages, fill(again, problem=problem, fence=form.fence).strip())

    return read_reply(client, messages, lambda reply: read(reply, form), once_more, n=n,
                      **_options(form))


def _options(form: Form) -> dict:
    """Return the fields sent with the messages to get a turn of this form."""
    if form.tools:
        return {"tools": form.tools, "parallel": form.several}
    return {"grammar": packaged_text("turn.gbnf")} if form == Form() else {}


def _side(reply: Reply, form: Form) -> Side:
    """Return a reply as a side.

    Leave out leaked thinking, and the model's reasoning and call ids, which may reveal the pull
    request.
    """
    if not form.tools:
        return clean(reply.text)
    calls = [new_call(**call["function"]) for call in reply.tool_calls]
    message = {"role": "assistant", "content": clean(reply.text), "tool_calls": calls}
    as_shell_call = None if calls else as_call(reply.text, form.tools)
    return as_shell_call or message
