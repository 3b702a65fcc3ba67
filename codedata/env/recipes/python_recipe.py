"""Make recipes for Python projects: a virtual environment outside the source, and a test runner."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from codedata.env.recipes import script
from codedata.env.recipes.package_index import brings_option, table
from codedata.env.recipes.python_project import PythonProject
from codedata.env.recipes.repair import COMPILER
from codedata.env.recipes.requirements import merged, name_of

VENV = "/opt/venv"
TEST_TIME_S = 120      # seconds after which a single test is stopped
ALWAYS = {"LC_ALL": "C.UTF-8", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_CACHE_DIR": "1", "PIP_PROGRESS_BAR": "off",
          "PIP_ROOT_USER_ACTION": "ignore"}
WHILE_TESTING = {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}   # keeps test names made from sets stable


@dataclass(frozen=True)
class PythonRecipe:
    """Describe one way to install and test a Python project."""

    project: PythonProject
    tests: tuple[str, ...] = ()          # requirements in addition to the project's own
    system: tuple[str, ...] = ()         # Debian packages
    wished: tuple[str, ...] = ()         # Debian packages that may be left out
    build: tuple[str, ...] = ()          # build requirements, in the environment itself
    env: dict[str, str] = field(default_factory=dict)
    editable: bool = True
    installed: bool = True               # False: the source is only put on the path
    runner: str = "pytest"               # pytest | unittest | own
    options: tuple[str, ...] = ()        # options for pytest
    deselected: tuple[str, ...] = ()     # tests that hang and are not run
    services: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    locales: tuple[str, ...] = ()
    not_root: bool = False
    only_ipv4: bool = False              # localhost is only 127.0.0.1
    widened: bool = False                # requirements of developers and features are added
    planner: str = "python"

    @property
    def excluded_tests(self) -> tuple[str, ...]:
        """Return the tests that the test script does not run."""
        return self.deselected

    def install_script(self) -> str:
        """Return the bash script that makes the environment and installs the project."""
        project = self.project
        named = " ".join(filter(None, (project.name or "the project", project.version)))
        lines = script.head(f"Install {named} for its tests: {script.WHERE_INSTALLED}", strict=True)
        lines += script.exports(ALWAYS | self.env | {"DEBIAN_FRONTEND": "noninteractive"})
        services = script.install_services(self.services)
        lines += script.apt([*self.system, *services, *(["locales"] if self.locales else [])], self.wished)
        lines += [script.VENV_THERE,
                  *(f"localedef -i {name.partition('.')[0]} -f UTF-8 {name}" for name in self.locales),
                  *script.git_user(),
                  f"[ -x {VENV}/bin/python ] || python3 -m venv {VENV}", f". {VENV}/bin/activate",
                  "python -m pip install -q --upgrade pip"]
        if self.build:
            lines.append(f"python -m pip install -q {script.words(self.build)}")
        lines += self._install_lines()
        if self.not_root:
            lines += [f"id {script.TESTER} >/dev/null 2>&1 || useradd --create-home {script.TESTER}",
                      f"runuser -u {script.TESTER} -- git config --global --replace-all safe.directory '*'",
                      f"chown -R {script.TESTER} ."]
        return script.text(lines)

    def _install_lines(self) -> Iterator[str]:
        own = f"{'--no-build-isolation ' if self.build else ''}{'-e .' if self.editable else '.'}" if (
            self.project.name and self.installed) else script.words(self.project.requires)
        yield f"tests=({script.words(self.tests)})"
        yield f"python -m pip install -q {own} \"${{tests[@]}}\" || {{   {script.ASIDE}"
        if own:
            yield f"    python -m pip install -q {own}"
        yield "    for one in \"${tests[@]}\"; do python -m pip install -q \"$one\" || echo \"left out: $one\"; done"
        yield "}"

    def test_script(self) -> str:
        """Return the bash script that runs the tests and writes reports to script.RESULTS."""
        lines = script.head(f"Run the tests: in the source folder. Reports go to {script.RESULTS}.", strict=False)
        env = WHILE_TESTING | self.env
        if not (self.project.name and self.installed):
            env["PYTHONPATH"] = ".:src" if (self.project.packages and not self.project.name) else "."
        lines += [*script.exports(env), f". {VENV}/bin/activate", *script.empty_results(),
                  *(script.only_ipv4() if self.only_ipv4 else []),
                  *script.start_services(self.services, self.databases)]
        if self.not_root:
            lines.append(f"chown -R {script.TESTER} {script.RESULTS} .")
        command = {"pytest": self._pytest, "unittest": self._unittest, "own": self._own}[self.runner]()
        lines.append(f"runuser -u {script.TESTER} -- {command}" if self.not_root else command)
        return script.text(lines)

    def _pytest(self) -> str:
        options = ["-v", "-rfEs", "--tb=short", "-o", "cache_dir=/tmp/pytest_cache", "-o", "junit_family=xunit1",
                   f"--junitxml={script.RESULTS}/pytest.xml", "--continue-on-collection-errors", "--maxfail=0",
                   f"--timeout={TEST_TIME_S}", *self.options, *(f"--deselect={name}" for name in self.deselected)]
        if any(name_of(r) == "pytest-cov" for r in self.tests):
            options.append("--no-cov")
        return f"python -m pytest {script.words([*options, *self.project.test_paths])}"

    def _unittest(self) -> str:
        return f"python -m xmlrunner discover -v -s {self.project.unittest_in} -t . -o {script.RESULTS}" if (
            self.project.unittest_in != ".") else f"python -m xmlrunner discover -v -o {script.RESULTS}"

    def _own(self) -> str:
        return f"{self.project.runner} -v -v"   # some runners print test names only with both -v


def initial(project: PythonProject) -> PythonRecipe:
    """Return the recipe that the project's own files describe."""
    scm = project.version_from_git and project.version
    env = dict(project.env)
    if scm:
        label = "".join(c if c.isalnum() else "_" for c in project.name).upper()
        env |= {f"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_{label}": project.version, "PBR_VERSION": project.version,
                "PDM_BUILD_SCM_VERSION": project.version, "POETRY_DYNAMIC_VERSIONING_BYPASS": project.version}
    runner = "pytest" if project.n_test_files or not project.runner else "own"
    build, system = _build_of(project)
    wanted = (project.tests or project.developers, configured(project), _runner_needs(runner))
    return PythonRecipe(project, tests=merged(*wanted, without=[project.name]), system=system,
                        wished=project.workflows.system, build=build, env=env, runner=runner,
                        services=project.workflows.services)


