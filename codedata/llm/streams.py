"""Read a chat completion that an endpoint sends as a stream of events (SSE)."""
from __future__ import annotations

from collections import defaultdict

from codedata.llm.http import read_json

TEXTS = ("content", "reasoning_content", "reasoning")   # fields of a message that come in parts


class _Choice:
    """Collect the parts of one choice."""

    def __init__(self):
        self.texts = defaultdict(list)
        self.calls = []
        self.finish_reason = None

    def add(self, part: dict) -> None:
        delta = part.get("delta") or {}
        for name in TEXTS:
            if isinstance(delta.get(name), str):
                self.texts[name].append(delta[name])
        for piece in delta.get("tool_calls") or ():
            self._add_call(piece)
        self.finish_reason = part.get("finish_reason") or self.finish_reason

    def _add_call(self, piece: dict) -> None:
        """Add a piece of a call. A new index or a new id begins a new call. So does a name if the
        previous call has no id, since Gemini's calls all have index 0 and no id."""
        call = self.calls[-1] if self.calls else None
        function = piece.get("function") or {}
        index, id, name = piece.get("index", 0), piece.get("id") or "", function.get("name") or ""
        if (not call or index != call["index"] or id not in ("", call["id"])
                or (name and not call["id"])):
            call = {"index": index, "id": id, "name": "", "arguments": []}
            self.calls.append(call)
        call["name"] = call["name"] or name
        call["arguments"].append(function.get("arguments") or "")
        if "extra_content" in piece:
            call["extra_content"] = piece["extra_content"]

    def whole(self) -> dict:
        """Return the choice in the form of a completion."""
        calls = [{**call, "function": {"name": call["name"],
                                       "arguments": "".join(call["arguments"])}}
                 for call in self.calls]
        message = {name: "".join(parts) for name, parts in self.texts.items()}
        return {"message": {**message, "tool_calls": calls}, "finish_reason": self.finish_reason}


def completion_of(body: bytes) -> tuple[dict, bool]:
    """Return (the completion received in a stream, whether the stream is complete)."""
    answer, choices, is_whole = {}, defaultdict(_Choice), False
    for line in body.splitlines():
        name, _, data = line.partition(b":")
        if name != b"data" or is_whole:
            continue
        if data.strip() == b"[DONE]":
            is_whole = True
            continue
        try:
            chunk = read_json(data)
        except ValueError:   # the stream broke off in this chunk
            break
        answer |= {key: value for key, value in chunk.items() if value is not None}
        for part in chunk.get("choices") or ():
            choices[part.get("index", 0)].add(part)
    found = [choices[n].whole() for n in sorted(choices)]
    is_whole = is_whole or (bool(found) and all(one["finish_reason"] for one in found))
    return {**answer, "choices": found}, is_whole
