"""Check a datapoint's files and image. Prove, in fresh containers without network, that its
solution passes the tests and that the unchanged image fails them. contents.py afterwards runs the
checks of audit.py, which search for wrong verdicts.

The result of a check is passed, failed, or not made, with a reason. Findings that a program cannot
decide are listed for a reviewer.
"""
from __future__ import annotations

import ast
import re
import shlex
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property, partial

from codedata.audit.audit_stage import Check, run_check
from codedata.audit.audited import Audited, CheckResult
from codedata.audit.cheats import SPAN
from codedata.datapoints.datapoint_folder import (
    AGENT,
    PARTS,
    PartTexts,
    context_of,
    folder_of,
    for_agent,
    last_workdir,
    texts_of,
    verifier_of,
    weights_in,
)
from codedata.disk.layouts import content_of
from codedata.errors import ItemFailed
from codedata.records import FAILED, PASSED, UNFINISHED, AuditCheck, Object, Task
from codedata.run.talk import begin_step
from codedata.sandbox import SandboxDied
from codedata.sandbox.archives import UnsafeArchive
from codedata.sandbox.docker import engine
from codedata.sandbox.images.dockerfile import base_of, read_dockerfile
from codedata.tasks.folder.task_folder import (
    CONFIG,
    DOCKERFILE,
    OF_VERIFIER,
    agent_of,
    text_in,
    verifier_config,
    workdir_of,
)
from codedata.tasks.folder.tests_folder import KEPT, MAX_KEPT
from codedata.tasks.image.hidden_text import IMPORTS, Search
from codedata.tasks.image.image_search import LAYER, ImageSearch
from codedata.tasks.prove.gold_grades import (
    NotRewarded,
    clock_library,
    grade_untouched,
    prove_gold,
    prove_repeatable,
)
from codedata.tasks.prove.grader import NOT_BUILT, Grade, Grader, build_image
from codedata.texts import natural, printable
from codedata.verifier.runner_output import ANSI

MAX_EVIDENCE, MAX_LINE = 20, 400
ASSERTIONS = ("AssertionError", "Failed")   # exceptions raised by a failed assertion
# names at the top of environment/ that a datapoint may not use, since exporters need them
TAKEN = {"dockerfile", "docker-compose.yaml", ".dockerignore", "task.yaml", "run-tests.sh",
         "solution.sh", "solution.yaml", "tests", "manifest.toml"}
# the end of a sentence, or of a list item
SENTENCE = re.compile(r"[.!?](?=\s|$)|(?<![.!?])\n[ \t]*(?=[-*+] )")
PLACE = re.compile(r"(?<![\w.])/[\w.-]+(?:/[\w.-]+)*")
SYSTEM = ("/bin/", "/usr/", "/tmp/", "/proc/", "/dev/", "/sys/")   # folders that every Linux has
MARKS = {"skip", "skipif", "xfail", "importorskip", "skipIf", "skipUnless", "SkipTest",
         "expectedFailure"}
# names allowed in a datapoint's folder
KNOWN = {path.partition("/")[0] for path in Task.places.values()} | {"rivals", "README.md"}


class CheckFailed(Exception):
    """Report why a check has failed, with evidence."""

    result = FAILED

    def __init__(self, why: str, evidence: Sequence[str] = ()):
        super().__init__(why)
        self.evidence = [*evidence]


class NotChecked(CheckFailed):
    """Report why a check cannot be made."""

    result = UNFINISHED


