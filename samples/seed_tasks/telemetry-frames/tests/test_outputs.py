import json
import random
import struct
import subprocess
import zlib


def frame(time, kind, values):
    body = b"\xa5\x5a" + struct.pack(">IBB", time, kind, len(values))
    body += struct.pack(f">{len(values)}h", *values)
    return body + zlib.crc32(body).to_bytes(4, "big")


def decoded(data):
    done = subprocess.run(["python3", "/app/decode.py"], input=data, capture_output=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def some(seed, count):
    numbers = random.Random(seed)
    return [{"time": numbers.randrange(2**32), "kind": numbers.randrange(256),
             "values": [numbers.randrange(-2**15, 2**15) for _ in range(numbers.randrange(20))]}
            for _ in range(count)]


def test_frames_with_noise_between_them():
    frames = some(1, 40)
    data = b"".join(b"\x00\xa5\xa5" + frame(**one) + b"\x5a\xff" for one in frames)
    assert decoded(data) == frames


def test_a_false_start_hides_no_frame():
    frames = some(2, 30)
    data = b""
    for one in frames:
        false_start = bytearray(frame(1, 2, [3] * 40))[:30]
        data += bytes(false_start) + frame(**one)
    broken = bytearray(frame(5, 5, [5]))
    broken[-1] ^= 1
    assert decoded(data + bytes(broken) + b"\xa5\x5a\x00") == frames
