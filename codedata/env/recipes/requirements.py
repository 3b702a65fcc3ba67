"""Collect the requirements of a Python project and of its tests from groups, extras, requirements
files and settings of tools. Requirements are strings in pip's syntax."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import chain, product
from pathlib import PurePosixPath
from posixpath import dirname, join, normpath

from packaging.utils import canonicalize_name

from codedata.env.recipes.metadata import Manifests, strings_in, table_of
from codedata.env.recipes.package_index import Strings, helps_tests, table, use_of
from codedata.env.recipes.repository_files import RepositoryFiles
from codedata.texts import tomllib

LOCAL = re.compile(r"@\s*file:|[\x00-\x08\x0a-\x1f\x7f]")   # local file, or control characters
FOLDER = re.compile(r"(?:(?:-e|--editable)[ =]?\s*(?:file:)?|(?=\.\.?/))([\w./-]+)"
                    r"(\[[\w, -]+\])?\Z")
PACKAGE_FILES = ("pyproject.toml", "setup.py")
NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?")
TEST_FOLDERS = ("tests", "test", "Tests", "testing", "testsuite", "unittests", "t")
CONDITION = re.compile(r"([\w!{}, .-]+):\s+|")   # condition that begins a line in tox.ini
ALWAYS = -1   # means all minor versions of Python 3; -8: all except 3.8
# factors of tox's conditions: HOLDS matches factors that are true in a test environment, PYTHON a
# version of Python
HOLDS = re.compile(r"|py3?|tests?|unit(?:tests?)?|!(?!py\Z|py3|tests?\Z|unit).*")
PYTHON = re.compile(r"(!?)py3\.?(\d+)")
INCLUDED = "include-group"   # a key of PEP 735; written here as include-group[NAME]
Lists = dict[str, list[str]]


def requirements_by_use(files: Manifests, name: str) -> tuple[Lists, Lists]:
    """Return ({"tests": […], "developers": […], "features": […], "others": […]}, {extra: its
    requirements}), with requirements in the order found."""
    extras, groups, wanted = _extras(files), _groups(files), _of_tools(files)
    found: Lists = {"tests": [], "developers": [], "features": [], "others": []}
    for label, requirements in (*groups.items(), *extras.items()):
        other = "features" if label in extras else "others"
        found["tests" if label in wanted.labels else use_of(label) or other] += requirements
    found["tests"] += wanted.requirements
    found["tests"] += listed(files, *table("packages")["declared"]["tests"])
    for path in _requirement_files(files.source):
        listing = Collector(files.source)
        listing.add_file(str(path))
        folder = path.parent.name
        for_tests = folder in TEST_FOLDERS or "tests" in (use_of(path.stem), use_of(folder))
        found["tests" if for_tests else "developers"] += [
            *listing.requirements, *(r for extra in listing.labels for r in extras.get(extra, []))]
    files.source.announce("pyproject.toml")   # if extras take too long, blame pyproject.toml
    return tuple({key: expanded(held, extras, name) for key, held in lists.items()}
                 for lists in (found, extras))


def _first_of_each(*tables: dict) -> Lists:
    """Merge tables of lists: for each name, take the strings of the first table that has any."""
    lists: Lists = {}
    for key, value in (item for held in tables for item in held.items()):
        if strings := strings_in(value):
            lists.setdefault(str(key), strings)
    return lists


def _extras(files: Manifests) -> Lists:
    """Return the requirements of every extra that any of the project's files declares."""
    declared = files.table("pyproject.toml/tool/poetry/dependencies")
    by_name = {canonicalize_name(name_of(r)): r for r in from_poetry(declared, with_optional=True)}
    return _first_of_each(
        files.table("pyproject.toml/project/optional-dependencies"),
        {extra: [by_name.get(canonicalize_name(name), name) for name in strings_in(names)]
         for extra, names in files.table("pyproject.toml/tool/poetry/extras").items()},
        *map(files.table, table("packages")["declared"]["extras"]))


def _groups(files: Manifests) -> Lists:
    """Return dependency groups from PEP 735, including nested ones, and from poetry, pdm and uv."""
    declared = files.table("pyproject.toml/dependency-groups").items()
    groups = {name: [*strings_in(entries), *(f"{INCLUDED}[{entry.get(INCLUDED)}]"
                                             for entry in entries if isinstance(entry, dict))]
              for name, entries in declared if isinstance(entries, list)}
    return _first_of_each(
        {name: expanded(entries, groups, INCLUDED) for name, entries in groups.items()},
        {name: from_poetry(table_of(group, "dependencies"))
         for name, group in files.table("pyproject.toml/tool/poetry/group").items()},
        {"dev": listed(files, "pyproject.toml/tool/poetry/dev-dependencies")},
        files.table("pyproject.toml/tool/pdm/dev-dependencies"),
        {"dev": files.value("pyproject.toml/tool/uv/dev-dependencies")})


