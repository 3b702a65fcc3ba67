"""Ask a model again until its reply can be read, at most 1 + format_retries times."""
from __future__ import annotations

from collections.abc import Callable, Collection

from codedata.llm.client import Client, Reply
from codedata.records import Message
from codedata.texts import between, fill, json_objects


class Rejected(Exception):
    """Report why a reply is rejected: a short reason, then details for the model, if any."""


def refuse_empty(reply: Reply) -> Reply:
    """Return a reply unchanged. Raise Rejected if the reply is empty."""
    if reply.text.strip() or reply.tool_calls:
        return reply
    raise Rejected("empty answer: max_tokens went into thinking" if reply.truncated
                   else "empty answer")


def object_in(text: str, fits: Callable[[dict], bool], what: str,
              shown: Collection[str] = ()) -> dict:
    """Return the last JSON object in a reply that `fits` accepts. Ignore objects that also occur
    in the `shown` texts. Raise Rejected if none is left. `what` describes the object in the reason,
    for instance "with a list of faults"."""
    found = next((value for *_, value in json_objects(text, shown=shown) if fits(value)), None)
    if found is None:
        raise Rejected(f"it has no JSON object {what}")
    return found


def part_in(text: str, tag: str) -> str:
    """Return the text between the last <tag> and </tag> of a reply, ending in a line break. Raise
    Rejected if it is empty."""
    part = between(text, tag)
    if not part:
        raise Rejected(f"it has no {tag} between <{tag}> and </{tag}>")
    return f"{part}\n"


def read_reply(client: Client, messages: list[Message], read: Callable = refuse_empty,
               once_more: Callable[..., list[Message]] | None = None, **options):
    """Return read(reply) of the model's reply to `messages`.

    If read() raises Rejected, ask again, with the messages that once_more(reply, reason, *details)
    returns; without `once_more`, with the same messages. After 1 + format_retries tries, raise
    ItemFailed. `options` are arguments of Client.ask(); `n` applies only to the first try.
    """
    asked, rejected = messages, []
    while True:
        reply = client.ask(asked, **options)
        try:
            return read(reply)
        except Rejected as e:
            reason, *details = e.args
        rejected.append(reply)
        if len(rejected) > client.spec.format_retries:
            break
        options.pop("n", None)
        if "schema" in options and (reply.truncated or not [*json_objects(reply.text)]):
            del options["schema"]   # some servers write blanks without end under a schema
        asked = once_more(reply, reason, *details) if once_more else messages
    n = len(rejected)
    return client.give_up(f"{reason}, {n} tries" if n > 1 else reason, *rejected)


def ask(client: Client, read: Callable, request: str, again: str, **options):
    """Return read(reply) of a non-empty reply to the text `request`; see read_reply(). After a
    rejected reply, the template `again`, filled with {reply}, {problem} and {details}, is appended
    to the request."""
    def messages(text: str) -> list[Message]:
        return client.fit([{"role": "user", "content": text}]).messages

    def once_more(reply: Reply, problem: str, *details: str) -> list[Message]:
        text = fill(again, problem=problem, reply=reply.text if reply.text.strip() else "",
                    details="\n".join(details))
        return messages(f"{request}\n\n{text}")

    return read_reply(client, messages(request), lambda reply: read(refuse_empty(reply)), once_more,
                      **options)
