"""Ask a model until its reply can be read."""
from __future__ import annotations

from collections.abc import Callable

from codedata.llm.client import Client, Reply
from codedata.records import Message
from codedata.texts import fill


class Rejected(Exception):
    """Report what is wrong with a reply: a short reason, then details for the model, if any."""


def ask(client: Client, read: Callable, request: str, again: str, **options):
    """Return read(reply) of the model's reply. If read() raises Rejected, ask again with the text
    `again`, which shows {reply}, {problem} and {details}. Raise ItemFailed after too many tries.
    `options` are those of Client.chat()."""
    messages: list[Message] = [{"role": "user", "content": request}]
    last = {}

    def accept(reply: Reply) -> str | None:
        last["reply"] = reply.text
        try:
            last["result"] = read(reply)
        except Rejected as e:
            problem, *details = e.args
            last["details"] = "\n".join(details)
            return problem
        return None

    def once_more(problem: str) -> list[Message]:   # an empty reply was not given to accept()
        text = fill(again, problem=problem, reply=last.pop("reply", ""),
                    details=last.pop("details", ""))
        return client.fit([{"role": "user", "content": f"{request}\n\n{text}"}]).messages

    client.chat(client.fit(messages).messages, accept=accept, once_more=once_more, **options)
    return last["result"]
