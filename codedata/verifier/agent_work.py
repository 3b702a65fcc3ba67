"""Take the files that count from an agent's archive, and put them into the image's source.

If config.json lists the files that count, these and new modules are taken; else every regular file
except tests. Files that steer how tests run (settings of runners, metadata of packages, files that
Python runs at its start) are not taken, unless the gold patch changes them. A new module that would
hide an installed one is not taken either.
"""
from __future__ import annotations

import json
import os
import posixpath
import re
import subprocess
import tarfile

ARCHIVE_BYTES = 32_000_000
FILE_BYTES = 4_000_000        # limit for one file
Files = dict                  # {path: (mode, content)}
# matches the paths of files that steer tests, or a part of such a path
STEERS = re.compile(r"""(?xi)^/|\0|^(?:setup|noxfile|manage|build)\.(?:py|rs)$|(?:^|/)(?:
    \.[^/]*   # .git, .env, .pytest.ini, .npmrc, ..
    |(?:conftest|sitecustomize|usercustomize)(?:\.py)?
    |(?:pytest|tox|setup|pyproject|nose2?|unittest|behave|mypy)\.(?:ini|cfg|toml)
    |(?:package(?:-lock)?|[jt]sconfig.*|deno|jasmine)\.jsonc?
    |(?:jest|vitest|vite|karma|mocha|ava|babel|playwright|cypress|jasmine|web-test-runner|webpack
       |rollup|nyc|tap)[.-](?:conf|setup|workspace|opts|preset)[^/]*
    |(?:setup-?tests?|tests?-?setup|run[-_]?tests?|gulpfile|gruntfile)\.[^/]+
    |(?:cargo|bunfig)\.toml|go\.(?:mod|sum|work)|(?:gnu)?makefile|justfile
    |.+\.(?:pyc|so|pth|egg|(?:dist|egg)-(?:info|link))
    |__mocks__|node_modules|(?:site|dist)-packages|vendor)(?:/|$)""")
TEST_FOLDERS = {"test", "tests", "testing", "__tests__", "spec"}
FIND = """import json, sys
from importlib.util import find_spec
print(json.dumps([name for name in json.load(sys.stdin) if name and find_spec(name)]))
"""


def delivered(config: dict, source: str) -> Files:
    """Return the files to take from an agent's archive; {} if it is too large or no archive."""
    if os.path.getsize(config["archive"]) > ARCHIVE_BYTES:
        return {}
    try:
        with tarfile.open(config["archive"], "r:") as tar:
            found = {posixpath.normpath(member.name): member for member in tar
                     if member.isreg() and member.size <= FILE_BYTES}
            taken = {path: found[path] for path in counting([*found], config, source)}
            if sum(member.size for member in taken.values()) > ARCHIVE_BYTES:
                return {}   # a sparse file is larger than its part of the archive
            return {path: (member.mode, tar.extractfile(member).read())
                    for path, member in taken.items()}
    except (tarfile.TarError, OSError, ValueError, EOFError):
        return {}


def counting(paths: list[str], config: dict, source: str) -> list[str]:
    """Return the paths of an archive that count."""
    allowed = {*(config["counts"] or ()), *config.get("steering", ())}
    paths = [path for path in paths if path in allowed or not STEERS.search(path)]
    new = {path: imported_name(path, source) for path in paths if is_new_module(path, source)}
    hidden = installed({*new.values()}, config["activation"], source)
    listed = config["counts"]
    if listed is None:
        listed = [path for path in paths if path not in new and is_source(path, source)]
    return [path for path in paths if path in listed or (path in new and new[path] not in hidden)]


def is_source(path: str, source: str) -> bool:
    """Return whether a path is a file that counts if config.json lists none: not a test, and in the
    source or, except for Python, new."""
    *folders, file = path.split("/")
    stem, suffix = os.path.splitext(file)
    is_test = (TEST_FOLDERS.intersection(folders) or stem.startswith("test_")
               or stem.endswith(("_test", ".test", ".spec", "Test")))
    if is_test:
        return False
    place = os.path.join(source, path)
    is_there = os.path.isfile(place) or (suffix != ".py" and not os.path.lexists(place))
    return is_there and os.path.realpath(place) == place


def is_new_module(path: str, source: str) -> bool:
    """Return whether a path is a Python module that the image's source does not have. Modules among
    tests do not count, since they could hide the tests' helpers; nor does a path through a link."""
    *folders, file = path.split("/")
    stem, suffix = os.path.splitext(file)
    is_test = {"test", "tests"}.intersection(folders) or re.search("^test_|_test$", stem)
    if suffix != ".py" or is_test:
        return False
    place = os.path.join(source, path)
    return not os.path.lexists(place) and os.path.realpath(place) == place


def imported_name(path: str, source: str) -> str:
    """Return the top-level name that a new module makes importable: its outermost package, or its
    own name outside of packages. Return "" if the name exists already."""
    *folders, stem = os.path.splitext(path)[0].split("/")
    outer = len(folders)
    while outer:
        folder = os.path.join(source, *folders[:outer])
        if os.path.isdir(folder) and not os.path.exists(os.path.join(folder, "__init__.py")):
            break   # this folder of the source is not a package
        outer -= 1
    name = [*folders, stem][outer]
    is_known = os.path.isdir(os.path.join(source, *folders[:outer], name))
    return "" if is_known or name == "__main__" or not name.isidentifier() else name


def installed(names: set[str], activation: str, source: str) -> set[str]:
    """Return the names under which the suite's Python finds a module outside of the source. Raise
    CalledProcessError if that Python cannot be run."""
    command = f'{activation}exec "$(command -v python3 || command -v python)" -I -c "$0"'
    done = subprocess.run(["bash", "-c", command, FIND], input=json.dumps([*names]).encode(),
                          stdout=subprocess.PIPE, cwd=source, check=True)
    return {*json.loads(done.stdout)}


def put(files: Files, source: str, owner: int) -> None:
    """Write files into the source, owned by a user."""
    for path, (mode, content) in files.items():
        place = os.path.join(source, path)
        try:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb") as file:
                file.write(content)
            os.chown(place, owner, -1)
            os.chmod(place, 0o755 if mode & 0o100 else 0o644)
        except OSError:   # a folder of the path is a file, or the name is too long
            continue
