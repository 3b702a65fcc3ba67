"""Read, join and filter the requirements of Python projects, kept as strings in pip's syntax."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import chain
from posixpath import dirname, join, normpath

from codedata.env.recipes.metadata import Manifests, strings_in
from codedata.env.recipes.package_index import helps_tests, normalized
from codedata.env.recipes.repository_files import RepositoryFiles

LOCAL = re.compile(r"@\s*file:|[\x00-\x08\x0a-\x1f\x7f]")   # local file, or control characters
FOLDER = re.compile(r"(?:(?:-e|--editable)[ =]?\s*(?:file:)?|(?=\.\.?/))([\w./-]+)"
                    r"(\[[\w, -]+\])?\Z")
PACKAGE_FILES = ("pyproject.toml", "setup.py")
NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?")


def name_of(requirement: str) -> str:
    """Return a requirement's normalized distribution name, or "" if it has no name: a number is a
    version that lost its name."""
    found = NAME.match(requirement)
    return normalized(found[1]) if found and re.search("[A-Za-z]", found[1]) else ""


def usable(requirement: str) -> bool:
    """Return whether an install script may use it: it has a name and no local path."""
    return bool(name_of(requirement)) and not LOCAL.search(requirement)


def merged(*lists: Iterable[str], without: str = "") -> tuple[str, ...]:
    """Return the usable requirements, the first for each name and marker, except those of the
    project `without` and those that no test needs."""
    found: dict[tuple[str, str], str] = {}
    for requirement in map(str.strip, chain(*lists)):
        name = name_of(requirement)
        if usable(requirement) and name != normalized(without) and helps_tests("pypi", name):
            # a name may recur for other systems
            key = (name, requirement.partition(";")[2].strip())
            found.setdefault(key, requirement)
    return tuple(found.values())


def expanded(wanted: Iterable[str], extras: dict[str, list[str]], project: str) -> list[str]:
    """Return the requirements, with references to the project itself (name[a,b]) replaced by the
    requirements of those extras."""
    by_name = {normalized(extra): listed for extra, listed in reversed(extras.items())}
    found, left = [], [*wanted]
    while left:
        requirement = left.pop(0)
        match = NAME.match(requirement)
        if not project or not match or normalized(match[1]) != normalized(project):
            found.append(requirement)
            continue
        names = [normalized(name.strip()) for name in (match[2] or "").strip("[]").split(",")]
        left = [r for name in names for r in by_name.pop(name, ())] + left   # each extra once
    return found


class Collector:
    """Collect requirements in pip's syntax, with the extras of the project itself and the
    dependency groups that they ask for. Files that are included are read once, and only inside the
    repository, where paths have to be, too. Options and URLs are left out."""

    def __init__(self, source: RepositoryFiles):
        self.source = source
        self.requirements: list[str] = []
        self.extras: dict[str, None] = {}   # in the order in which they were asked for
        self.groups: dict[str, None] = {}
        self.folders: dict[str, None] = {}  # of packages in the repository: ./libs/core[extra]
        self._read: set[str] = set()

    def add(self, requirements=(), extras=(), groups=()) -> None:
        """Add what lists of settings name; whatever is no list or no text is left out."""
        self.requirements += strings_in(requirements)
        self.extras |= dict.fromkeys(strings_in(extras))
        self.groups |= dict.fromkeys(strings_in(groups))

    def add_file(self, name: str) -> None:
        """Add the lines of a requirements file."""
        name = normpath(name)
        if name in self._read:
            return
        self._read.add(name)
        for line in re.sub(r"\\\n", " ", self.source.text(name)).splitlines():
            self.add_line(re.split(r"(?:^|\s)#", line)[0].strip(), dirname(name))

    def add_line(self, line: str, folder: str = "") -> None:
        """Add a line of a requirements file that lies in a folder, or pip's option for a group."""
        if path := FOLDER.match(line):
            self.add_folder(join(folder, path[1]), path[2] or "")
        if included := re.match(r"(?:-r|--requirement)[ =]?\s*(\S+)", line):
            self.add_file(join(folder, included[1]))
        elif group := re.match(r"--group (\S+)", line):
            self.add(groups=group[1])
        elif extras := re.match(r"(?:-e\s*)?\.{1,2}/?\[([^\]]+)\]", line):
            self.add(extras=[extra.strip() for extra in extras[1].split(",")])
        elif not line.startswith(("-", ".", "/")) and "://" not in line and "{" not in line:
            requirement = re.split(r"\s--", line)[0].strip()   # without options such as --hash=…
            self.add([requirement] if name_of(requirement) else [])

    def add_folder(self, path: str, extras: str = "") -> None:
        """Add another folder of the repository that is a Python package."""
        path = normpath(path)
        if path != "." and any(self.source.has(f"{path}/{name}") for name in PACKAGE_FILES):
            self.folders[f"./{path}{extras}"] = None


def listed(files: Manifests, *places: str) -> list[str]:
    """Return the requirements in pip's syntax at these places of the manifests."""
    values = map(files.value, places)
    return [r for value in values
            for r in (from_poetry(value) if isinstance(value, dict) else strings_in(value))]


def from_poetry(table: Mapping, with_optional: bool = False) -> list[str]:
    """Return the requirements of a [tool.poetry.*dependencies] table in pip's syntax."""
    found = []
    for name, value in table.items():
        values = value if isinstance(value, list) else [value]
        for one in values:
            one = {"version": one} if isinstance(one, str) else one
            named = isinstance(one, Mapping) and one.get("version") and name.lower() != "python"
            if not named or (one.get("optional") and not with_optional):
                continue
            extras = f"[{','.join(names)}]" if (names := strings_in(one.get("extras"))) else ""
            marker = one.get("markers") or _python_marker(str(one.get("python", "")))
            found.append(f"{name}{extras}{_bounds(str(one['version']))}"
                         + (f"; {marker}" if marker else ""))
    return found


def _bounds(version: str) -> str:
    """Return a poetry version as pip bounds: ^1.2 becomes >=1.2,<2, and 1.2 becomes ==1.2."""
    out = []
    for part in (p.strip().replace(" ", "") for p in version.split(",")):
        if part in ("", "*"):
            continue
        if re.match(r"\^|~(?!=)", part):
            out += [f">={part[1:]}", f"<{_next(part)}"]
        else:
            out.append(part if part[0] in "<>=!~" else f"=={part}")
    return ",".join(out)


def _next(version: str) -> str:
    """Return the first version above those that poetry's ^1.2 or ~1.2 allow."""
    numbers = [int(n) for n in re.findall(r"\d{1,9}", version)[:3]] or [0]
    last = len(numbers) - 1
    at = min(1, last)
    if version[0] == "^":
        at = next((i for i, n in enumerate(numbers) if n), last)
    return ".".join(map(str, [*numbers[:at], numbers[at] + 1]))


def _python_marker(version: str) -> str:
    """Return the pip marker for a poetry Python constraint, or "" if there is none."""
    bounds = re.findall(r"(>=|<=|<|>|==)\s*([\d.]+)", _bounds(version)) if version else []
    return " and ".join(f"python_version {how} '{number}'" for how, number in bounds)
