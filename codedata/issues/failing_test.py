"""Write the report of a bug from the title of a failing test and the message in its runner's own
report, which has the expected and the received value. For languages without scripts of tests.

A message counts if two runs with the bug report the same one, and the test passes with the fix.
"""
from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from textwrap import dedent
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from codedata.issues.issue_checks import Hidden, shown_output
from codedata.issues.issue_texts import FORMS, MAX_BLOCK, indented
from codedata.issues.proven_bug import ProvenBug, no_report
from codedata.run.talk import begin_step
from codedata.suites.contexts import sources_in
from codedata.suites.project_suite import READABLE, RESULTS, reports_in, run_script
from codedata.texts import fill
from codedata.verifier.junit import CONTROL, MOCHA, NODE, decoded
from codedata.verifier.runner_output import ANSI

if TYPE_CHECKING:
    from codedata.issues.issue_report import Trees

NO_MESSAGE = "no report of its test runner has a message of a failing test that may be shown"
UNREADABLE = ValueError, LookupError, TypeError, AttributeError, ElementTree.ParseError
STACK = re.compile(r"^ *(?:at |❯ )", re.MULTILINE)   # the first frame
TAP = re.compile(
    r"^ *# (?:Subtest: )?(?P<group>.+)|^(?P<indent> *)not ok \d+(?: -)? (?P<case>.+)\n *---\n"
    r"(?: *name: .*\n)?(?P<text>(?:.*\n)*?)(?P=indent) {2,4}(?:at:|stack:|message:|\.\.\.)",
    re.MULTILINE)
VAGUE = re.compile(r"\b(?:true|false|truthy|falsy)\b")   # values that say little


def failure_report(bug: ProvenBug, documented: frozenset[str], trees: Trees, draw: random.Random
                   ) -> tuple[str, str]:
    """Return (title of a failing test, the report with it). Raise Excluded if there is no message
    to show."""
    hidden = Hidden(replace(bug, FAIL_TO_PASS=[]), documented)   # the title is no secret here
    first, second, fixed = (_failures(trees, is_fixed) for is_fixed in (False, False, True))
    with trees.open() as sandbox:
        shown = "\n".join(text.decode(errors="replace") for text in (
            *bug.hidden.values(), *(file.text for file in sources_in(sandbox).files)))
    tests = "\n".join(bug.failing)
    stable = [(title, message) for title, message in first.items()
              if second.get(title) == message and title not in fixed and len(message) <= MAX_BLOCK
              and title.split(" > ")[-1] in tests]
    for title, message in sorted(stable, key=lambda one: (bool(VAGUE.search(one[1])), len(one[1]))):
        title = title.replace(" > ", " ")
        text = fill(draw.choice(FORMS["failing_test"]["forms"]), title=title,
                    message=indented(message), project=bug.repo.rpartition("/")[2])
        if not hidden.in_report(text, shown):
            return title, text
    raise no_report(NO_MESSAGE, bug)


def _failures(trees: Trees, is_fixed: bool) -> dict[str, str]:
    """Return {title of a failing test: its message} of a run of the suite in one of the trees."""
    begin_step("running the tests")
    with trees.open(is_fixed) as sandbox:
        sandbox.put(trees.bug.hidden, sandbox.workdir)
        run_script(sandbox, trees.bug.test_script, trees.host.run_timeout_s,
                   before=f"rm -rf {RESULTS}", after=READABLE)
        files, _ = reports_in(sandbox)
        return {title: shown_output(message, sandbox.workdir, "")
                for title, message in messages_in(files).items() if message}


def messages_in(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return {title: message, may be ""} of the failed tests in reports, each with its suites
    before " > "."""
    found = {}
    for path, data in files.items():
        text = decoded(data)
        reader = {"xml": _junit, "json": _jest}.get(path.rpartition(".")[2], _tap)
        try:
            found |= {title: _message(message) for title, message in reader(text)}
        except UNREADABLE:
            pass   # a torn report has no stable message
    return found


def _jest(text: str) -> Iterator[tuple[str, str]]:
    for file in json.loads(text)["testResults"]:
        for case in file["assertionResults"]:
            for message in (case.get("failureMessages") or [])[:1]:
                title = " > ".join([*case["ancestorTitles"], case["title"]])
                yield title, message.removeprefix("Error: ")


def _junit(text: str) -> Iterator[tuple[str, str]]:
    root = ElementTree.fromstring(CONTROL.sub("?", text.replace("<!ENTITY", "")))
    for case in root.iter("testcase"):
        for failure in (*case.iter("failure"), *case.iter("error")):
            name, group = case.get("name", ""), case.get("classname", "")
            if group == NODE:
                name = name.partition(" > ")[2]   # without its file
            elif root.get("name") == MOCHA:
                name = f"{group} > {name}"
            yield name, failure.text or failure.get("message", "")


def _tap(text: str) -> Iterator[tuple[str, str]]:
    group = ""
    for match in TAP.finditer(text):
        group = match["group"] or group
        if match["case"]:
            yield " > ".join(filter(None, [group, match["case"]])), match["text"]


def _message(text: str) -> str:
    """Return a message without the stack and without mocha's second copy of its beginning."""
    text = STACK.split(ANSI.sub("", text).strip("\n"), maxsplit=1)[0]
    start = text.partition("\n")[0]
    if again := re.search(rf"^\w*Error.*?: {re.escape(start)}$", text, re.MULTILINE):
        before = text[:again.start()]
        text = before if before.strip() != start else text[again.start():]
    return dedent(text).strip("\n").rstrip()
