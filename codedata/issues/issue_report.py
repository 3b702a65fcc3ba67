"""Write the issue report of a bug as a user would: the step `issue` of bug_inject.py. A pull
request whose own words are not enough gets such a report, too (pulls/instructions.py).

A fact (issue_facts.py) is a script whose outcome the bug changes. The best fact that fresh
containers confirm is the reproduction. If there is none, a model is asked for a script, which is
run with the bug and with the fix. A second request, for the report, shows the reproduction, but
neither the fix nor a test. Without a model, the report is made from the fact. Only bugs in Python
have facts; without a model, a bug in another language gets a report from a failing test
(failing_test.py).
"""
from __future__ import annotations

import random
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial

from codedata.code.calls import call_graph
from codedata.code.entities import Entity, SourceFile, Sources, all_entities, language_of
from codedata.disk.store import digest
from codedata.errors import Excluded, ItemFailed
from codedata.issues.blame import blamed
from codedata.issues.failing_test import Messages, failure_report, messages_in
from codedata.issues.issue_checks import Hidden, shown_output
from codedata.issues.issue_facts import RECORDED, Difference, Differences
from codedata.issues.issue_texts import more_text, report_text
from codedata.issues.proven_bug import ProvenBug
from codedata.issues.scripts_of_tests import function_of
from codedata.leak.hidden import NAME
from codedata.llm import Client, Reply
from codedata.llm.asking import Rejected, ask, part_in
from codedata.records import BugReport, Task
from codedata.run.talk import begin_step
from codedata.sandbox import Sandbox, SandboxDied
from codedata.sandbox.factory import WORKDIR, SandboxFactory
from codedata.suites.contexts import sources_in
from codedata.suites.project_suite import READABLE, RESULTS, reports_in, run_script
from codedata.suites.replayed_scripts import Outcome
from codedata.suites.source import apply_patch
from codedata.suites.test_results import place_of
from codedata.texts import fill, text_of, toml_of

RUN_S = 60                 # seconds for a reproduction, unless [sandbox] run_timeout is lower
MAX_OUTPUT_BYTES = 10_000  # bytes printed by a reproduction
MAX_SHOWN_CHARS = 20_000   # characters of each text in a request
MAX_SCRIPT_LINES = 12      # lines of the script in a report without a model, imports not counted
MAX_CASES = 3              # cases in a request's report
MAX_CALLERS = 3            # callers of changed functions that are shown
PYTHON = "python"
FILES = {PYTHON: "reproduce.py", "bash": "reproduce.sh"}
# a block ends before the next one begins, so no text is searched twice
FENCED = re.compile(
    r"^```(python|py|bash|sh)[ \t]*\n((?:(?!```(?:py|bash|sh))[^\n]*\n)*?)```[ \t]*$", re.MULTILINE)
KNOWN = re.compile(r"^([a-z]+): (.+)$", re.MULTILINE)   # matches a line of known.sh's output
LINE = re.compile(r"^(?!from |import ).*\S", re.MULTILINE)   # matches lines except imports
REPEATED = re.compile(r"…(?:\s*…)+")
PASSED = re.compile(r"^(?:PASSED .*|.* PASSED +\[ *\d+%\] *)\n", re.MULTILINE)   # pytest's lines
PATH_LINE = re.compile(r"^export PATH=.*$", re.MULTILINE)   # in a test script
NO_FACT = "nothing that its failing tests do shows the bug"
ONE_CASE = "only the case of its one failing test shows the bug"
NOT_SHOWN = "what shows the bug is too long, or changes from run to run"
MAX_SHOWN_FACTS = 4        # facts shown in a request
TEXTS = 11                 # version of the reports made without a model: raise it if they change
AGAIN = "issue_again.md"
PROMPTS = ("reproduce.md", "write_issue.md", AGAIN)
_packaged = partial(text_of, __package__)


@dataclass(frozen=True)
class ReproductionRun:
    """Hold the result of running a reproduction, in a form that a user may quote."""

    exit_code: int
    output: str

    def __str__(self) -> str:
        end = f"\n[exit code {self.exit_code}]" if self.exit_code else ""
        return f"{self.output}{end}".strip("\n") or "(nothing)"


@dataclass(frozen=True)
class Reproduction:
    """Hold a script that shows the bug, with its results on both trees."""

    language: str   # a key of FILES
    script: str
    bugged: ReproductionRun
    fixed: ReproductionRun

    @property
    def shown(self) -> str:
        """Return the script and its outputs."""
        return "\n".join((self.script, self.bugged.output, self.fixed.output))

    def is_quoted(self, text: str) -> bool:
        """Return whether a text quotes a line that is printed only with the bug; True if there is
        no such line."""
        bugged, fixed = ({*map(str.strip, run.output.splitlines())}
                         for run in (self.bugged, self.fixed))
        lines = bugged - fixed - {""}
        return not lines or any(line in text for line in lines)


