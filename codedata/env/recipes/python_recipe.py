"""Make recipes for Python projects: a virtual environment outside the source, and a test runner."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from codedata.env.recipes import script
from codedata.env.recipes.package_index import Strings, brings_option, table
from codedata.env.recipes.python_project import PythonProject
from codedata.env.recipes.repair import COMPILER
from codedata.env.recipes.requirements import merged, name_of
from codedata.texts import fill

VENV = "/opt/venv"


@dataclass(frozen=True)
class PythonRecipe:
    """Describe one way to install and test a Python project."""

    project: PythonProject
    tests: Strings = ()          # requirements in addition to the project's own
    system: Strings = ()         # Debian packages
    wished: Strings = ()         # Debian packages that may be left out
    build: Strings = ()          # build requirements, in the environment itself
    env: dict[str, str] = field(default_factory=dict)
    editable: bool = True
    installed: bool = True               # False: the source is only put on the path
    runner: str = "pytest"               # pytest | unittest | own
    options: Strings = ()        # options for pytest
    deselected: Strings = ()     # tests that hang and are not run
    services: Strings = ()
    databases: Strings = ()
    locales: Strings = ()
    not_root: bool = False
    only_ipv4: bool = False              # localhost is only 127.0.0.1
    widened: bool = False                # requirements of developers and features are added
    planner: str = "python"

    @property
    def excluded_tests(self) -> Strings:
        """Return the tests that the test script does not run."""
        return self.deselected

    @property
    def is_installed(self) -> bool:
        """Return whether pip installs the project itself."""
        return bool(self.project.name) and self.installed

    def install_script(self) -> str:
        """Return the bash script that makes the environment and installs the project."""
        named = " ".join(filter(None, (self.project.name or "the project", self.project.version)))
        packages = [*self.system, *script.install_services(self.services),
                    *(["locales"] if self.locales else [])]
        return script.text(
            script.install_head(f"{named} for its tests",
                                table("tools")["python"]["install_env"] | self.env),
            script.apt(packages, self.wished), [script.VENV_THERE],
            (f"localedef -i {name.partition('.')[0]} -f UTF-8 {name}" for name in self.locales),
            script.GIT_USER, self._install_lines())

    def _install_lines(self) -> Iterator[str]:
        """Yield the lines that make the environment and install the project. A requirement of the
        tests that cannot be installed is left out."""
        pip = "python -m pip install -q"
        what = script.words(self.project.requires)
        if self.is_installed:
            isolation = "--no-build-isolation " if self.build else ""
            what = f"{isolation}{'-e .' if self.editable else '.'}"
        yield from (f"[ -x {VENV}/bin/python ] || python3 -m venv {VENV}", f". {VENV}/bin/activate",
                    f"{pip} --upgrade pip")
        if self.build:
            yield f"{pip} {script.words(self.build)}"
        yield f"tests=({script.words(self.tests)})"
        yield f"{pip} {what} \"${{tests[@]}}\" || {{   {script.ASIDE}"
        if what:
            yield f"    {pip} {what}"
        yield (f"    for one in \"${{tests[@]}}\"; "
               f"do {pip} \"$one\" || echo \"left out: $one\"; done")
        yield "}"
        if self.not_root:
            tester = script.TESTER
            yield from (f"id {tester} >/dev/null 2>&1 || useradd --create-home {tester}",
                        f"runuser -u {tester} -- "
                        "git config --global --replace-all safe.directory '*'",
                        f"chown -R {tester} .")

    def test_script(self) -> str:
        """Return the bash script that runs the tests and writes reports to script.RESULTS."""
        env = table("tools")["python"]["test_env"] | self.env
        if not self.is_installed:
            env["PYTHONPATH"] = ".:src"
        command = self._command()
        if self.not_root:
            command = (f"chown -R {script.TESTER} {script.RESULTS} .\n"
                       f"runuser -u {script.TESTER} -- {command}")
        return script.text(script.test_head(env), [f". {VENV}/bin/activate"],
                           script.EMPTY_RESULTS,
                           [script.ONLY_IPV4] if self.only_ipv4 else [],
                           script.start_services(self.services, self.databases), [command])

    def _command(self) -> str:
        """Return the command of the runner."""
        options = [*self.options, *(f"--deselect={name}" for name in self.deselected)]
        if any(name_of(r) == "pytest-cov" for r in self.tests):
            options.append("--no-cov")
        folder = self.project.unittest_in
        return fill(
            table("tools")["python"]["runners"][self.runner]["command"],
            results=script.RESULTS, own=self.project.runner,
            start="" if folder == "." else f" -s {folder} -t .",
            options=script.words([*options, *self.project.test_paths])).rstrip()


def initial(project: PythonProject) -> PythonRecipe:
    """Return the recipe that the project's own files describe."""
    env = project.env
    if project.version_from_git and project.version:
        label = "".join(c if c.isalnum() else "_" for c in project.name).upper()
        names = [f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{label}", "PBR_VERSION",
                 "PDM_BUILD_SCM_VERSION", "POETRY_DYNAMIC_VERSIONING_BYPASS"]
        env = env | dict.fromkeys(names, project.version)
    runner = "pytest" if project.n_test_files or not project.runner else "own"
    build, system = _build_of(project)
    wanted = (project.tests or project.developers, configured(project),
              table("tools")["python"]["runners"][runner]["requirements"])
    return PythonRecipe(project, tests=merged(*wanted, without=[project.name]), system=system,
                        wished=project.workflows.system, build=build, env=env, runner=runner,
                        services=project.workflows.services)


def _build_of(project: PythonProject) -> tuple[Strings, Strings]:
    """Return (build requirements for the environment, Debian packages). An editable install by
    meson-python or scikit-build-core rebuilds at import, so the environment must keep the build
    requirements."""
    names = {name_of(r) for r in project.build_requires}
    named = table("packages")["build"]
    system = {package for name in names for package in named.get(name, "").split()}
    rebuilds = names & {"meson-python", "scikit-build-core"}
    cmake = ["cmake"] if "scikit-build-core" in names else []
    build = (*project.build_requires, "ninja", *cmake) if rebuilds else ()
    return build, tuple(sorted({*system, *(COMPILER if project.native else ())}))


def configured(project: PythonProject) -> list[str]:
    """Return the plugins without which pytest reports its own configuration as an error."""
    settings = table("packages")["settings"]
    by_setting = [settings[key] for name in project.settings for key in settings
                  if name.startswith(key)]
    return [name for name in (*map(brings_option, project.addopts), *by_setting) if name]