def _of_tools(files: Manifests) -> Collector:
    """Return the extras, groups and requirements that hatch and tox install for the tests."""
    wanted = Collector(files.source)
    envs = [env for name, env in files.table("pyproject.toml/tool/hatch/envs").items()
            if isinstance(env, dict) and (name == "default" or use_of(name) == "tests")]
    declared = table("packages")["declared"]
    for env in (*envs, *map(files.table, declared["environments"])):
        for keys in declared["for_environments"]:
            wanted.add(*map(env.get, keys))
    for section, values in files.table("tox.ini").items():
        if re.match(r"testenv(?:\Z|:(?:py(?:[\d.]|\{[\d,]+\})*|tests?|unit\w*)(?![^-]))", section):
            wanted.add((), *([name.strip() for line in _tox_lines(values.get(key))
                              for name in line.split(",") if ";" not in line]
                             for key in ("extras", "dependency_groups")))
            for line in _tox_lines(values.get("deps")):
                wanted.add_line(line)
    return wanted


def _tox_lines(text: str | None) -> list[str]:
    """Return the lines of a tox value that apply in a test environment. If a condition names
    versions of Python, the requirement gets a marker for them. A requirement for the newest version
    that the value names also applies to later versions of Python, without its own version bounds.
    Lines with other conditions are left out: if tests need them, the log will show it."""
    lines = []
    for line in strings_in(text):
        condition = CONDITION.match(line)
        wanted = re.split(r"\s#", line[condition.end():])[0]
        if "{[" not in wanted:
            wanted = wanted.replace("{toxinidir}/", "").replace("{tox_root}/", "")
            lines.append((wanted, _minors(condition[1] or "")))
    newest = max([0, *(minor for _, minors in lines for minor in minors)])
    found = []
    for wanted, minors in lines:
        if ALWAYS in minors:
            found.append(wanted)
        elif name_of(wanted) and ";" not in wanted:
            versions = [f"python_version {'=' if minor > 0 else '!'}= '3.{abs(minor)}'"
                        for minor in sorted(minors)]
            found += [f"{wanted}; {' or '.join(versions)}"] if versions else []
            if newest in minors:
                found.append(f"{NAME.match(wanted)[0].strip()}; python_version > '3.{newest}'")
    return found


def _minors(condition: str) -> set[int]:
    """Return the minor versions of Python 3 that make a condition of tox true in a test
    environment; -8 if it is true except in Python 3.8, ALWAYS if it is true in all versions."""
    if braces := re.search(r"\{([^{}]*)\}", condition):
        before, after = condition[:braces.start()], condition[braces.end():]
        return {minor for part in braces[1].split(",")
                for minor in _minors(f"{before}{part.strip()}{after}")}
    found = set()
    for factors in condition.split(","):
        others = [one for one in factors.strip().split("-") if not HOLDS.fullmatch(one)]
        python = PYTHON.fullmatch("-".join(others))
        if not others or python:
            found.add(int(python[2]) * (-1 if python[1] else 1) if python else ALWAYS)
    return found


def _requirement_files(source: RepositoryFiles) -> list[PurePosixPath]:
    """Return the requirements files for tests or developers in the usual folders; files for tests
    come first."""
    found = []
    for folder in ("", "requirements/", "reqs/", "ci/", *(f"{name}/" for name in TEST_FOLDERS)):
        for path in map(PurePosixPath, source.matching(f"{folder}*")):
            whole = f"{path.parent.name}-{path.stem}"
            label = path.stem if folder in ("", "ci/") else whole
            is_list = path.suffix in (".txt", ".in", ".pip") and re.search("req|depend", whole)
            is_wanted = use_of(label) in ("tests", "developers")
            if is_list and is_wanted and "constraint" not in path.stem:
                found.append(path)
    return sorted(found, key=lambda path: use_of(f"{path.parent.name}-{path.stem}") != "tests")


def runtime_requirements(files: Manifests) -> tuple[Strings, Strings]:
    """Return the project's own requirements: (from its metadata, from requirements.txt)."""
    declared = tuple(filter(usable, listed(files, *table("packages")["declared"]["requires"])))
    listing = Collector(files.source)
    for name in ("requirements.txt", "requirements.in"):
        if not listing.requirements:
            listing.add_file(name)
    return declared, merged(listing.requirements)


def local_packages(files: Manifests, is_installable: bool) -> Strings:
    """Return the other packages of the repository to install with the project, such as ./libs/core.
    Requirements files, or settings of poetry or uv, name them by a path. Members of uv's workspace
    count if the project needs them, or if the root is not a package. If the root has no manifest,
    return all packages up to two folders deep."""
    found, source = Collector(files.source), files.source
    for path in ("requirements.txt", *map(str, _requirement_files(source))):
        found.add_file(path)
    sources = files.table("pyproject.toml/tool/uv/sources")
    groups = files.table("pyproject.toml/tool/poetry/group").values()
    for held in (sources, files.table("pyproject.toml/tool/poetry/dependencies"),
                 *(table_of(group, "dependencies") for group in groups)):
        for one in held.values():
            found.add_folder(str(table_of({"": one}, "").get("path", ".")))
    shared = {canonicalize_name(name) for name in sources
              if table_of(sources, name).get("workspace")}
    members = files.table("pyproject.toml/tool/uv/workspace")
    for pattern in strings_in(members.get("members")):
        for folder in source.packages(pattern, "pyproject.toml"):
            about = source.parsed(f"{folder}/pyproject.toml", tomllib.loads, {})
            name = canonicalize_name(str(table_of(about, "project").get("name")))
            if not is_installable or name in shared:
                found.add_folder(folder)
    skipped = (*table("skip")["python"]["not_modules"], *TEST_FOLDERS)
    if not any(map(source.has, PACKAGE_FILES)):
        for pattern, manifest in product(("*", "*/*"), PACKAGE_FILES):
            for folder in source.packages(pattern, manifest):
                if folder.partition("/")[0] not in skipped:
                    found.add_folder(folder)
    return tuple(found.folders)


