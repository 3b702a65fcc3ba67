"""Let pytest collect the test files in codedata_only.txt beside this plugin, and no others."""
import os

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "codedata_only.txt")) as file:
    WANTED = set(file.read().split("\n"))


def pytest_ignore_collect(path, config):
    """Leave out files that are not wanted; folders are looked into."""
    place = str(path)
    if os.path.isdir(place):
        return None
    return None if os.path.relpath(place, str(config.rootdir)) in WANTED else True
