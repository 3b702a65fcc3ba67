"""Check which names of a project its graded tests are found to touch."""
from stripped_tide import a_coverage, analysed
from test_documents import project_of

from codedata.nl2repo.public_names import missing, names_by_patch
from codedata.records import Coverage, parse

FILES = {
    "tide/__init__.py": "import json\nfrom .core import Table, _rows\n",
    "tide/core.py": "import os\nLOW = 0\n\nclass Table:\n    size = 1\n    def __init__(self):\n"
                    "        self.rows = self._kept = []\n    def get(self, key):\n        pass\n\n"
                    "def _rows(n: int): ...\ndef unused(): ...\n",
    "tests/helper.py": "def opened(table):\n    return table.rows\n",
    "tests/test_tide.py": """import json
from collections import namedtuple
import tide.core
from tide import Table, _rows
from tests.helper import opened


def test_one():
    if json.loads:
        assert (Table().
                size)
    else:
        Table().get(1)
    os.path.join('a').unused


def test_two():
    opened(Table())._kept
    {}.get(tide.core.LOW).real.__class__
"""}


def test_names_that_tests_touch_are_those_that_the_project_defines(tmp_path):
    project = project_of(tmp_path, FILES)
    data = a_coverage(analysed(tmp_path))
    one, two = data["tests"]
    data["line_sets"] = [[9, 10], [18, 19], [2, 2]]
    data["files"] = ["tests/test_tide.py", "tests/helper.py"]
    one["lines"], two["lines"] = {"0": 0}, {"0": 1, "1": 2}
    two["name"] += "[a b]"
    tests = {"one": [one["name"]], "two": [two["name"].replace(" ", "%20")], "three": ["gone"]}
    names = names_by_patch(tests, project, parse(Coverage, data, ""))
    assert [*names.values()] == [["Table", "_rows", "size"],
                                 ["LOW", "Table", "_kept", "_rows", "get", "rows"], []]


def test_a_name_stands_in_a_document_as_a_whole_word():
    assert missing(["rows", "row", "Table"], "`Table.rows(n)` and arrow") == ["row"]
