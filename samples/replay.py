#!/usr/bin/env python3
"""Serve kept replies as an OpenAI-compatible endpoint on this machine.

  python samples/replay.py FOLDER [--port 8077]

FOLDER has trajectories of agents (*.json): a reply is found by the task that the conversation
begins with, and by the number of replies in it, since what the tools have printed meanwhile may
differ (times, ids).

Or FOLDER has replies.jsonl: {role, asked, reply}. A reply is found by the role, which is the first
part of the path, and the digest of the request's messages.

What nobody has answered gets 404. GET /stats has the number of calls and of those asked twice.
"""
import argparse
import hashlib
import json
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def key_of(messages: list[dict]) -> str:
    """Return the task of a conversation: the first line that the user says."""
    return next(m["content"] for m in messages if m["role"] == "user").strip().split("\n")[0]


class Conversations:
    """Find the replies of agents in their trajectories."""

    def __init__(self, folder: Path):
        self._replies = {}   # by task
        for path in sorted(folder.glob("*.json")):
            messages = json.loads(path.read_text(encoding="utf-8"))["messages"]
            self._replies[key_of(messages)] = [m for m in messages if m["role"] == "assistant"]

    def find(self, role: str, messages: list[dict]) -> tuple[str, int, dict | None]:
        """Return the task, the number of the reply, and the reply or None."""
        task = key_of(messages)
        n = sum(m["role"] == "assistant" for m in messages)
        replies = self._replies.get(task, [])
        return task, n, replies[n] if n < len(replies) else None


class Kept:
    """Find replies by the role and the digest of the request; further ones come in their order."""

    def __init__(self, folder: Path):
        self.changed: list[str] = []   # requests that nobody has answered
        self._replies, self._asked, self._lock = defaultdict(list), Counter(), threading.Lock()
        for line in (folder / "replies.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            self._replies[row["role"], row["asked"]].append(row["reply"])

    def find(self, role: str, messages: list[dict]) -> tuple[str, int, dict | None]:
        """Return the role, the number of the try, and its reply or None."""
        key = role, digest_of(messages)
        with self._lock:
            n = self._asked[key]
            self._asked[key] += 1
        left = self._replies.get(key)
        if not left:
            self.changed.append(" ".join(key))
            return role, n, None
        return role, n, left[min(n, len(left) - 1)]


def digest_of(messages: list[dict]) -> str:
    """Return 16 hex digits of a request's messages."""
    data = json.dumps(messages, sort_keys=True).encode()
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def prompts_of(folder: Path) -> list[dict]:
    """Return the turns of a duel's turns.json as records of prompt/, in their order."""
    trajectories = json.loads((folder.parent / "trajectories.json").read_text(encoding="utf-8"))
    prompts = []
    for order, turn in enumerate(json.loads((folder / "turns.json").read_text()), 1):
        row = trajectories[turn["trajectory"]]
        at = [i for i, m in enumerate(row["messages"]) if m["role"] == "assistant"][turn["turn"]]
        prompts.append({"instance_id": row["instance_id"], "repo": row["repo"], "language": "",
                        "turn": turn["turn"], "order": order, "messages": row["messages"][:at],
                        "assistant": row["messages"][at]["content"]})
    return prompts


class Replay(ThreadingHTTPServer):
    """Answer with kept replies."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path, port: int = 0, latency_s: float = 0.0):
        super().__init__(("127.0.0.1", port), Handler)
        self.kept = (Kept if (folder / "replies.jsonl").exists() else Conversations)(folder)
        self.latency_s = latency_s
        self.asked, self.lock = Counter(), threading.Lock()

    def latency_of(self, task: str) -> float:
        """Return the seconds that each reply of a task takes."""
        return self.latency_s

    @property
    def base_url(self) -> str:
        """Return the address that a client takes."""
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    """Serve one connection of a Replay."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        messages = request["messages"]
        task, n, message = self.server.kept.find(self.path.split("/")[1], messages)
        if message is None:
            return self.reply(404, {"error": {"message": f"{task!r} has no reply {n + 1}"}})
        time.sleep(self.server.latency_of(task))
        with self.server.lock:
            self.server.asked[task, n] += 1
        usage = {"prompt_tokens": len(str(messages)) // 4,
                 "completion_tokens": len(str(message)) // 4}
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        return self.reply(200, {
            "object": "chat.completion", "model": request.get("model"), "usage": usage,
            "choices": [{"index": 0, "message": message, "finish_reason": reason}]})

    def do_GET(self):
        asked = self.server.asked
        self.reply(200, {"calls": sum(asked.values()),
                         "again": sum(n - 1 for n in asked.values())})

    def reply(self, status: int, body: dict):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with suppress(ConnectionError):   # who asked was killed
            self.wfile.write(data)

    def log_message(self, *_):
        pass


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--port", type=int, default=0)
    args = p.parse_args()
    server = Replay(args.folder, args.port)
    print(server.base_url, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
