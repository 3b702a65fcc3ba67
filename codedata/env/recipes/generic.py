"""Make recipes for projects whose build tool runs the tests: Go, Cargo, Maven, Gradle, CMake, make.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

from codedata.env.recipes import script
from codedata.env.recipes.package_index import Strings, table
from codedata.env.recipes.repair import repaired
from codedata.env.recipes.repository_files import RepositoryFiles
from codedata.texts import fill

TARGETS = ("check", "test", "tests")   # test targets in Makefiles


@dataclass(frozen=True)
class PlainRecipe:
    """Describe one way to install and test a project with its build tool."""

    planner: str                        # the kind of recipe: a build file in tools.toml
    system: Strings = ()
    wished: Strings = ()
    target: str = ""                    # the make target that runs the tests
    excluded_tests: Strings = ()
    variables: tuple = ()               # (name, value) that CI sets

    def install_script(self) -> str:
        """Return the bash script that installs the build tool and the dependencies."""
        tool = table("tools")["files"][self.planner]
        return script.install_script(
            f"what {self.planner} asks for", tool.get("env", {}),
            script.apt(self.system, self.wished), script.GIT_USER, tool["install"])

    def test_script(self) -> str:
        """Return the bash script that runs the tests and writes reports to script.RESULTS."""
        tool = table("tools")["files"][self.planner]
        commands = [fill(line, target=self.target, results=script.RESULTS) for line in tool["test"]]
        return script.test_script(self.variables, tool.get("env", {}), script.EMPTY_RESULTS,
                                  script.in_turn(commands))


def initial(source: RepositoryFiles, wished: Strings = ()) -> PlainRecipe | None:
    """Return the recipe for the first build file of tools.toml that exists, or None. A Makefile
    without a test target does not count."""
    tools = table("tools")["files"]
    file = next(filter(source.has, tools), "")
    target = source.parsed(file, _target, "") if file == "Makefile" else ""
    if not file or (file == "Makefile" and not target):
        return None
    return PlainRecipe(file, tuple(tools[file]["system"]), wished, target)


def _target(text: str) -> str:
    """Return the test target of a Makefile, or "" if it has none."""
    targets = re.findall(r"^([\w-]+)\s*:(?!=)", text, re.MULTILINE)
    return next((name for name in TARGETS if name in targets), "")


repair = repaired   # adds only Debian packages


def fallback(recipe: PlainRecipe, collected: bool) -> None:
    """Return None: there is only one recipe for a build tool."""
