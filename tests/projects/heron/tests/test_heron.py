import os
import pytest
from heron import fly, wade

@pytest.mark.parametrize("depth", range(20))
def test_wade(depth):
    assert wade(depth) == 2 * depth

def test_fly():
    with open("written.txt", "w") as file:
        file.write(fly())
    assert not os.path.exists("tests/gone.py") or fly() == "back"
