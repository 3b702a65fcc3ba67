#!/bin/bash
set -euo pipefail
cat > /app/decode.py <<'END'
import json
import struct
import sys
import zlib

data = sys.stdin.buffer.read()
frames, at = [], 0
while (at := data.find(b"\xa5\x5a", at)) >= 0:
    count = data[at + 7] if at + 7 < len(data) else 256
    end = at + 8 + 2 * count
    is_valid = end + 4 <= len(data)
    if is_valid and zlib.crc32(data[at:end]) == int.from_bytes(data[end:end + 4], "big"):
        time, kind = struct.unpack_from(">IB", data, at + 2)
        values = list(struct.unpack_from(f">{count}h", data, at + 8))
        frames.append({"time": time, "kind": kind, "values": values})
        at = end + 4
    else:
        at += 1
print(json.dumps(frames))
END