@dataclass(frozen=True)
class Trees:
    """Open the two trees of a bug: its image, and its image with the fix applied."""

    bug: ProvenBug
    host: SandboxFactory
    label: str
    maker: str   # the command that makes the image

    @property
    def seconds(self) -> int:
        """Return the time limit of a reproduction, in seconds."""
        return min(RUN_S, self.host.run_timeout_s)

    @contextmanager
    def open(self, is_fixed: bool = False) -> Iterator[Sandbox]:
        """Yield a fresh sandbox with one of the trees. Raise ItemFailed if that is impossible."""
        image = self.bug.image
        if not self.host.has_image(image):
            raise ItemFailed(f"its image {image} is gone.",
                             todo=f"To make it again: python {self.maker}")
        with self.host.open(image, self.label, self.host.workdir_of(image)) as sandbox:
            if is_fixed and (error := apply_patch(sandbox, self.bug.patch)[2]):
                raise ItemFailed(error, image)
            yield sandbox

    def failures(self, is_fixed: bool) -> Messages:
        """Return the messages of the tests that fail in one of the trees, as a user may quote them.
        """
        begin_step("running the tests")
        with self.open(is_fixed) as sandbox:
            sandbox.put(self.bug.hidden, sandbox.workdir)
            run_script(sandbox, self.bug.test_script, self.host.run_timeout_s,
                       before=f"rm -rf {RESULTS}", after=READABLE)
            return {title: shown_output(message, sandbox.workdir, "")
                    for title, message in messages_in(reports_in(sandbox)[0]).items()}

    def show(self, language: str, script: str) -> Reproduction:
        """Return the reproduction that a script makes, after running it twice on both trees. Raise
        Rejected if its output does not depend on the bug, or differs between runs."""
        def run() -> list[ReproductionRun]:
            return [self._run(language, script, is_fixed) for is_fixed in (False, True)]

        first = run()
        if first[0] == first[1]:
            raise Rejected("its output with the bug and with the fix is the same", str(first[0]))
        if run() != first:
            raise Rejected("its output is not the same each time")
        return Reproduction(language, script, *first)

    def _run(self, language: str, script: str, is_fixed: bool) -> ReproductionRun:
        """Return the result of a script in a fresh sandbox. Raise Rejected if it does not end,
        prints too much, or exhausts the sandbox."""
        tree, name = "with the fix" if is_fixed else "with the bug", FILES[language]
        with self.open(is_fixed) as sandbox:
            sandbox.put({name: script.encode()}, sandbox.workdir)
            path = PATH_LINE.search(self.bug.test_script)
            runner = fill(_packaged("run_reproduction.sh"), name=name, path=path[0] if path else "")
            try:
                done = run_script(sandbox, runner, self.seconds)
            except SandboxDied as e:
                raise Rejected(f"it exhausts the memory or disk of its sandbox {tree}") from e
            workdir = sandbox.workdir
        if done.timed_out:
            raise Rejected(f"it did not end within {self.seconds} s {tree}")
        if done.n_bytes > MAX_OUTPUT_BYTES:
            raise Rejected(f"it prints more than {MAX_OUTPUT_BYTES:,} bytes {tree}")
        return ReproductionRun(done.exit_code, shown_output(done.output, workdir, name))


