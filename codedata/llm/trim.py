"""Cut a request to `max_prompt_tokens`: first old messages, then long last messages, then patches by file.

The system message, the task and the last two messages stay; where dropping the messages between them is not enough,
the last two lose the middle of long bodies. Everything else in the request is `fixed` and never cut; where that
does not fit, the item fails.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

from codedata.errors import ItemFailed

MESSAGE_TOKENS = 6       # approximate tokens that a chat template adds to a message
SHORTEST_BODY = 400      # minimum characters that a cut message keeps
FILE_BORDER = re.compile(r"^(?=diff --git )", re.MULTILINE)


@dataclass(frozen=True)
class Fitted:
    """Hold a request that fits: history, patches, and what was cut ('' for nothing)."""

    messages: list[dict]
    patches: list[str]
    cut: str = ""


def estimate_tokens(text: str) -> int:
    """Return the estimated tokens of a text: one per 3 bytes, which overestimates code and prose."""
    return (len(text.encode("utf-8", "surrogatepass")) + 2) // 3


def fit(history: list[dict], limit: int, tokens=estimate_tokens, fixed: str = "",
        patches: tuple[str, ...] = ()) -> Fitted:
    """Return the request cut to `limit` tokens; raise ItemFailed where its fixed parts exceed that."""
    def size(messages, patches):
        return sum(tokens(m["content"]) + MESSAGE_TOKENS for m in messages) + fixed_tokens + sum(map(tokens, patches))

    patches = list(patches)
    fixed_tokens = tokens(fixed) + MESSAGE_TOKENS if fixed else 0   # it may become a separate message
    if size(history, patches) <= limit:
        return Fitted(history, patches)
    head = next((i + 1 for i, m in enumerate(history) if m["role"] != "system"), len(history))
    tail = max(head, len(history) - 2)
    shortest = history[:head] + _marker(history, head, tail) + history[tail:]
    room = limit - size(shortest, patches)
    while tail > head:   # keep the newest turns that fit whole
        start = max(head, tail - 2)
        room -= sum(tokens(m["content"]) + MESSAGE_TOKENS for m in history[start:tail])
        if room < 0:
            break
        tail = start
    messages = history[:head] + _marker(history, head, tail) + history[tail:]
    cuts = [f"{tail - head} of {len(history)} messages"] if tail > head else []
    for i in sorted(range(max(head, len(messages) - 2), len(messages)), key=lambda i: -len(messages[i]["content"])):
        over = size(messages, patches) - limit
        if over > 0:
            body = messages[i]["content"]
            body = _without_middle(body, tokens(body) - over, tokens)
            if body != messages[i]["content"]:
                messages = [*messages[:i], {**messages[i], "content": body}, *messages[i + 1:]]
                cuts.append("the middle of a last message")
    n_files = 0
    for k in reversed(range(len(patches))):   # cuts the last one, the test patch, first
        files = FILE_BORDER.split(patches[k])
        for i in reversed(range(len(files))):
            note = f"[the patch of {_path(files[i])} is left out: {len(files[i]):,} characters]\n"
            whole_file = len(files) == 1 or FILE_BORDER.match(files[i])   # skips text before the first file
            if whole_file and size(messages, patches) > limit and tokens(note) < tokens(files[i]):
                files[i] = note
                patches[k], n_files = "".join(files), n_files + 1
    if n_files:
        cuts.append(f"{n_files} files of the patch")
    if (needed := size(messages, patches)) > limit:
        raise ItemFailed(f"does not fit max_prompt_tokens: what may not be cut takes {needed} of {limit} tokens.",
                         todo="Raise max_prompt_tokens, or take a model with a longer context.")
    return Fitted(messages, patches, ", ".join(cuts))


def _marker(history: list[dict], start: int, end: int) -> list[dict]:
    """Return up to two messages that replace history[start:end] and keep the roles alternating."""
    if start == end:
        return []
    chars = sum(len(m["content"]) for m in history[start:end])
    first = history[start]["role"]
    marker = [{"role": first, "content": f"[… {end - start} messages left out here: {chars:,} characters …]"}]
    if end < len(history) and history[end]["role"] == first:
        marker.append({"role": "user" if first == "assistant" else "assistant",
                       "content": "[… the history goes on below …]"})
    return marker


def _without_middle(body: str, room: int, tokens) -> str:
    """Return the start and end of `body` that fit `room` tokens, at least SHORTEST_BODY characters."""
    def cut(keep):
        return (f"{body[:keep - keep // 2]}\n[… {len(body) - keep:,} characters left out here …]\n"
                f"{body[len(body) - keep // 2:]}")
    low, high = SHORTEST_BODY, len(body)
    if high <= low or tokens(cut(low)) >= tokens(body):
        return body
    while high - low > 1:
        keep = (low + high) // 2
        low, high = (keep, high) if tokens(cut(keep)) <= room else (low, keep)
    return cut(low)


def _path(file_patch: str) -> str:
    first = file_patch.partition("\n")[0]
    return first.rpartition(" b/")[2] if FILE_BORDER.match(first) else "this change"