def _build_of(project: PythonProject) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return (build requirements for the environment, Debian packages). An editable install by
    meson-python or scikit-build-core rebuilds at import, so the environment must keep the build
    requirements."""
    names = {name_of(r) for r in project.build_requires}
    named = table("packages")["build"]
    system = {package for name in names for package in named.get(name, "").split()}
    rebuilds = names & {"meson-python", "scikit-build-core"}
    build = (*project.build_requires, "ninja", *(["cmake"] if "scikit-build-core" in names else [])) if rebuilds else ()
    return build, tuple(sorted({*system, *(COMPILER if project.native else ())}))


def configured(project: PythonProject) -> list[str]:
    """Return the plugins without which pytest reports its own configuration as an error."""
    settings = table("packages")["settings"]
    by_setting = [settings[key] for name in project.settings for key in settings if name.startswith(key)]
    return [name for name in (*map(brings_option, project.addopts), *by_setting) if name]


def _runner_needs(runner: str) -> list[str]:
    return {"pytest": ["pytest", "pytest-timeout"], "unittest": ["unittest-xml-reporting"], "own": []}[runner]


def fallback(recipe: PythonRecipe, collected: bool) -> PythonRecipe | None:
    """Return the next more expensive recipe, or None if there is none: first one with all
    requirements of developers and features, then, if no test was collected, one with another
    runner."""
    project = recipe.project
    wider = merged(recipe.tests, project.developers, project.features, without=[project.name])
    if not recipe.widened and wider != recipe.tests:
        return replace(recipe, tests=wider, widened=True)
    if collected:
        return None
    runners = [name for name in ("pytest", "own", "unittest") if name != "own" or project.runner]
    left = runners[runners.index(recipe.runner) + 1:] if recipe.runner in runners else []
    if not left:
        return None
    return replace(recipe, runner=left[0], tests=merged(recipe.tests, _runner_needs(left[0]), without=[project.name]))