@dataclass(frozen=True)
class Reporter:
    """Write the reports of bugs that the command `maker` proves; make() is the item function. With
    `is_of_requests`, a report may show several cases, and the case of the only failing test."""

    host: SandboxFactory
    maker: str
    client: Client | None = None
    is_of_requests: bool = False

    def identity(self) -> dict:
        """Return the settings that determine the reports."""
        if not self.client:
            return {"writer": "template", "texts": TEXTS}
        return {"writer": "llm", **self.client.spec.identity(),
                "prompts": digest([*map(_packaged, PROMPTS)])}

    def cost_note(self) -> str:
        """Return a line with the number of calls."""
        if not self.client:
            return ""
        n_tries = 1 + self.client.spec.format_retries
        return f"at most {2 * n_tries} calls for each bug; most bugs take two"

    def make(self, task: Task) -> BugReport:
        """Return the report of a bug, with its reproduction unless it shows a failing test."""
        bug = ProvenBug.of(task)
        trees = Trees(bug, self.host, f"issue-{bug.instance_id[:40]}-{secrets.token_hex(4)}",
                      self.maker)
        draw = random.Random(f"0 {bug.instance_id}")
        profiles = toml_of(__package__, "profiles.toml")["profiles"]
        name, profile = draw.choice(sorted(profiles.items()))
        begin_step("reading README and docs")
        with trees.open() as sandbox:
            readme, documented, known = _look(sandbox)
            code = _code(sandbox, bug) if self.client else ""
        if bug.language != PYTHON and not self.client:
            runs = [trees.failures(is_fixed) for is_fixed in (False, False, True)]
            with trees.open() as sandbox:
                texts = [*(file.text for file in sources_in(sandbox).files), *bug.hidden.values()]
            shown = b"\n".join(texts).decode(errors="replace")
            title, text = failure_report(bug, shown, runs, draw,
                                         MAX_CASES if self.is_of_requests else 1)
            return BugReport(bug.instance_id, bug.repo, text, {
                "writer": "template", "kind": "failing_test", "case": RECORDED, "test": title})
        hidden = Hidden(bug, documented)
        differences = self._differences(trees, hidden)
        title, project = "(none)", {"project": bug.repo.rpartition("/")[2]}
        try:
            (found, reproduction), *others = _first_shown(differences, trees, self.is_of_requests)
            with trees.open(is_fixed=True) as right, trees.open() as wrong:
                run = Differences(right, wrong, bug.test_script).run
                form, text = report_text(found, draw, project | known, blamed(found.right, run))
            text += "".join(more_text(one) for one, _ in others)
            about = {"writer": "template", "form": form, "kind": found.kind, "case": found.case}
            title = text.partition("\n")[0]
        except Excluded:
            if self.client is None:
                raise
            shown = "\n\n".join(map(str, differences[:MAX_SHOWN_FACTS])) or "(nothing)"
            reproduction = self._reproduce(trees, hidden, {
                "readme": readme, "code": code, "facts": shown})
        if self.client:
            text = self._write(hidden, reproduction, {"readme": readme, "title": title, **profile})
            about = {"writer": "llm", "profile": name}
        return BugReport(bug.instance_id, bug.repo, text, about | asdict(reproduction))

    def _differences(self, trees: Trees, hidden: Hidden) -> list[Difference]:
        """Return the differences whose scripts a report may show. Return [] for a language other
        than Python, or if the scripts cannot be run and a model writes the report."""
        bug = trees.bug
        if bug.language != PYTHON:
            return []
        try:
            with trees.open(is_fixed=True) as right, trees.open() as wrong:
                varies = not self.is_of_requests or len(bug.FAIL_TO_PASS) == 1
                found = Differences(right, wrong, bug.test_script).found(
                    bug.failing, bug.hidden, varies)
        except ItemFailed:
            if self.client is None:
                raise
            return []
        return [one for one in found if not hidden.in_script(one.right.program)]

    def _reproduce(self, trees: Trees, hidden: Hidden, known: Mapping[str, str]) -> Reproduction:
        """Return the model's first reproduction that shows the bug."""
        def read(reply: Reply) -> Reproduction:
            language, script = script_in(reply.text)
            if faults := hidden.in_script(script):
                raise Rejected(f"it has {faults[0]}", *faults[1:])
            begin_step("running a reproduction")
            return trees.show(language, script)

        bug = trees.bug
        parts = {**known, "patch": bug.bug_patch, "tests": "\n".join(bug.FAIL_TO_PASS),
                 "log": PASSED.sub("", bug.log)}
        return ask(self.client, read, fill(
            _packaged("reproduce.md"), repo=bug.repo, language=bug.language,
            symbol=bug.symbol or "the files below",
            seconds=str(trees.seconds), max_bytes=f"{MAX_OUTPUT_BYTES:,}",
            **{name: _cut(text) for name, text in parts.items()}), _packaged(AGAIN))

    def _write(self, hidden: Hidden, reproduction: Reproduction, known: Mapping[str, str]) -> str:
        """Return the report that the model writes."""
        def read(reply: Reply) -> str:
            text = part_in(reply.text, "report")
            if faults := hidden.in_report(text, reproduction.shown):
                raise Rejected(f"it has {faults[0]}", *faults[1:])
            if not reproduction.is_quoted(text):
                raise Rejected("it quotes no line that is printed only with the bug")
            return text

        begin_step("writing the report")
        return ask(self.client, read, fill(
            _packaged("write_issue.md"), repo=hidden.bug.repo,
            script=reproduction.script.strip("\n"), language=reproduction.language,
            bugged=str(reproduction.bugged), fixed=str(reproduction.fixed), **known),
            _packaged(AGAIN))


