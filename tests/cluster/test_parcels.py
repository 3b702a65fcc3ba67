"""Check what is sent to the machines of a cluster: no keys, and nothing that stays here."""
import os
import subprocess
import sys
import threading
from functools import lru_cache
from pathlib import Path

from a_task import a_bug
from conftest import KEY, REPO, settings_for
from ray_nodes import RAY

from codedata.cluster import parcels
from codedata.cluster.parcels import pack, unpack
from codedata.disk.layouts import Program
from codedata.disk.store import Store
from codedata.driver import Remote
from codedata.errors import HttpTrouble, Interrupted, MachineStopped, RunStopped
from codedata.llm import Models
from codedata.records import Answer
from codedata.sandbox.factory import SandboxFactory


def test_no_key_is_in_what_is_sent(fake_llm):
    assert RAY.exists()
    settings = settings_for(fake_llm, KEY)
    client = Models(settings).client("king")
    assert settings.endpoints["base_url"].api_key == KEY
    for sent in (settings, client, SandboxFactory(settings, threading.Event())):
        assert KEY.encode() not in pack(sent)


WORKER = """import os
from codedata.cluster import ray
from codedata.cluster.ray_engine import _connect
_connect("", 1, {})
print(*ray.get(ray.remote(lambda: [*os.environ.values()]).remote()), os.environ["SOME_TOKEN"])
"""


def test_workers_on_this_machine_have_no_key_of_the_drivers_environment():
    env = {**os.environ, "CHUTES_API_KEY": KEY, "SOME_TOKEN": f"{KEY}-2"}
    done = subprocess.run([sys.executable, "-c", WORKER], env=env, capture_output=True, text=True,
                          cwd=REPO, timeout=300)
    assert done.stdout.count(KEY) == 1 and done.stdout.endswith(f"{KEY}-2\n"), done.stderr


def test_clients_and_stores_are_sent_as_stand_ins_with_what_they_copy(fake_llm, tmp_path):
    client = Models(settings_for(fake_llm)).client("king")
    sent = unpack(pack([client, client, Store(tmp_path, Answer)]))
    assert all(isinstance(one, Remote) for one in sent) and sent[0] is sent[1]
    assert sent[0].spec.model == client.spec.model   # without a call


def test_locks_events_and_caches_arrive_as_new_ones():
    lock, stop, cached = unpack(pack([threading.Lock(), threading.Event(), lru_cache(2)(str)]))
    assert not lock.locked() and stop is parcels.stop and cached(7) == "7"


def test_errors_arrive_as_they_are():
    for error in (Interrupted(), HttpTrouble("no", "there", "wait", 429),
                  MachineStopped("gone", exit_code=2), RunStopped("no money")):
        arrived = unpack(pack(error))
        assert (type(arrived), str(arrived), vars(arrived)) == (
            type(error), str(error), vars(error))


def test_a_task_is_sent_with_the_content_of_its_files(tmp_path):
    program, text = tmp_path / "program", tmp_path / "text"
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(0o755)
    text.write_bytes(b"words")
    task = a_bug()
    task.environment.update(program=program, text=text)
    files = unpack(pack(task)).environment
    assert isinstance(files["program"], Program) and files["text"] == b"words"
    assert not any(isinstance(one, Path) for one in files.values())
