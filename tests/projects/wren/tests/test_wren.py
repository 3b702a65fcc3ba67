import inspect
import os
import socket
import subprocess
import sys

import pytest

import wren

expected = getattr(pytest.mark, "xfail")


def test_doubled():
    limit, wren.LIMIT = wren.LIMIT, 0 if "LEAVES" in os.environ else wren.LIMIT
    assert wren.doubled(2) == 4
    wren.LIMIT = limit


def test_port():
    with socket.create_server(("127.0.0.1", 4711)):
        assert wren.doubled(0) == 0 and not os.path.exists("/var/tmp/left")


def test_second():
    assert wren.SECOND == 2


def test_limit():
    if "WRITES" in os.environ:
        with open("wren.py", "a") as file:
            file.write("# seen")
    assert wren.LIMIT == 3


def test_name():
    assert wren.Wren().name() == "wren, a bird"


@pytest.mark.parametrize("n", [0, 1], ids=["none", "one: caf\u00e9 [x::y]"])
def test_counted(n):
    assert wren.counted(n) == [1][:n]


def test_each():
    assert [*wren.each(0)] == []


def test_source():
    assert inspect.getsource(wren.said) == 'def said():\n    return "tweet"\n'


@expected(strict=True, reason="wrens do not count")
def test_strict():
    assert wren.unused() == 2


def test_process():
    assert subprocess.check_output([sys.executable, "wren.py"]) == b"tweet\n"
