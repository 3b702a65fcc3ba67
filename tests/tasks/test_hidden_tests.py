"""Test what is left of a test file when some of its tests are hidden."""

import pytest
from line_tables import toml_beside

from codedata.tasks.prove.hidden_tests import without_tests

CASES = toml_beside(__file__, "hidden_tests.toml")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_only_hidden_tests_use_goes_with_them_or_the_whole_file_does(name, end):
    lines = CASES[name]["text"].splitlines()
    text, left = ("".join(line[1:] + end for line in some) for some in (
        lines, [line for line in lines if line[0] == " "]))
    tests = {*map(str.encode, CASES[name]["tests"])}
    found = without_tests("tests/test_a.py", text.encode(), tests).decode()
    assert found == ("" if left == text else left)
