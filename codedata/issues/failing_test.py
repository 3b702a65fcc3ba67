"""Write the report of a bug in a language other than Python: from the title of a failing test, and
the message with the expected and the received value in the report of the test runner.

A message counts if two runs with the bug report the same one, and the test passes with the fix.
"""
from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from textwrap import dedent
from xml.etree import ElementTree

from codedata.errors import Excluded
from codedata.issues.issue_checks import Hidden
from codedata.issues.issue_texts import FORMS, MAX_BLOCK, indented
from codedata.issues.proven_bug import ProvenBug
from codedata.texts import fill
from codedata.verifier.junit import CONTROL, MOCHA, NODE, decoded
from codedata.verifier.runner_output import ANSI, MAX_JSON

NO_MESSAGE = ("no report: no report of its test runner has a message that may be shown. "
              "--steps issue --issue-writer llm --refresh lets a model write it")
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError,
              ElementTree.ParseError)
# matches the first frame of a stack or, in mocha's reports, the repeated message with its type
STACK = re.compile(r"^ *(?:at |❯ )|(?<=\n)\w*Error\b.*: ", re.MULTILINE)
# matches a message that expects more than a truth value
CLEAR = re.compile(r"(?!.*\b(?:true|false|truthy|falsy)\b).*expected", re.DOTALL | re.IGNORECASE)
CASE = "\nAnother case: {title}\n\n{message}\n"
Messages = dict[str, str]   # {title of a failing test, after its suites and " > ": message}


def failure_report(bug: ProvenBug, shown: str, runs: Sequence[Messages], draw: random.Random,
                   n_cases: int = 1) -> tuple[str, str]:
    """Return (title of a failing test, the report with it and up to `n_cases` - 1 other messages).
    `shown` is the source with the bug, and the tests: names of the fix that it lacks are not in the
    report. `runs` are two runs of the suite with the bug and one with the fix. Raise Excluded if
    there is no message to show."""
    first, second, fixed = runs
    hidden = Hidden(replace(bug, FAIL_TO_PASS=[]), frozenset())   # the title may be shown
    stable = sorted((not CLEAR.match(message), len(message), title, message)
                    for title, message in first.items() & second.items() if message)
    titles, texts = [], []
    for _, n_chars, title, message in stable:
        form = CASE if texts else draw.choice(FORMS["failing_test"]["forms"])
        text = fill(form, message=indented(message), title=title.replace(" > ", " "))
        is_of_bug = title not in fixed and title.rpartition(" > ")[2] in "\n".join(bug.failing)
        if is_of_bug and n_chars <= MAX_BLOCK and not hidden.in_report(text, shown):
            titles.append(title)
            texts.append(text)
        if len(texts) == n_cases:
            break
    if not texts:
        raise Excluded(NO_MESSAGE, bug.instance_id)
    return titles[0], "".join(texts)


def messages_in(files: Mapping[str, bytes]) -> Messages:
    """Return the messages of the failing tests in reports; some may be ""."""
    found = {}
    for path, data in files.items():
        read = _junit if path.endswith(".xml") else _jest
        with suppress(*UNREADABLE):   # skip files that are cut short or are no reports
            for title, message in read(decoded(data[:MAX_JSON])):
                text = STACK.split(ANSI.sub("", message).strip("\n"), maxsplit=1)[0]
                found[title] = dedent(text).rstrip()
    return found


def _jest(text: str) -> Iterator[tuple[str, str]]:
    for file in json.loads(text)["testResults"]:
        for case in file["assertionResults"]:
            for message in case["failureMessages"][:1]:
                yield " > ".join([*case["ancestorTitles"], case["title"]]), message


def _junit(text: str) -> Iterator[tuple[str, str]]:
    root = ElementTree.fromstring(CONTROL.sub("?", text.replace("<!ENTITY", "")))
    for case in root.iter("testcase"):
        for failure in case.iter("failure"):
            name = case.get("name", "")
            if case.get("classname") == NODE:
                name = name.partition(" > ")[2]   # without its file
            elif root.get("name") == MOCHA:
                name = f"{case.get('classname')} > {name}"
            yield name, failure.text or failure.get("message", "")
