"""Deselect the items of a pytest run whose ids the file of a selection does not list.

It is a plugin of pytest, placed beside it under the name codedata_selection by place_plugin.sh. It
runs with any pytest from 3.1 on, so its Python is old. A run that tests start themselves, in
another folder, is left alone.
"""
import json
import os

import pytest
from _pytest.junitxml import mangle_test_address

FOLDER = "/tmp/codedata-selection"
ROOT = "CODEDATA_SELECTION_ROOT"   # of the outermost run; xdist's workers inherit it


def root_of(config):
    """Return the folder to which a run's ids are relative."""
    return str(getattr(config, "rootpath", None) or config.rootdir)


def names_of(item):
    """Return the names that results use for an item: its id, and the one in JUnit XML."""
    parts = mangle_test_address(item.nodeid)
    return {item.nodeid, ".".join(parts[:-1]) + "::" + parts[-1]}


def pytest_configure(config):
    """Note the folder of the outermost run."""
    os.environ.setdefault(ROOT, root_of(config))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Keep the selected items, and leave a file that says that this was done."""
    if os.environ.get(ROOT) != root_of(config):
        return
    with open(os.path.join(FOLDER, "ids.json")) as file:
        wanted = set(json.load(file))
    kept = [item for item in items if wanted & names_of(item)]
    rest = [item for item in items if not wanted & names_of(item)]
    if rest:
        config.hook.pytest_deselected(items=rest)
    items[:] = kept
    open(os.path.join(FOLDER, "was_used"), "w").close()
