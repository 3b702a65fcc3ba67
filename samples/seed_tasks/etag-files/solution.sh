#!/bin/bash
set -euo pipefail
cat > /app/serve.py <<'END'
import hashlib
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(sys.argv[1]).resolve()


def span(text, size):
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", text or "")
    if not match or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return (max(0, size - int(last)), size) if int(last) and size else (0, 0)
    return int(first), min(int(last) + 1 if last else size, size)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path = (FOLDER / self.path.lstrip("/")).resolve()
        if not path.is_relative_to(FOLDER) or not path.is_file():
            return self.answer(404, b"", {})
        data = path.read_bytes()
        tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
        known = self.headers.get("If-None-Match", "")
        tags = [one.strip().removeprefix("W/") for one in known.split(",")]
        if known.strip() == "*" or tag in tags:
            return self.answer(304, b"", {"ETag": tag})
        part = span(self.headers.get("Range"), len(data))
        if part is None or self.headers.get("If-Range", tag) != tag:
            return self.answer(200, data, {"ETag": tag})
        first, end = part
        if first >= end:
            return self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        where = f"bytes {first}-{end - 1}/{len(data)}"
        return self.answer(206, data[first:end], {"ETag": tag, "Content-Range": where})

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
END
