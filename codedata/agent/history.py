"""Keep the messages of a run and build its requests; shorten requests that are too long.

The messages stay whole. If a request would be too long, its oldest observations are replaced, each
by a line with its length and the path of its whole text in the sandbox. System prompt, task, the
model's own messages and observations that it has not seen yet are never shortened.
"""
from __future__ import annotations

import json
from collections.abc import Callable

from codedata.llm.trim import MESSAGE_TOKENS, estimate_tokens

MIN_BODY = 1000          # characters: replacing shorter observations saves too little
TARGET_SHARE = 0.75      # shorten to this share of the limit: then the cached prefix rarely changes


class History:
    """Hold the messages of a run, and the bodies that its requests leave out.

    `left_out` maps the index of a shortened message to a dict: `message` is the index again,
    `from_iteration` the first iteration without the body, and `placeholder` the text sent instead.
    """

    def __init__(self, messages: list[dict]):
        self.messages = messages
        self.left_out: dict[int, dict] = {}
        self.observations: list[int] = []   # their indices
        self.n_sent_back = 0   # tokens of the thinking that a client sends with the model's calls

    def observe(self, message: dict) -> None:
        """Append an observation, whose body may be left out later."""
        self.observations.append(len(self.messages))
        self.messages.append(message)

    def request(self) -> list[dict]:
        """Return the messages to send, with placeholders for the bodies left out."""
        messages = list(self.messages)
        for i, left_out in self.left_out.items():
            messages[i] = {**messages[i], "content": left_out["placeholder"]}
        return messages

    def size(self) -> int:
        """Return an upper estimate of the next request's tokens."""
        return self.n_sent_back + sum(map(_tokens, self.request()))

    def shorten(self, limit: int, iteration: int, save: Callable[[int, str], str]) -> bool:
        """Leave out old bodies until a request that is over `limit` fits well within it; return
        whether any was left out.

        save(index, text) stores a message's body where the model can read it and returns its path.
        """
        size = self.size()
        if size <= limit:
            return False
        n_before = len(self.left_out)
        seen = max((i for i, m in enumerate(self.messages) if m["role"] == "assistant"), default=0)
        for i in self.observations:
            body = self.messages[i]["content"]
            if size <= limit * TARGET_SHARE or i > seen:
                break
            if i in self.left_out or len(body) < MIN_BODY:
                continue
            line = (f"[{len(body):,} characters of an earlier observation are left out here; they "
                    f"are in {save(i, body)}]")
            size -= estimate_tokens(body) - estimate_tokens(line)
            self.left_out[i] = {"message": i, "from_iteration": iteration, "placeholder": line}
        return len(self.left_out) > n_before


def _tokens(message: dict) -> int:
    calls = json.dumps(message["tool_calls"]) if "tool_calls" in message else ""
    return estimate_tokens(message["content"] or "") + estimate_tokens(calls) + MESSAGE_TOKENS
