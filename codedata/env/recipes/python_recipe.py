"""Make recipes for Python projects: a virtual environment outside the source, and a test run."""
from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.utils import canonicalize_name

from codedata.env.recipes import script
from codedata.env.recipes.package_index import COMPILER, Strings, provider, table
from codedata.env.recipes.python_project import PythonProject
from codedata.env.recipes.requirements import merged, name_of
from codedata.texts import fill

VENV = "/opt/venv"
LOCKED, OLD_SETUPTOOLS = "/tmp/locked.txt", "/tmp/old_setuptools.txt"   # constraints files
FOREVER = "2100-01-01"


@dataclass(frozen=True)
class PythonRecipe:
    """Describe one way to install and test a Python project."""

    project: PythonProject
    tests: Strings               # requirements in addition to the project's own
    system: Strings              # Debian packages
    wished: Strings              # optional Debian packages
    build: Strings               # build requirements, for a build without isolation
    env: dict[str, str]
    installed: bool              # False: do not install it, set PYTHONPATH
    runner: str                  # pytest | unittest | own
    options: Strings             # options for pytest
    services: Strings
    editable: bool = True
    excluded_tests: Strings = ()   # tests that hang and are not run
    databases: Strings = ()
    locales: Strings = ()
    not_root: bool = False
    only_ipv4: bool = False              # resolve localhost only to 127.0.0.1
    widened: bool = False                # has the requirements of developers and features, too
    lock: str = ""                       # the lock file that gives the versions
    until: str = ""                      # the latest release date (ISO 8601) of requirements
    python: str = ""                     # the Python that uv installs; "" for the image's own
    planner: str = "python"
    variables: tuple = ()                # (name, value) that CI sets

    def install_script(self) -> str:
        """Return the bash script that makes the environment and installs the project."""
        known = table("packages")["services"]
        packages = [*self.system, *(known[name]["package"] for name in self.services),
                    *(["locales"] if self.locales else [])]
        return script.install_script(
            script.purpose(self.project), table("tools")["python"]["install_env"] | self.env,
            script.apt(packages, self.wished), [script.VENV_THERE],
            (f"localedef -i {name.partition('.')[0]} -f UTF-8 {name}" for name in self.locales),
            script.GIT_USER, self._install_lines())

    def _install_lines(self) -> Iterator[str]:
        """Yield the lines that make the environment and install the project. They skip requirements
        of the tests that cannot be installed."""
        pip = "python -m pip install -q"
        editable = "-e " if self.editable else ""
        local = [f"{editable}{shlex.join([place])}" for place in self.project.local]
        what = shlex.join(self.project.requires)
        if self.installed:
            what = f"{editable}."
            local += ["--no-build-isolation"] if self.build else []
        what = " ".join(filter(None, (*local, what)))
        tests = self.tests
        with_uv = fill(table("tools")["python"]["brought"], venv=VENV, version=self.python)
        made = with_uv if self.python else f"python3 -m venv {VENV}"
        yield from (f"[ -x {VENV}/bin/python ] || {made}", f". {VENV}/bin/activate",
                    f"{pip} --upgrade pip")
        dated = table("tools")["python"]["by_date"]
        if self.until:
            tests = (*tests, dated["old_setuptools"])
            yield from (
                f"{pip} uv", f"echo '{dated['old_setuptools']}' >{OLD_SETUPTOOLS}",
                f"until=(--exclude-newer {self.until} --build-constraints {OLD_SETUPTOOLS})",
                f"for one in {' '.join(dated['exempt'])}; do",
                f"    until+=(--exclude-newer-package $one={FOREVER})", "done")
            pip = "uv pip install -q --no-cache \"${until[@]}\""
        if self.lock:
            yield fill(table("tools")["python"]["locked"]["constraints"], lock=self.lock, to=LOCKED,
                       name=shlex.join([canonicalize_name(self.project.name)]))
            pip += f" -c {LOCKED}"
        if self.build:
            yield f"{pip} {shlex.join(self.build)}"
        yield f"tests=({shlex.join(tests)})"
        yield f"{pip} {what} \"${{tests[@]}}\" || {{   {script.ASIDE}"
        if what:
            yield f"    {pip} {what}"
        yield (f"    for one in \"${{tests[@]}}\"; "
               f"do {pip} \"$one\" || echo \"left out: $one\"; done")
        yield "}"
        if self.until and self.runner == "pytest":
            yield fill(dated["pytest"], until=self.until)
        if self.not_root:
            tester = script.TESTER
            yield from (f"id {tester} >/dev/null 2>&1 || useradd --create-home {tester}",
                        f"runuser -u {tester} -- "
                        "git config --global --replace-all safe.directory '*'",
                        f"chown -R {tester} .")

    def test_script(self) -> str:
        """Return the bash script that runs the tests and writes reports to script.RESULTS."""
        env = table("tools")["python"]["test_env"] | self.env
        if not self.installed:
            env["PYTHONPATH"] = ".:src"
        parts, command = [], self._command()
        if self.not_root:
            parts = [f"chown -R {script.TESTER} {script.RESULTS} ."]
            command = f"runuser -u {script.TESTER} -- {command}"
        if self.runner == "pytest":
            parts.append(fill(table("tools")["python"]["ended"]["lines"], results=script.RESULTS))
            command = f"ended {command}"
        return script.test_script(self.variables, env, [f". {VENV}/bin/activate"],
                                  script.EMPTY_RESULTS,
                                  [script.ONLY_IPV4] if self.only_ipv4 else [],
                                  script.start_services(self.services, self.databases),
                                  [*parts, command])

    def _command(self) -> str:
        """Return the command of the runner."""
        options = [*self.options, *(f"--deselect={name}" for name in self.excluded_tests)]
        names = {*map(name_of, self.tests)}
        if "pytest-cov" in names:
            options.append("--no-cov")
        if "hypothesis" in names:
            options.append("--hypothesis-seed=0")   # the same examples in each run
        folder = self.project.unittest_in
        return fill(
            table("tools")["python"]["runners"][self.runner]["command"],
            results=script.RESULTS, own=self.project.runner,
            start="" if folder == "." else f" -s {folder} -t .",
            options=shlex.join([*options, *self.project.test_paths])).rstrip()


def initial(project: PythonProject) -> PythonRecipe:
    """Return the recipe that the project's files describe, with the plugins that its pytest
    configuration needs."""
    env, runners = project.env, table("tools")["python"]["runners"]
    if project.version_from_git and project.version:
        label = re.sub(r"\W", "_", project.name).upper()
        names = [f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{label}", "PBR_VERSION",
                 "PDM_BUILD_SCM_VERSION", "POETRY_DYNAMIC_VERSIONING_BYPASS"]
        env = env | dict.fromkeys(names, project.version)
    runner = "pytest" if project.n_test_files or not project.runner else "own"
    tests = merged(project.tests or project.developers, () if project.declares else project.listed,
                   [provider("options", option) for option in project.addopts],
                   [provider("settings", name) for name in project.settings],
                   runners[runner]["requirements"], without=project.name)
    build_names = [name_of(r) for r in project.build_requires]
    system = {package for name in build_names for package in provider("build", name).split()}
    rebuilt = [r for name in build_names for r in provider("rebuilds", name).split()]
    return PythonRecipe(
        project, tests=tests, env=env, options=project.options, runner=runner,
        installed=bool(project.name),
        system=tuple(sorted({*system, *(COMPILER if project.native else ())})),
        build=(*project.build_requires, *dict.fromkeys(rebuilt)) if rebuilt else (),
        wished=project.system, services=project.services)
