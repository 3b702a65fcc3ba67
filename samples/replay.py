#!/usr/bin/env python3
"""Serve recorded replies of agents as an OpenAI-compatible endpoint on this machine.

A reply is found by the task that the conversation begins with, and by the number of replies in it:
what the tools have printed meanwhile may differ (times, ids). A conversation that was not recorded,
or goes on behind its end, gets 404. GET /stats has the number of calls, and of those asked twice.

  python samples/replay.py FOLDER --port 8077    # FOLDER/*.json: trajectories
"""
import argparse
import json
import threading
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def key_of(messages: list[dict]) -> str:
    """Return the task of a conversation: the first line that the user says."""
    return next(m["content"] for m in messages if m["role"] == "user").strip().split("\n")[0]


def recorded(folder: Path) -> dict[str, list[dict]]:
    """Return {task: its replies} of the trajectories in a folder."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        messages = json.loads(path.read_text(encoding="utf-8"))["messages"]
        found[key_of(messages)] = [m for m in messages if m["role"] == "assistant"]
    return found


class Replay(ThreadingHTTPServer):
    """Answer with recorded replies."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path, port: int = 0, latency_s: float = 0.0):
        super().__init__(("127.0.0.1", port), Handler)
        self.replies, self.latency_s = recorded(folder), latency_s
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
        task = key_of(request["messages"])
        n = sum(m["role"] == "assistant" for m in request["messages"])
        replies = self.server.replies.get(task, [])
        if n >= len(replies):
            return self.reply(404, {"error": {"message": f"{task!r} has no reply {n + 1}"}})
        time.sleep(self.server.latency_of(task))
        with self.server.lock:
            self.server.asked[task, n] += 1
        message = replies[n]
        usage = {"prompt_tokens": len(str(request["messages"])) // 4,
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
