"""Choose the base image with the Python that a project was written for, or the Python to add."""
from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from codedata.env.recipes.package_index import table
from codedata.env.recipes.python_project import PythonProject

BROUGHT = tuple(f"3.{minor}" for minor in range(14, 6, -1))   # Python versions for uv, newest first
CARET = re.compile(r"\^(\d+)[\d.]*")   # poetry's ^3.7: up to the next major version


def base_for(project: PythonProject, committed_at: int, default: str,
             is_here: Callable[[str], bool]) -> str:
    """Return the base image that suits a project best, among `default` and the images on this
    machine. If `default` is not from tools/docker-up, return it.

    Images are compared by these preferences, in this order: the project allows the image's Python;
    this Python was released before `committed_at` (seconds since 1970; 0: now); the project's CI
    runs it; it is the default's Python, else the newest (if released later, the oldest). The last
    preference is that the image has a compiler exactly if the project compiles code.
    """
    bases = table("tools")["python"]["bases"]
    date = datetime.fromtimestamp(committed_at, timezone.utc).date().isoformat()

    def fit(name: str) -> tuple:
        python, since = bases[name]["python"], bases[name]["since"]
        is_out = not committed_at or since <= date
        minor = int(python.partition(".")[2])
        return (_allows(project.python, python), is_out,
                not project.ci_versions or python in project.ci_versions,
                *((python == bases[default]["python"], minor) if is_out else (-minor, 0)),
                bases[name].get("compiler", False) == project.native)

    if default not in bases:
        return default
    return max((name for name in bases if name == default or is_here(name)), key=fit)


def python_to_bring(project: PythonProject, base: str) -> str:
    """Return the Python version, such as 3.12, that uv has to install in a base image of
    tools/docker-up; "" if the project allows the image's own Python."""
    bases = table("tools")["python"]["bases"]
    if base not in bases or _allows(project.python, bases[base]["python"]):
        return ""
    allowed = [one for one in BROUGHT if _allows(project.python, one)]
    return next((one for one in allowed if one in project.ci_versions), "".join(allowed[:1]))


def _allows(requires: str, python: str) -> bool:
    """Return whether `requires` allows a version of Python; an unreadable requirement allows all.
    """
    def up_to(match: re.Match) -> str:
        return f">={match[0][1:]},<{int(match[1]) + 1}"

    try:
        return f"{python}.99" in SpecifierSet(CARET.sub(up_to, requires))
    except InvalidSpecifier:
        return True
