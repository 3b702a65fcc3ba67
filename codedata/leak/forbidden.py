"""Find in a whole trajectory what an agent may not read: the tests or solution that a verifier
hides, the repository's later history or pages, or the pull request before it wrote any of it.

Commands and results are searched for that: what an agent hides in other words is missed.
"""
from __future__ import annotations

import re

from codedata.conversation.turn import Turn, form_of, turn_text
from codedata.leak.facts import has_read_fix
from codedata.messages import content_text
from codedata.records import Commit, Message

# What no command may hold: a verifier's folders; what fetches or lists the repository's later
# history, its pages (a link in brackets fetches nothing). REPO stands for owner/name. Repeats are
# bounded, so that it takes linear time
OF_VERIFIER = r"(?<![\w./~*)}-])/(?:tests|solution|logs/verifier)\b"
HISTORY = (
    r"|\bgit (?:-[cC] \S{1,99} |-\S{1,99} ){0,5}(?:fetch|pull|clone|ls-remote|reflog)\b"
    r"|\bgit (?:-[cC] \S{1,99} |-\S{1,99} ){0,5}(?:log|rev-list|show|diff|checkout)\b"
    r"[^\n|;&]{0,200} (?:--(?:all|remotes|branches)\b|(?:origin|upstream)/)"
    r"|\bgh (?:pr|issue|api|release) |\bgit\+\w{1,9}://[^\s/]{1,60}/REPO(?![\w-])"
    r"|https?://(?:raw|codeload|patch-diff)\.github\w{0,30}\.com/(?:raw/)?REPO/"
    r"|(?<![(<])https?://(?:api\.|www\.)?github\.com/(?:repos/)?REPO/"
    r"(?:pull|commit|compare|issues|archive|blob|raw)")


def forbidden_in(actions: str, messages: list[Message], pr: Commit, has_history: bool = True
                 ) -> str:
    """Return what actions read or ran that they should not, or "". A task may be about git itself:
    without `has_history` it has no later one."""
    forbidden = OF_VERIFIER + (HISTORY.replace("REPO", re.escape(pr.repo)) if has_history else "")
    if match := re.search(forbidden, re.sub(r"[ \t]+", " ", actions), re.IGNORECASE):
        return match[0]
    return "the pull request, before it wrote any of it" if has_read_fix(messages, pr) else ""


def actions_of(messages: list[Message], tools: list | None) -> str:
    """Return what the turns do: the shell commands that do the same, where there are some."""
    fence, actions = form_of(messages, tools).fence, []
    for message in messages:
        if message["role"] == "assistant":
            text = content_text(message)
            actions.append(turn_text({**message, "content": ""}, as_bash=True)
                           if message.get("tool_calls") else Turn(text, fence).block or text)
    return "\n".join(actions)
