"""Write attempts by hand, as solve.py leaves them."""
from pathlib import Path

import tool_turns
from tool_turns import asks, call, result

from codedata.conversation.atif_writer import atif_of
from codedata.disk.store import Store
from codedata.records import Attempt

USAGE = {"calls": 2, "tokens_in": 200, "tokens_out": 40, "cost_usd": 0.5}
CALL = call("bash", {"command": "ls"}, "call_1")
MESSAGES = [
    {"role": "system", "content": "You work."}, {"role": "user", "content": "Add up."},
    asks(CALL, {**CALL, "id": "call_2"}), result("call_1", "total.py"),
    result("call_2", "total.py"), {"role": "user", "content": "Go on."},
    {"role": "assistant", "content": "Done."}]
TOOLS = tool_turns.TOOLS[:1]


def write_attempt(root: Path, task: str = "sums", k: int = 1, status: str = "solved",
                  content: str = "0123456789abcdef", agent: str = "own-m-012345",
                  messages: list = MESSAGES, tools: list = TOOLS, **outcome) -> str:
    """Write an attempt to a root, and return its name."""
    name = f"{task}.{content[:8]}.{agent}.{k}"
    outcome = {
        "task": task, "kind": "datapoint", "content": content, "agent": agent, "model": "m",
        "settings": {}, "attempt": k, "status": status, "why": "", "until": [],
        "reward": float(status == "solved"), "verifier": "2 passed", "replayed": 0,
        "usage": USAGE,
        "seconds": {"model": 1.0, "verifier": 1.0, "agent": 3.0, "all": 5.0}, **outcome}
    trajectory = atif_of(messages, tools, name, {"name": "own", "version": "1"},
                         extra={"instance_id": task, "repo": "them/sums"})
    record = Attempt(name, outcome, trajectory, "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-1\n+2\n")
    Store(root, Attempt).open().put(name, record, (*Attempt.places,))
    return name