def _first_shown(differences: list[Difference], trees: Trees, is_request: bool
                 ) -> list[tuple[Difference, Reproduction]]:
    """Return the first difference that fresh containers reproduce exactly, with its reproduction;
    for a request, up to MAX_CASES, and no more than its tests have functions, since each may demand
    something else. Raise Excluded if there is none. The case of a bug's only failing test does not
    count: knowing it is enough to pass the test."""
    bug, reason, found = trees.bug, NO_FACT, []
    is_one = len(bug.FAIL_TO_PASS) == 1
    n_functions = len({*map(function_of, bug.FAIL_TO_PASS)})
    n_cases = min(MAX_CASES, n_functions) if is_request else 1
    for one in differences:
        if one.case == RECORDED and is_one and not is_request:
            reason = ONE_CASE
            continue
        reason = NOT_SHOWN
        script = one.right.program
        if len(LINE.findall(script)) > MAX_SCRIPT_LINES:
            continue
        try:
            reproduction = trees.show(PYTHON, script)
        except Rejected:
            continue
        runs = (reproduction.fixed, one.right), (reproduction.bugged, one.wrong)
        if all(_ends_in(run, outcome) for run, outcome in runs):
            found.append((one, reproduction))
        if len(found) == n_cases:
            break
    if not found:
        raise Excluded(f"no report: {reason}. --steps issue --issue-writer llm --refresh lets a "
                       "model write it", bug.instance_id)
    return found


def _ends_in(run: ReproductionRun, outcome: Outcome) -> bool:
    """Return whether a run of a script showed only this outcome, except for a traceback."""
    shown = shown_output(outcome.shown, WORKDIR, "")
    if outcome.kind == "value":
        return run.exit_code == 0 and run.output.strip() == shown.strip()
    return run.exit_code != 0 and run.output.rstrip().endswith(shown)


def script_in(reply: str) -> tuple[str, str]:
    """Return (language, text) of the script in a reply. Raise Rejected unless there is exactly one.
    """
    scripts = FENCED.findall(reply)
    if len(scripts) != 1:
        raise Rejected(f"it has {len(scripts)} blocks of python or bash, not one")
    kind, text = scripts[0]
    return PYTHON if kind.startswith("py") else "bash", text


# parts of requests --------------------------------------------------------------------------------

def _look(sandbox: Sandbox) -> tuple[str, frozenset[str], dict[str, str]]:
    """Return (the beginning of README, the words of README and docs, the output of known.sh)."""
    readme, words, known = (sandbox.run(_packaged(name), timeout_s=RUN_S).output
                            for name in ("readme.sh", "documented.sh", "known.sh"))
    return (readme or "(nothing)", frozenset([*words.split(), *NAME.findall(words)]),
            dict(KNOWN.findall(known)))


def _code(sandbox: Sandbox, bug: ProvenBug) -> str:
    """Return the functions that the bug changes, some of their callers, and the failing tests with
    the test helpers that they call."""
    files = [file for file in sources_in(sandbox).files if file.path not in bug.hidden]
    files += [SourceFile(path, language_of(path), text, True)
              for path, text in bug.hidden.items() if language_of(path)]
    files.sort(key=lambda file: file.is_test)
    of_tests = {file.path for file in files if file.is_test}
    entities = all_entities(Sources(files))[0]
    tests = {"::".join(place_of(test, entities)) for test in bug.failing}
    ids = tests.union(bug.symbols or [bug.symbol])
    callers, helpers = set(), set()
    for edge in call_graph(files, entities):
        if edge.callee in ids and edge.caller.partition("::")[0] not in of_tests:
            callers.add(edge.caller)
        if edge.caller in tests and edge.callee.partition("::")[0] in of_tests:
            helpers.add(edge.callee)
    ids |= helpers.union(sorted(callers)[:MAX_CALLERS])
    shown = (code_of(ids, file, entities[file.path]) for file in files)
    return "\n\n".join(filter(None, shown)) or "(nothing)"


def code_of(ids: set[str], file: SourceFile, entities: list[Entity]) -> str:
    """Return the text of a file with each definition replaced by "…", except the definitions with
    these ids, and definitions inside or around them. Return "" if the file has none of the ids."""
    wanted = [one for one in entities if one.id in ids]
    kept, at = [], 0
    for one in entities:
        is_shown = any(one.start < other.end and other.start < one.end for other in wanted)
        if not is_shown and one.start >= at:
            kept.append(file.text[at:one.start])
            at = one.end
    text = b"\xe2\x80\xa6".join([*kept, file.text[at:]]).decode(errors="replace")
    return f"# {file.path}\n{REPEATED.sub('…', text)}" if wanted else ""


def _cut(text: str) -> str:
    """Return a text, cut to MAX_SHOWN_CHARS with a mark at its end."""
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}\n… (cut here)"
