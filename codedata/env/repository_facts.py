"""Read the facts of a repository in a child process that has limits on memory and time, as JSON.

The child prints the name of each file before it opens it. If it ends early (endless parsing, no
memory left), it is started again without the last named file. That file need not be the cause.
"""
from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from codedata.env.recipes import generic, node, python_recipe
from codedata.env.recipes.generic import PlainRecipe
from codedata.env.recipes.node_project import NodeProject, read_node
from codedata.env.recipes.package_index import Strings, helps_tests, table
from codedata.env.recipes.python_project import PythonProject, read_python
from codedata.env.recipes.repair import Recipe
from codedata.env.recipes.repository_files import RepositoryFiles
from codedata.env.recipes.requirements import name_of
from codedata.errors import ItemFailed
from codedata.texts import CONTROL

RUN_BY_INSTALL = table("tools")["run_by_install"]
MAX_MEMORY = 500_000_000   # bytes of address space
MAX_FACTS = 10_000_000     # characters
FILE_S = 3                 # limit for one file, in seconds of processor time
ALL_S = 9                  # limit for all files of a child, in seconds of processor time
CHILD_S = 30.0             # limit for a child, in seconds of real time
MAX_CHILDREN = 4           # started for one repository
CHILD = """import sys; sys.path[:] = {path!r}
from codedata.env.repository_facts import child; child(*sys.argv[1:])"""


@dataclass(frozen=True)
class Facts:
    """Hold the facts that a repository's files declare."""

    python: PythonProject = field(default_factory=PythonProject)
    node: NodeProject = field(default_factory=NodeProject)
    plain: PlainRecipe | None = None
    # whether JavaScript or TypeScript is tested; a Python project may have a package.json, too
    is_node: bool = False
    unreadable: dict[str, str] = field(default_factory=dict)   # file → why it counts as missing
    programs: Strings = ()   # source texts of the programs that an install runs
    # set later: the date of an old commit, and the Python version that the base image lacks
    until: str = ""
    brought: str = ""

    @property
    def builds(self) -> bool:
        """Return whether the install builds files that become outdated if the source changes."""
        return bool(self.python.native or self.node.native or self.node.built)

    @property
    def asked(self) -> set:
        """Return everything that the files require of an install: the names of packages (without
        versions, and without packages that no test needs), the versions of Python and Node, and the
        programs that the install runs."""
        python, of_node = self.python, self.node
        pypi = (*python.build_requires, *python.requires, *python_recipe.initial(python).tests)
        npm = [name for name in of_node.dependencies if helps_tests("npm", name)]
        return {python.python, of_node.engine, self.plain or "", *self.programs, *python.local,
                *python.system, *map(name_of, pypi), *npm, ""}


def read_facts(folder: Path) -> Facts:
    """Return the facts of the repository in a folder. Only child processes open its files. Raise
    ItemFailed if no child can be started, or if the first one ends before it opens a file."""
    skipped: dict[str, str] = {}
    for _ in range(MAX_CHILDREN):
        lines, why = _run_child(folder, skipped)
        if not why:
            return _loaded(lines[-1])
        if not lines and not skipped:   # no file of the repository can be the cause
            raise ItemFailed("the process that reads a repository ended before its first file")
        if not lines or lines[-1] in skipped:
            break
        skipped[lines[-1]] = why
    return Facts(unreadable=_frozen(skipped))


def recipes(facts: Facts) -> list[Recipe]:
    """Return the initial recipes to try for these facts, the likeliest first: for Python up to
    three."""
    return [replace(one, variables=facts.python.variables) for one in _kinds(facts)]