@dataclass
class Validation(Audited):
    """Hold a datapoint and the findings about it so far. run() makes all checks."""

    review: list[str] = field(default_factory=list)   # findings for a reviewer
    engine_s: float = 0.0                             # seconds that all engine calls have taken
    failed: list[str] = field(default_factory=list)   # names of failed checks
    solved: bytes | None = None                       # work of the solution; None until it passes
    runs: list[Object] = field(default_factory=list)  # graded runs, in the form of proof.json

    def run(self) -> list[AuditCheck]:
        """Make all checks and return their results. Checks without a container come first; if one
        of them fails, no container is opened."""
        found = []
        # FIRST before the others; sorted() keeps the order within both groups
        for k, name in enumerate(sorted(CHECKS, key=lambda name: name not in FIRST), 1):
            begin_step(name, k, len(CHECKS))
            found.append(run_check(name, CHECKS[name], self))
            if found[-1]["result"] == FAILED:
                self.failed.append(name)
        self.engine_s += self.grader.engine_s if "grader" in vars(self) else 0.0
        return found

    @cached_property
    def texts(self) -> PartTexts:
        """Return the texts of the datapoint's parts."""
        return texts_of(self.task)

    @cached_property
    def weights(self) -> dict[str, Decimal]:
        """Return the weights of the tests. Raise CheckFailed if they are invalid."""
        try:
            return weights_in(self.task)
        except ValueError as e:
            raise CheckFailed(f"the weights in {PARTS['weights']}: {e}") from e

    @cached_property
    def untouched(self) -> Grade:
        """Return the grade of an agent that does nothing. Its run is the first in `runs`."""
        return self._noted(grade_untouched(self.grader, self.runs))

    # without a container -------------------------------------------------------------------------

    def structure(self) -> None:
        """Check the folder's files and texts, its Dockerfile, work directory and users."""
        task, texts = self.task, dict(zip(PARTS.values(), self.texts, strict=True))
        dockerfile = text_in(task.environment, DOCKERFILE)
        if refused := read_dockerfile(dockerfile)[1]:
            raise CheckFailed(refused)
        tops = {path.name for path in folder_of(task).iterdir()}
        workdir = last_workdir(dockerfile)
        named = {workdir_of(task), str(verifier_config(task).get("workdir"))}
        users = {agent_of(task), str(verifier_config(task).get("user"))}
        taken = [path for path in context_of(task) if path.partition("/")[0].lower() in TAKEN]
        lacking = {*verifier_of({}, workdir)} - {*task.tests}
        empty = [path for path, text in texts.items() if not text.strip()]
        with_nul = [path for path, text in texts.items() if "\0" in text]
        in_verifier = [path for path in OF_VERIFIER
                       if f"{path}/".startswith(f"{workdir}/") or workdir.startswith(f"{path}/")]
        faults = {
            "no part of a datapoint, move to environment/ or take out: "
            f"{', '.join(sorted(tops - KNOWN))}": tops - KNOWN,
            f"empty: {', '.join(empty)}": empty, f"has NUL: {', '.join(with_nul)}": with_nul,
            f"tests/ lacks the verifier's {', '.join(sorted(lacking))}": lacking,
            f"exporters need the names {', '.join(sorted(TAKEN))} at the top of environment/; "
            f"rename {', '.join(taken)}": taken,
            "the Dockerfile has no WORKDIR that is a plain absolute path": not workdir,
            f"the Dockerfile does not end with the lines that give {workdir} to the user {AGENT}: "
            "docs/datapoints.md": workdir and dockerfile != for_agent(dockerfile),
            f"task.toml and tests/{CONFIG} name another work directory or user than {workdir} and "
            f"{AGENT}": workdir and (named, users) != ({workdir}, {AGENT}),
            f"the work directory overlaps folders of the verifier: {', '.join(in_verifier)}":
                in_verifier}
        if any(faults.values()):
            raise CheckFailed("; ".join(fault for fault, is_so in faults.items() if is_so))

    def weight_validation(self) -> None:
        """Check that tests and weights match one to one. The names of tests must be unique; weights
        must be above 0, with the sum 1."""
        weights = self.weights.keys()
        tests = [node.name for node in self._tree().body
                 if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
        if twice := sorted({name for name in tests if tests.count(name) > 1}):
            raise CheckFailed("only the last of several tests with the same name runs: "
                              f"{', '.join(twice)}")
        unlike = {"weights without a test: rename or remove {}": weights - {*tests},
                  "tests without a weight: give one to {}": {*tests} - weights}
        if faults := [text.format(", ".join(sorted(names))) for text, names in unlike.items()
                      if names]:
            raise CheckFailed("; ".join(faults))

    def _tree(self) -> ast.Module:
        try:
            return ast.parse(self.texts.tests)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            raise CheckFailed(f"{PARTS['tests']} cannot be parsed: {e}") from e

    # the image -----------------------------------------------------------------------------------

    def docker_build(self) -> None:
        """Build the image, and look for the solution and the tests in it."""
        # the error of later checks that need the image
        self.not_built = NotChecked("there is no image")
        if self.failed:
            raise NotChecked(f"correct {', '.join(self.failed)} first")
        try:
            name, built = build_image(self.task, self.host, self.label)
        except ItemFailed as e:
            raise CheckFailed(f"{NOT_BUILT}: {e.what}") from e
        self.engine_s += built.seconds
        if built.failed:
            raise CheckFailed(f"{NOT_BUILT}: {built.failed}", built.log.splitlines()[-10:])
        self.grader = Grader(self.host, self.task, name, self.label)
        if traces := self._traces(name):
            raise CheckFailed("the image shows hidden texts", traces)

    def _traces(self, image: str) -> list[str]:
        """Return the files that show hidden texts. In layers above the base image, a file may not
        have 40 consecutive bytes of the solution, tests or weights, unless environment/ has the
        same bytes. A file in environment/ may not have a long run of the tests or weights."""
        texts, api = self.texts, engine.connect()
        tests = [IMPORTS.sub("", texts.tests), texts.weights]
        search, long = ImageSearch([texts.solution, *tests]), Search([], hidden=tests)
        for path, place in context_of(self.task).items():
            with open(place, "rb") as file:
                search.exempt(file)
                file.seek(0)
                long.look(f"environment/{path}", file)
        try:
            search.look_into(self._counted(api.get_image(image)), base_of(texts.dockerfile))
        except (UnsafeArchive, OSError) as e:
            return [f"its layers cannot be read: {e}"]
        # list each file once, although a change of its owner puts it into a second layer
        self.review += dict.fromkeys(one.removeprefix(LAYER) for one in search.unread.values())
        return long.traces + search.traces

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the pieces that the engine sends, and add the time it takes to `engine_s`."""
        while True:
            started = time.monotonic()
            piece = next(pieces, b"")
            self.engine_s += time.monotonic() - started
            if not piece:
                return
            yield piece

    # the tests -----------------------------------------------------------------------------------

    def test_discovery(self) -> None:
        """Check that pytest collects exactly the tests that have weights, and skips none of them.
        """
        check_collected(self.untouched, self.weights)
        nodes = [*ast.walk(self._tree())]
        marks = {node.attr for node in nodes if isinstance(node, ast.Attribute)
                 and re.match("pytest|unittest|mark$", ast.unparse(node.value))} & MARKS
        marks |= {alias.name for node in nodes if isinstance(node, ast.ImportFrom)
                  and node.module in ("pytest", "unittest") for alias in node.names} & MARKS
        if marks:
            raise CheckFailed("tests can be skipped, or are expected to fail", sorted(marks))

    def dependency_check(self) -> None:
        """Check that the image has the modules that the tests import."""
        imports = {"import pytest"} | {ast.unparse(node) for node in ast.walk(self._tree())
                                       if isinstance(node, ast.Import | ast.ImportFrom)}
        with self.grader.opened() as sandbox:
            lacking = [line for line in sorted(imports) if not sandbox.run(
                f"cd /; runuser -u {AGENT} -- /usr/bin/python3 -I -c {shlex.quote(line)}").ok]
        if lacking:
            raise CheckFailed("/usr/bin/python3 of the image fails at these imports", lacking)

    def fail_first(self) -> None:
        """Check that in the unchanged image each test fails by an assertion. Regression tests may
        pass."""
        check_fails_first(self.untouched, self.weights)

    # the solution --------------------------------------------------------------------------------

    def solvable(self) -> None:
        """Check that the solution passes in each run."""
        try:
            self.solved = prove_gold(self.grader, self.runs)
        except NotRewarded as e:
            raise unsolved(e, self.weights) from e

    def repeatable(self) -> None:
        """Check that the solution also passes with the tests in other orders, and on another date.
        """
        if self.solved is None:
            raise NotChecked("the solution does not pass")
        try:
            clock = clock_library(self.host)
        except ItemFailed as e:
            raise NotChecked(e.what) from e
        try:
            unshifted = prove_repeatable(self.grader, self.solved, clock, self.runs)
        except NotRewarded as e:
            raise CheckFailed(str(e), _evidence_of(e, self.weights)) from e
        self.review += ["the clock could not be shifted: these tests fail with libfaketime on any "
                        f"day: {', '.join(missed(grade, self.weights))}" for grade in unshifted]

    # the prompt ----------------------------------------------------------------------------------

    def prompt(self) -> None:
        """Check that the prompt is short and reveals nothing hidden. Add to `review` the paths,
        ports and keys that only the tests name."""
        prompt = self.texts.prompt
        text = SPAN.sub("x", prompt.strip())
        n = len(SENTENCE.findall(text if text.endswith((".", "!", "?")) else f"{text}."))
        named = []
        with suppress(CheckFailed):   # ignore invalid weights: weight_validation() reports them
            named = [name for name in self.weights if name in prompt]
        squeezed = " ".join(prompt.split())
        # Strip marks of patches and line continuations. Compare only lines with a space, since a
        # single word may be a path that the prompt has to name.
        lines = [line.strip("+ \t;\\") for line in self.texts.solution.splitlines()]
        quoted = [line for line in lines if len(line) >= 20 and " " in line
                  and not line.startswith("#") and line in squeezed]
        if n > 3 or named or quoted:
            raise CheckFailed(f"it has {n} sentences" if n > 3 else "it reveals what is hidden",
                          named + quoted)
        shown = prompt.encode() + b"".join(map(content_of, context_of(self.task).values()))
        hidden = sorted({one for one in _named_in(self._tree()) if one.encode() not in shown},
                        key=natural)
        if hidden:
            self.review.append(f"only the tests name: {', '.join(hidden[:MAX_EVIDENCE])}")


def _found(check: Callable[[Validation], None], validation: Validation) -> CheckResult:
    """Return the result of a datapoint's check."""
    try:
        check(validation)
    except CheckFailed as e:
        shown = [printable(ANSI.sub("", line), MAX_LINE) for line in e.evidence]
        return CheckResult(e.result, str(e), shown)
    except ItemFailed as e:
        cause = "its container ended: " if isinstance(e, SandboxDied) else ""
        return CheckResult(FAILED, f"{cause}{e.what}")
    return CheckResult(PASSED)


CHECKS = {check.__name__: Check(partial(_found, check)) for check in (
    Validation.structure, Validation.weight_validation, Validation.docker_build,
    Validation.test_discovery, Validation.dependency_check, Validation.fail_first,
    Validation.solvable, Validation.repeatable, Validation.prompt)}
FIRST = "structure", "weight_validation", "prompt"   # checks that need no container


# checks of a grade -------------------------------------------------------------------------------

def missed(grade: Grade, tests: Collection[str]) -> list[str]:
    """Return the names of the tests that have not passed, sorted."""
    return sorted({*tests} - grade.passed())


def check_collected(grade: Grade, tests: Collection[str]) -> None:
    """Raise CheckFailed if pytest collected other tests than these, or skipped some."""
    broken = [why for _, phase, _, why in grade.phases if phase == "collect"]
    found = {name for name, phase, *_ in grade.phases if phase != "collect"}
    if broken or not found:
        raise CheckFailed("pytest does not collect them", broken or grade.last_lines)
    if unlike := sorted(found ^ {*tests}):
        raise CheckFailed("pytest and weights.json do not name the same tests: "
                          f"{', '.join(unlike)}")
    if skipped := sorted({name for name, _, outcome, _ in grade.phases if outcome == "skipped"}):
        raise CheckFailed("tests may be skipped, or may fail", skipped)


def check_fails_first(grade: Grade, tests: Collection[str]) -> None:
    """Raise CheckFailed unless each test fails by an assertion. Tests whose names start with KEPT
    may pass, but together give at most MAX_KEPT of the reward."""
    raised = defaultdict(set)
    for name, phase, outcome, why in grade.phases:
        if outcome != "passed":
            raised[name].add(f"{phase}: {why or outcome}")
    wanted = {f"call: {one}" for one in ASSERTIONS}
    others = [f"{name}: {', '.join(sorted(raised[name])) or 'passes'}" for name in sorted(tests)
              if raised[name] - wanted or not (raised[name] or name.startswith(KEPT))]
    if others or grade.reward > MAX_KEPT:
        raise CheckFailed(f"the reward is {grade.reward}, and tests do not fail by assertion",
                          others)


def unsolved(error: NotRewarded, tests: Collection[str]) -> CheckFailed:
    """Return the CheckFailed of the check `solvable` for a run of the solution that failed."""
    return CheckFailed(f"{error.run} of the solution gets {error.grade.reward}",
                       _evidence_of(error, tests))


def _evidence_of(error: NotRewarded, tests: Collection[str]) -> list[str]:
    return [*missed(error.grade, tests), *error.printed.splitlines()[-5:],
            *error.grade.last_lines]


def _named_in(tree: ast.Module) -> Iterator[str]:
    """Yield the paths, ports and keys that tests name."""
    for node in ast.walk(tree):
        value = getattr(node, "value", None) if isinstance(node, ast.Constant) else None
        if isinstance(value, str):
            yield from (one for one in PLACE.findall(value) if not f"{one}/".startswith(SYSTEM))
        elif type(value) is int and 1024 <= value < 65536:
            yield str(value)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and isinstance(
                node.slice.value, str):
            yield node.slice.value
