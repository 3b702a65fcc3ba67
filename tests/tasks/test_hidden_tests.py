"""Test what is left of a test file when some of its tests are hidden."""
from pathlib import Path

import pytest

from codedata.tasks.prove.hidden_tests import without_tests
from codedata.texts import tomllib

CASES = tomllib.loads(Path(__file__).with_name("hidden_tests.toml").read_text())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_only_hidden_tests_use_goes_with_them_or_the_whole_file_does(name, end):
    lines = CASES[name]["text"].splitlines()
    text, left = ("".join(line[1:] + end for line in some) for some in (
        lines, [line for line in lines if line[0] == " "]))
    tests = {*map(str.encode, CASES[name]["tests"])}
    found = without_tests("tests/test_a.py", text.encode(), tests).decode()
    assert found == ("" if left == text else left)