def _kinds(facts: Facts) -> list[Recipe]:
    python = facts.python
    # Python recipes differ in the versions of packages: from the lock file, from the commit's date,
    # or the latest
    ways: list[Recipe] = []
    if python.name or python.n_test_files or python.runner:
        today = replace(python_recipe.initial(python), python=facts.brought)
        if python.lock:
            ways.append(replace(today, lock=python.lock, planner="python as locked"))
        if facts.until:
            ways.append(replace(today, until=facts.until, planner="python by date"))
        ways.append(today)
    of_node = node.initial(facts.node)
    others = [facts.plain] if facts.plain else []
    if python.n_test_files:
        return [*ways, *of_node, *others]
    if others and facts.plain.planner != "Makefile":
        return [*others, *of_node, *ways]
    return [*of_node, *others, *ways] if of_node else [*ways, *others]


def _run_child(folder: Path, skipped: dict[str, str]) -> tuple[list, str]:
    """Run a child. Return (the JSON values that it printed, why it ended early or ""). The child
    inherits no environment variable and imports nothing from the repository."""
    path = [str(Path(__file__).resolve().parents[2]), *map(os.path.abspath, filter(None, sys.path))]
    words = [sys.executable, "-I", "-S", "-c", CHILD.format(path=path), str(folder.resolve()),
             json.dumps(skipped)]
    why = "ended what reads it"
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL,
                              timeout=CHILD_S, cwd="/", env={"LC_ALL": "C.UTF-8"},
                              start_new_session=True)
        output, is_late = done.stdout, done.returncode == -signal.SIGPROF
    except subprocess.TimeoutExpired as e:
        output, is_late = e.stdout or b"", True
    except OSError as e:
        raise ItemFailed(f"a process to read a repository cannot be started: {e}") from e
    lines = output.split(b"\n")[:-1]   # text after the last line break may be half a line
    if lines and lines[-1].startswith(b"{"):
        why = ""
    elif is_late:
        why = f"took more than {FILE_S} s"
    return [json.loads(line) for line in lines], why


def child(folder: str, skipped: str) -> None:
    """Read a folder within limits. Print the name of each file before opening it, and the facts
    at the end."""
    limits = {resource.RLIMIT_AS: MAX_MEMORY, resource.RLIMIT_CPU: ALL_S,
              resource.RLIMIT_CORE: 0}
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)   # ends the process, also within a C function

    def announce(name: str) -> None:
        signal.setitimer(signal.ITIMER_PROF, FILE_S)
        print(json.dumps(name), flush=True)

    source = RepositoryFiles(Path(folder), json.loads(skipped), announce)
    python = read_python(source)
    of_node = read_node(source, python.ci_versions)
    scripts = " ".join(of_node.scripts.get(name, "") for name in RUN_BY_INSTALL)
    if re.search(r"\b(?:run|npm|yarn|pnpm)\b", scripts):   # they may run any other script
        scripts += " ".join(["", *of_node.scripts.values()])
    run = filter(source.has, [*RUN_BY_INSTALL, *re.findall(r"[\w./-]+", scripts)])
    facts = Facts(python, of_node, generic.initial(source, python.system),
                  source.has("package.json") and not python.n_test_files, source.unreadable,
                  (scripts, *map(source.text, run)))
    for recipe in recipes(facts):   # making the recipes must stay within the limits, too
        announce("package.json" if recipe.planner == "node" else "pyproject.toml")
        recipe.install_script(), recipe.test_script()
    text = json.dumps(asdict(facts))
    print(text if len(text) <= MAX_FACTS else sys.exit("too much to hand back"))


def _loaded(data: dict) -> Facts:
    """Return the facts from the child's JSON."""
    data = _frozen(data)
    return Facts(**data | {"python": PythonProject(**data["python"]),
                           "node": NodeProject(**data["node"]),
                           "plain": data["plain"] and PlainRecipe(**data["plain"])})


def _frozen(value):
    """Return JSON data with lists as tuples, and control characters replaced by U+FFFD."""
    if isinstance(value, dict):
        return {_frozen(key): _frozen(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return CONTROL.sub("\ufffd", value) if isinstance(value, str) else value
