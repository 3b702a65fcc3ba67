"""A dataset server and a Hub on loopback: /rows, /size, /parquet, the Hub's own list, downloads by byte range.

It counts what it sends and misbehaves on request: `fail` answers the next requests of a path with those statuses,
`page_limit` shortens pages, `cut` and `shuffle` spoil rows, `down` is a path that always gives that status.
"""
from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit


@dataclass
class RowsServer:
    rows: list[dict] = field(default_factory=list)
    folder: Path | None = None                                     # what /files/NAME serves
    parquet: list[str] = field(default_factory=list)               # names in the listings, in row order
    name: str = "org/set"
    partial: bool = False
    page_limit: int = 100
    cut: set[int] = field(default_factory=set)                     # rows whose `messages` come truncated
    shuffle: bool = False
    slow_s: float = 0.0                                            # before a good download
    down: dict[str, int] = field(default_factory=dict)
    fail: dict[str, list] = field(default_factory=lambda: defaultdict(list))
    requests: list[tuple[str, dict, dict]] = field(default_factory=list)   # path, parameters, headers
    bytes_sent: int = 0

    def __enter__(self) -> RowsServer:
        self.lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": self}))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._http.shutdown()
        self._http.server_close()

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.requests]

    def answer(self, path: str, query: dict):
        """The JSON of an API path; KeyError where there is none."""
        if path in ("/rows", "/size", "/parquet") and query["dataset"] != self.name:
            raise KeyError(query["dataset"])
        return {"/rows": self._rows, "/size": self._size, "/parquet": self._parquet,
                f"/api/datasets/{self.name}/parquet/default/train": self._hub_list}[path](query)

    def _rows(self, query: dict) -> dict:
        offset, length = int(query["offset"]), int(query["length"])
        if length > 100:
            raise KeyError("length")
        page = [{"row_idx": i, "row": row, "truncated_cells": []} for i, row in enumerate(self.rows)]
        page = page[offset:offset + min(length, self.page_limit)]
        for entry in page:
            if entry["row_idx"] in self.cut:
                entry.update(row={**entry["row"], "messages": "[{"}, truncated_cells=["messages"])
        return {"features": [], "rows": page[::-1] if self.shuffle else page, "num_rows_total": len(self.rows),
                "num_rows_per_page": 100, "partial": self.partial}

    def _size(self, query: dict) -> dict:
        return {"size": {"splits": [{"config": "default", "split": "train", "num_rows": len(self.rows)}]},
                "pending": [], "failed": [], "partial": self.partial}

    def _parquet(self, query: dict) -> dict:
        return {"parquet_files": [
            {"dataset": self.name, "config": "default", "split": split, "url": f"{self.url}/files/{name}",
             "filename": name, "size": (self.folder / name).stat().st_size}
            for name in self.parquet for split in ("test", "train")],
            "pending": [], "failed": [], "partial": self.partial}

    def _hub_list(self, query: dict) -> list[str]:
        return [f"{self.url}/files/{name}" for name in self.parquet]


class _Handler(BaseHTTPRequestHandler):
    state: RowsServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        state, parts = self.state, urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        with state.lock:
            state.requests.append((parts.path, query, dict(self.headers)))
            status = next((code for path, code in state.down.items() if parts.path.startswith(path)), 0)
            status = status or (state.fail[parts.path].pop(0) if state.fail[parts.path] else 0)
        if status:
            self._send(status, b'{"error": "on request"}', {"Retry-After": "0.02"} if status == 429 else {})
        elif parts.path.startswith("/files/"):
            self._send_range(state.folder / parts.path.removeprefix("/files/"))
        else:
            try:
                self._send(200, json.dumps(state.answer(parts.path, query)).encode())
            except KeyError as e:
                self._send(404, json.dumps({"error": f"no {e}"}).encode())

    def _send_range(self, path: Path) -> None:
        if not path.is_file():
            return self._send(404, b"")
        size = path.stat().st_size
        start, _, end = self.headers.get("Range", f"bytes=0-{size - 1}").removeprefix("bytes=").partition("-")
        time.sleep(self.state.slow_s)
        with path.open("rb") as file:
            file.seek(int(start))
            body = file.read(int(end) + 1 - int(start))
        self._send(206, body, {"Content-Range": f"bytes {start}-{int(start) + len(body) - 1}/{size}"})

    def _send(self, status: int, body: bytes, headers: dict | None = None) -> None:
        with self.state.lock:
            self.state.bytes_sent += len(body)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass
