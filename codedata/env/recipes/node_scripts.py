"""Find the test commands in the chain of scripts of a package.json, and make them write reports.

A `test` script often also lints, builds and audits. Only builds and tests are kept. Other
commands without a known test runner, which may be tests, are listed, not run.
"""
from __future__ import annotations

import fnmatch
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import dropwhile, takewhile

from codedata.env.recipes import script
from codedata.env.recipes.package_index import Strings, helps_tests, table
from codedata.texts import fill

MAX_CALLS = 100                    # limit for the scripts that one chain follows
BUILDS = re.compile(r"build|compile|transpile|generate")
TESTS_NOTHING = re.compile(r"lint|format|types?$|audit|cover")
BEFORE = re.compile(r"(?:cross-)?env$|[A-Za-z_]\w*=")   # words before a command
CHANGES_FOLDER = re.compile(r"(?:^|[&;|])\s*cd\s")
REPORTER = "/tmp/node_reporter.mjs"


@dataclass(frozen=True)
class ScriptStep:
    """Describe a command in a chain of scripts that runs tests, or builds files for them."""

    words: Strings   # as written, with quotes
    runner: str = ""
    unknown: bool = False    # not run, but listed in excluded_tests
    env: Strings = ()        # NAME=value
    folder: str = ""         # folder of its package in a workspace

    def line(self, n: int) -> str:
        """Return the line that runs the command in its folder and environment, so that it writes
        report number n."""
        line = self._reporting(n) if self.runner else " ".join(self.words)
        exported, before = " ".join(self.env), ""
        if self.folder:
            before = f"cd {shlex.join([self.folder])} && "
            exported = f"PATH=$PWD/node_modules/.bin:$PATH {exported}".rstrip()
        return f"({before}export {exported} && {line})" if exported else line

    def _reporting(self, n: int) -> str:
        """Return the command with the options to write report number n."""
        line, node = " ".join(self.words), table("tools")["node"]
        report = f"{script.RESULTS}/{self.runner.lstrip('_')}-{n}"
        for pattern, new in (*node["unwanted"], *node["changes"].get(self.runner, ())):
            line = re.sub(pattern, new, line)
        words = line.split()
        if self.runner in ("node", "tsx") and "--test" in words:
            options = f"--test-reporter={REPORTER} --test-reporter-destination={report}.xml"
            words.insert(words.index("--test") + 1, options)
        elif (found := re.fullmatch(node["by_file"]["command"], line)) and (
                self.runner in ("node", "tsx", "tape")):
            files = re.sub("['\"]", "", found["files"])   # bash expands them
            return fill(node["by_file"]["lines"], command=found["line"], files=files, report=report)
        else:
            words.append(fill(node["runners"][self.runner], report=report))
        return " ".join(words)


def test_label(scripts: dict[str, str]) -> str:
    """Return the first script listed in tools.toml that runs every test command of `test`. If none
    of them runs a known test runner, return the first that exists; "" if none exists."""
    none = "no test specified"
    labels = [label for label in table("tools")["node"]["scripts"]
              if none not in scripts.get(label, none)]
    runs = {label: {step.words for step in chain(scripts, label) if step.runner}
            for label in labels}
    usable = [label for label in labels if runs[label]
              and runs[label] >= runs.get("test", set())] or labels
    return usable[0] if usable else ""


def chain(scripts: dict[str, str], label: str, depth: int = 0,
          turns: Iterator[int] | None = None) -> Iterator[ScriptStep]:
    """Yield the commands of a script that build or test, in order; leave out linters, type checks
    and audits. Follow at most MAX_CALLS scripts, since scripts may call each other in a loop."""
    turns = iter(range(MAX_CALLS)) if turns is None else turns
    if depth > 5 or label not in scripts or next(turns, None) is None:
        return
    if f"pre{label}" in scripts:
        before = chain(scripts, f"pre{label}", depth + 1, turns)
        yield from (step for step in before if not step.runner and not step.unknown)
    if CHANGES_FOLDER.search(scripts[label]):
        yield ScriptStep((f"({scripts[label]})",), unknown=not BUILDS.search(label))
        return
    for part in re.split(r"&&|;|\|\|", scripts[label]):
        words = re.findall(r"""(?:"[^"]*"|'[^']*'|[^\s"'])+""", part.split(" | ")[0])
        before = [*takewhile(BEFORE.match, words)]
        words, env = words[len(before):], tuple(word for word in before if "=" in word)
        called = _called(scripts, words)
        steps = (step for name in called if not TESTS_NOTHING.search(name)
                 for step in chain(scripts, name, depth + 1, turns))
        for step in steps if called else _step(label, words):
            yield replace(step, env=(*env, *step.env))


def _called(scripts: dict[str, str], words: list[str]) -> list[str]:
    """Return the names of the scripts that a command calls: `npm run a`, `run-s a b:*`, or pnpm's
    pattern `pnpm run "/^a:.*/"`."""
    node = table("tools")["node"]
    names = [word.replace("\\", "").strip("\"'/^$").replace(".*", "*") for word in words]
    callers = (*node["managers"], *node["script_runners"])
    after = [*dropwhile(lambda name: name not in callers, names)]
    named = [name for name in after[1:]
             if not name.startswith("-") and name not in node["run_words"]]
    if after and after[0] in node["managers"]:
        named = named[:1]   # the rest are arguments
    return [label for name in named for label in fnmatch.filter(scripts, name)]


def _step(label: str, words: list[str]) -> Iterator[ScriptStep]:
    """Yield the step of a command, if the command builds or tests."""
    node = table("tools")["node"]
    names = [word.strip("\"'").rpartition("/")[2] for word in words]
    at = next((i for i, name in enumerate(names)
               if name in (*node["runners"], *node["builders"])), None)
    if at is None:
        if names and names[0] not in node["no_tests"] and helps_tests("npm", names[0]):
            yield ScriptStep(tuple(words), unknown=not BUILDS.search(label))
    elif names[at] in node["builders"] or (names[at] == "node" and BUILDS.search(label)):
        if "--noEmit" not in words:
            yield ScriptStep(tuple(words[at:]))
    else:   # node may run another runner's file
        runners = [word.rpartition("/")[2].partition(".")[0] for word in words[at:]
                   if "node_modules/" in word]
        runner = next((name for name in runners if name in node["runners"]), names[at])
        yield ScriptStep((names[at], *words[at + 1:]), runner)
