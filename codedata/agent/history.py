"""What has been said in a run, and what of it a request holds: all, or without the bodies of old observations.

The messages stay whole; where a request would be too long, the oldest observations in it are replaced by lines that say
how long they were and where the model finds them in the sandbox. System prompt, task, what the model itself said and
what it has not seen yet are never shortened.
"""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from codedata.llm.trim import MESSAGE_TOKENS, estimate_tokens

SHORTEST_BODY = 1000     # characters: shorter ones are not worth a line in their place
DOWN_TO = 0.75           # of the limit: so that not every step changes the request's beginning, which endpoints cache


@dataclass(frozen=True)
class LeftOut:
    """A message whose body requests do not hold any more."""

    message: int             # index in the messages
    from_iteration: int      # the first whose request was without it
    placeholder: str         # what stood there instead


@dataclass
class History:
    """The messages of a run."""

    messages: list[dict]
    left_out: dict[int, LeftOut] = field(default_factory=dict)
    _observations: dict[int, str] = field(default_factory=dict)   # index → name

    def say(self, message: dict) -> None:
        self.messages.append(message)

    def observe(self, message: dict, name: str) -> None:
        self._observations[len(self.messages)] = name
        self.messages.append(message)

    def request(self) -> list[dict]:
        return [{**message, "content": self.left_out[i].placeholder} if i in self.left_out else message
                for i, message in enumerate(self.messages)]

    def size(self) -> int:
        """Tokens of a request, about, and rather too many."""
        return sum(map(_tokens, self.request()))

    def shorten(self, limit: int, iteration: int, save: Callable[[str, str], str]) -> bool:
        """Leave out old bodies till a request fits `limit`; False where there is none left to leave out.

        save(name, text) puts a body where the model can read it, and gives the place.
        """
        size, n_before = self.size(), len(self.left_out)
        last_reply = max((i for i, message in enumerate(self.messages) if message["role"] == "assistant"), default=0)
        for i in self._observations:
            body = self.messages[i]["content"]
            if size <= limit * DOWN_TO or i > last_reply:
                break
            if i not in self.left_out and len(body) >= SHORTEST_BODY:
                place = save(self._observations[i], body)
                line = f"[{len(body):,} characters of an earlier observation are left out here; they are in {place}]"
                size -= estimate_tokens(body) - estimate_tokens(line)
                self.left_out[i] = LeftOut(i, iteration, line)
        return len(self.left_out) > n_before


def _tokens(message: dict) -> int:
    calls = json.dumps(message["tool_calls"]) if "tool_calls" in message else ""
    return estimate_tokens(message["content"] or "") + estimate_tokens(calls) + MESSAGE_TOKENS
