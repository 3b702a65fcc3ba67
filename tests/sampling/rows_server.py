"""Serve a dataset server and a Hub on loopback: rows, sizes, Parquet, downloads by byte range.

It counts what it sends and misbehaves on request: `fail` answers the next requests of a path with
those statuses, `page_limit` shortens pages, `cut` and `shuffle` spoil rows, `down` is a path that
always gives that status.
"""
import json
from collections import defaultdict
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import duckdb
import pytest
from fake_llm import FakeLLM, Request, Status, part_of

from codedata.llm.http import Http
from codedata.settings import LLM


@pytest.fixture
def http():
    http = Http(LLM(retry_max=2, retry_wait_s=0.01, max_429_total_s=5))
    yield http
    http.close()


class RowsServer(FakeLLM):
    """Run the server, as a context manager.

    `folder` is what /files/NAME serves; `parquet` are the names in the listings, in row order.
    """

    def __init__(self, rows=(), folder: Path | None = None, parquet=(), name: str = "org/set"):
        super().__init__()
        self.rows, self.folder, self.parquet, self.name = rows, folder, parquet, name
        self.partial = self.shuffle = False
        self.page_limit = 100
        self.cut: set[int] = set()         # rows whose `messages` come truncated
        self.down: dict[str, int] = {}
        self.fail: dict[str, list] = defaultdict(list)
        self.bytes_sent = 0
        self.always(self._answer)

    def paths(self) -> list[str]:
        return [urlsplit(request.path).path for request in self.requests]

    def queries(self) -> list[dict]:
        return [dict(parse_qsl(urlsplit(request.path).query)) for request in self.requests]

    def _answer(self, request: Request) -> Status:
        url = urlsplit(request.path)
        status = next((code for path, code in self.down.items() if url.path.startswith(path)), 0)
        status = status or (self.fail[url.path].pop(0) if self.fail[url.path] else 0)
        if status:
            return Status(status, {"error": "on request"},
                          {"Retry-After": "0.02"} if status == 429 else {})
        if url.path.startswith("/files/"):
            path = self.folder / url.path.removeprefix("/files/")
            answer = part_of(path.read_bytes() if path.is_file() else None, request)
        else:
            answer = self._json(url.path, dict(parse_qsl(url.query)))
        self.bytes_sent += len(answer.body)
        return answer

    def _json(self, path: str, query: dict) -> Status:
        if path == f"/api/datasets/{self.name}/parquet/default/train":
            return Status(200, json.dumps([f"{self.url}/files/{name}" for name in self.parquet]))
        if path != "/rows" or query["dataset"] != self.name or int(query["length"]) > 100:
            return Status(404, '{"error": "not there"}')
        return Status(200, json.dumps({"partial": self.partial, **self._rows(query)}))

    def _rows(self, query: dict) -> dict:
        offset = int(query["offset"])
        page = [{"row_idx": i, "row": row, "truncated_cells": []}
                for i, row in enumerate(self.rows)]
        page = page[offset:offset + min(int(query["length"]), self.page_limit)]
        for entry in page:
            if entry["row_idx"] in self.cut:
                entry.update(row={**entry["row"], "messages": "[{"}, truncated_cells=["messages"])
        return {"features": [], "rows": page[::-1] if self.shuffle else page,
                "num_rows_total": len(self.rows), "num_rows_per_page": 100}


def write_rows(path: Path, rows: list[dict]) -> Path:
    """Write a .json, .jsonl or .parquet file (in row groups of 2048, the smallest of duckdb)."""
    text = json.dumps(rows) if path.suffix == ".json" else "".join(json.dumps(row) + "\n"
                                                                   for row in rows)
    if path.suffix != ".parquet":
        path.write_text(text)
        return path
    lines = path.with_suffix(".tmp")
    lines.write_text(text)
    name = str(path).replace("'", "''")
    duckdb.connect().execute(f"copy (select * from read_ndjson(?, maximum_depth = 3)) to '{name}' "
                             "(format parquet, row_group_size 2048)", [str(lines)])
    lines.unlink()
    return path