# in pip's syntax ---------------------------------------------------------------------------------

def name_of(requirement: str) -> str:
    """Return a requirement's normalized distribution name, or "" if it has none; a number is not a
    name but a version."""
    found = NAME.match(requirement)
    return canonicalize_name(found[1]) if found and re.search("[A-Za-z]", found[1]) else ""


def usable(requirement: str) -> bool:
    """Return whether an install script may use a requirement: it has a name, and no local path."""
    return bool(name_of(requirement)) and not LOCAL.search(requirement)


def merged(*lists: Iterable[str], without: str = "") -> tuple[str, ...]:
    """Return the first usable requirement of each name and marker in the lists. Leave out the
    project `without`, and requirements that no test needs."""
    found: dict[tuple[str, str], str] = {}
    for requirement in map(str.strip, chain(*lists)):
        name = name_of(requirement)
        if usable(requirement) and name != canonicalize_name(without) and helps_tests("pypi", name):
            # a name may occur again for other systems
            key = (name, requirement.partition(";")[2].strip())
            found.setdefault(key, requirement)
    return tuple(found.values())


def expanded(wanted: Iterable[str], extras: dict[str, list[str]], project: str) -> list[str]:
    """Return the requirements, with each reference to the project itself (name[a,b]) replaced by
    the requirements of its extras a and b."""
    by_name = {canonicalize_name(extra): listed for extra, listed in reversed(extras.items())}
    found, left = [], [*wanted]
    while left:
        requirement = left.pop(0)
        if not project or name_of(requirement) != canonicalize_name(project):
            found.append(requirement)
            continue
        names = (NAME.match(requirement)[2] or "").strip("[]").split(",")
        left = [r for name in names   # each extra once
                for r in by_name.pop(canonicalize_name(name.strip()), ())] + left
    return found


class Collector:
    """Collect requirements in pip's syntax, and the names of the project's extras and dependency
    groups that they include. Read an included file once, and only in the repository. Leave out
    other paths, options and URLs."""

    def __init__(self, source: RepositoryFiles):
        self.source = source
        self.requirements: list[str] = []
        self.labels: dict[str, None] = {}   # names of extras and groups, in the order found
        self.folders: dict[str, None] = {}  # packages in the repository: ./libs/core[extra]
        self._read: set[str] = set()

    def add(self, requirements, *labels) -> None:
        """Add the requirements and labels of settings; skip values that are not lists or texts."""
        self.requirements += strings_in(requirements)
        self.labels |= dict.fromkeys(chain(*map(strings_in, labels)))

    def add_file(self, name: str) -> None:
        """Add the lines of a requirements file."""
        name = normpath(name)
        if name in self._read:
            return
        self._read.add(name)
        for line in re.sub(r"\\\n", " ", self.source.text(name)).splitlines():
            self.add_line(re.split(r"(?:^|\s)#", line)[0].strip(), dirname(name))

    def add_line(self, line: str, folder: str = "") -> None:
        """Add a line of a requirements file in `folder`, or an option `--group NAME` of pip."""
        if path := FOLDER.match(line):
            self.add_folder(join(folder, path[1]), path[2] or "")
        if included := re.match(r"(?:-r|--requirement)[ =]?\s*(\S+)", line):
            self.add_file(join(folder, included[1]))
        elif group := re.match(r"--group (\S+)", line):
            self.add((), group[1])
        elif extras := re.match(r"(?:-e\s*)?\.{1,2}/?\[([^\]]+)\]", line):
            self.add((), [extra.strip() for extra in extras[1].split(",")])
        elif not line.startswith(("-", ".", "/")) and "://" not in line and "{" not in line:
            requirement = re.split(r"\s--", line)[0].strip()   # without options such as --hash=…
            self.add([requirement] if name_of(requirement) else [])

    def add_folder(self, path: str, extras: str = "") -> None:
        """Add another folder of the repository that is a Python package."""
        path = normpath(path)
        if path != "." and any(self.source.has(f"{path}/{name}") for name in PACKAGE_FILES):
            self.folders[f"./{path}{extras}"] = None


def listed(files: Manifests, *places: str) -> list[str]:
    """Return the requirements at these places of the manifests, in pip's syntax."""
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
    """Return pip's bounds for a version in poetry's syntax: ^1.2 → >=1.2,<2 and 1.2 → ==1.2."""
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
    """Return the first version that poetry's ^1.2 or ~1.2 no longer allows."""
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
