"""Let pytest collect the test files in codedata_only.txt beside this plugin, and no others."""
import os

import pytest

LIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "codedata_only.txt")


def is_unwanted(place):
    """Return True for a file that is not listed, else None; folders are searched."""
    with open(LIST) as file:
        return None if os.path.isdir(place) or place in file.read().split("\n") else True


if int(pytest.__version__.split(".")[0]) < 7:   # a hook names its arguments, and 9 has no `path`
    def pytest_ignore_collect(path):
        """Return whether the file is not collected."""
        return is_unwanted(str(path))
else:
    def pytest_ignore_collect(collection_path):
        """Return whether the file is not collected."""
        return is_unwanted(str(collection_path))
