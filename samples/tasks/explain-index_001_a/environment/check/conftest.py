import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import redis

ROOT = Path(__file__).resolve().parent.parent


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def desk(tmp_path):
    rport, port = free_port(), free_port()
    procs = [subprocess.Popen(["redis-server", "--port", str(rport), "--save", "", "--dir", str(tmp_path),
                               "--user", "default on nopass ~* &* +@all -@admin"],
                              stdout=subprocess.DEVNULL)]
    env = {**os.environ, "REDIS_URL": f"redis://127.0.0.1:{rport}/0", "PORT": str(port)}
    procs.append(subprocess.Popen([sys.executable, "-m", "desk.server"], cwd=ROOT, env=env))

    def call(method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as answer:
            return answer.code, json.load(answer)

    call.db = redis.Redis(port=rport, decode_responses=True)
    for _ in range(200):
        try:
            call.db.ping()
            call("GET", "/health")
            break
        except OSError:
            time.sleep(0.05)
        except redis.ConnectionError:
            time.sleep(0.05)
    yield call
    for p in procs:
        p.kill()
        p.wait()
