"""Find forbidden reads in a whole trajectory: a verifier's hidden tests or solution, the
repository's later history or pages, or the pull request before the agent wrote any of it.

Only commands and results are searched, for fixed patterns: disguised reads are missed.
"""
from __future__ import annotations

import re

from codedata.conversation.turn import Turn, form_of, turn_text
from codedata.leak.leaked_facts import has_read_fix
from codedata.messages import content_text
from codedata.records import Commit, Message

# Patterns that no command may contain: a verifier's folders; commands that fetch or list the
# repository's later history or its pages (a link in brackets fetches nothing). REPO is replaced by
# owner/name. Repeats are bounded, for linear time.
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
    """Return the first forbidden command, or the forbidden read, or "". Without `has_history` (the
    task has no later history), the commands of HISTORY are allowed."""
    forbidden = OF_VERIFIER + (HISTORY.replace("REPO", re.escape(pr.repo)) if has_history else "")
    if match := re.search(forbidden, re.sub(r"[ \t]+", " ", actions), re.IGNORECASE):
        return match[0]
    return "the pull request, before it wrote any of it" if has_read_fix(messages, pr) else ""


def actions_of(messages: list[Message], tools: list | None) -> str:
    """Return the turns' actions as text, with tool calls as shell commands where possible."""
    fence, actions = form_of(messages, tools).fence, []
    for message in messages:
        if message["role"] == "assistant":
            text = content_text(message)
            actions.append(turn_text({**message, "content": ""}, as_bash=True)
                           if message.get("tool_calls") else Turn(text, fence).block or text)
    return "\n".join(actions)
