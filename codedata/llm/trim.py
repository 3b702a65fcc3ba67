"""Cut a request to `max_prompt_tokens`: drop old messages, shorten the last ones, drop files of
patches.

The system message, the task and the last two messages stay. If it is not enough to drop the
messages between the task and the last two, long texts of the last two lose their middle; then files
of the patches are left out. The text `fixed` is never cut; if it does not fit, the item fails.
"""
from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from codedata.errors import ItemFailed
from codedata.messages import calls_text, content_text

MESSAGE_TOKENS = 6       # approximate tokens that a chat template adds to a message
MIN_BODY_CHARS = 400     # minimum characters that a cut message keeps
FILE_BORDER = re.compile(r"^(?=diff --git )", re.MULTILINE)


@dataclass(frozen=True)
class Fitted:
    """Hold a request that fits: its history, its patches, and a description of the cuts, or ''."""

    messages: list[dict]
    patches: list[str]
    cut: str = ""


def estimate_tokens(text: str) -> int:
    """Return the estimated number of tokens of a text: one for each 3 bytes. Code and prose have
    fewer."""
    return (len(text.encode("utf-8", "surrogatepass")) + 2) // 3


def text_sent(message: dict) -> str:
    """Return the parts of a message that count for the limit: its text and its calls."""
    return content_text(message) + calls_text(message)


def fit(history: list[dict], limit: int, tokens=estimate_tokens, fixed: str = "",
        patches: tuple[str, ...] = ()) -> Fitted:
    """Return the request cut to `limit` tokens. Raise ItemFailed if the parts that cannot be cut
    exceed the limit."""
    # count `fixed` as a message, since it may become a separate one
    n_fixed = tokens(fixed) + MESSAGE_TOKENS if fixed else 0

    def size(messages):
        return sum(tokens(text_sent(message)) + MESSAGE_TOKENS for message in messages)

    def total():
        return size(messages) + sum(map(tokens, patches)) + n_fixed

    messages = history
    patches = list(patches)
    if total() <= limit:
        return Fitted(messages, patches)
    cuts = []
    roles = [message["role"] for message in history]
    n_head = next((i + 1 for i, role in enumerate(roles) if role != "system"), len(roles))
    last = _call_before(history, n_head, len(history) - 2)
    messages = _without(history, n_head, last)
    start = _newest_turns(history, n_head, last, limit - total(), size)
    messages = _without(history, n_head, start)
    if start > n_head:
        cuts.append(f"{start - n_head} of {len(history)} messages")
    indices = range(len(messages) - len(history) + last, len(messages))
    for i in sorted(indices, key=lambda i: -len(content_text(messages[i]))):
        body = content_text(messages[i])
        shorter = _without_middle(body, tokens(body) + limit - total(), tokens)
        if shorter != body:
            messages[i] = {**messages[i], "content": shorter}
            cuts.append("the middle of a last message")
    if n_files := _leave_out_files(patches, lambda: total() > limit, tokens):
        cuts.append(f"{n_files} files of the patch")
    if total() > limit:
        raise ItemFailed("does not fit max_prompt_tokens: what may not be cut takes "
                         f"{total()} of {limit} tokens.",
                         todo="Raise max_prompt_tokens, or take a model with a longer context.")
    return Fitted(messages, patches, ", ".join(cuts))


def _newest_turns(history: list[dict], first: int, last: int, room: int, size) -> int:
    """Return the smallest index i ≥ first such that history[i:last] fits the room. Never separate a
    tool's result from its call."""
    start = last
    while start > first:
        turn = _call_before(history, first, start - 2)
        room -= size(history[turn:start])
        if room < 0:
            break
        start = turn
    return start


def _call_before(history: list[dict], first: int, i: int) -> int:
    """Return `i` or, if history[i] is a tool's result, the index of the tool call. Never return
    less than `first`."""
    while i > first and history[i]["role"] == "tool":
        i -= 1
    return max(first, i)


def _leave_out_files(patches: list[str], is_too_long, tokens) -> int:
    """Replace files of the patches by notes, from the last file to the first: the test patch is
    shortened first. Return the number of files replaced."""
    n_files = 0
    for k in reversed(range(len(patches))):
        files = FILE_BORDER.split(patches[k])
        for i in reversed(range(len(files))):
            file = files[i]
            border = FILE_BORDER.match(file)
            path = file.partition("\n")[0].rpartition(" b/")[2] if border else "this change"
            note = f"[the patch of {path} is left out: {len(file):,} characters]\n"
            # skip text before the first file
            if (border or len(files) == 1) and is_too_long() and tokens(note) < tokens(file):
                files[i] = note
                patches[k] = "".join(files)
                n_files += 1
    return n_files


def _without(history: list[dict], start: int, end: int) -> list[dict]:
    """Return a history with history[start:end] replaced by one or two notes, so that the roles of
    the messages still alternate."""
    if start == end:
        return [*history]
    chars = sum(len(text_sent(message)) for message in history[start:end])
    first = "assistant" if history[start]["role"] == "assistant" else "user"
    text = f"[… {end - start} messages left out here: {chars:,} characters …]"
    marker = [{"role": first, "content": text}]
    if end < len(history) and history[end]["role"] == first:
        other = "user" if first == "assistant" else "assistant"
        marker.append({"role": other, "content": "[… the history goes on below …]"})
    return history[:start] + marker + history[end:]


def _without_middle(body: str, room: int, tokens) -> str:
    """Return the start and the end of `body`, cut to `room` tokens but not below MIN_BODY_CHARS."""
    def cut(n_chars):
        n_end = n_chars // 2
        n_start = n_chars - n_end
        gap = f"\n[… {len(body) - n_chars:,} characters left out here …]\n"
        return body[:n_start] + gap + body[len(body) - n_end:]
    if len(body) <= MIN_BODY_CHARS or tokens(body) <= max(room, tokens(cut(MIN_BODY_CHARS))):
        return body
    longer = range(MIN_BODY_CHARS + 1, len(body))
    n_more = bisect_right(longer, room, key=lambda n_chars: tokens(cut(n_chars)))
    return cut(MIN_BODY_CHARS + n_more)
