"""Let pytest collect only the test files that codedata_only.txt, next to this plugin, lists."""
import os

import pytest

LIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "codedata_only.txt")


def is_unwanted(place):
    """Return True for a file that is not listed, else None. Folders are always searched."""
    with open(LIST) as file:
        return None if os.path.isdir(place) or place in file.read().split("\n") else True


# pytest passes arguments of hooks by name; `path` is missing from pytest 9 on
if int(pytest.__version__.split(".")[0]) < 7:
    def pytest_ignore_collect(path):
        """Return whether the file is not collected."""
        return is_unwanted(str(path))
else:
    def pytest_ignore_collect(collection_path):
        """Return whether the file is not collected."""
        return is_unwanted(str(collection_path))
