"""Write the instruction of a pull request's task: the issue that it solves, or its own description,
and the documentation that it adds. A description, or an issue that is not good enough, gets scripts
of failing tests and their outputs before and after the request. In other languages than Python it
gets the tests' titles and messages. A model may write the text instead.

The model first compares a text with the tests and the solution: do the tests demand something that
the text does not state, and does the text reveal the solution? Only then does it write a new text,
which is checked in the same way. A program checks quotes, names of tests, and code of the solution.
The model may overlook something; audit.py checks again.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from codedata.checks.requests import (
    added_documentation,
    changelog_entries,
    own_words,
    request_problems,
)
from codedata.disk.store import digest
from codedata.errors import Excluded
from codedata.issues.issue_checks import LANGUAGE_WORDS
from codedata.issues.issue_report import Reporter
from codedata.issues.issue_texts import indented
from codedata.leak.hidden import parts_of_test
from codedata.leak.leaked_facts import given_away, in_words
from codedata.llm import Models, Reply
from codedata.llm.asking import Rejected, ask, object_in, part_in
from codedata.llm.replies import current_reply_log
from codedata.records import Commit, Task
from codedata.run.talk import begin_step
from codedata.settings import Settings
from codedata.tasks.folder.task_folder import GOLD, TEST_PATCH, text_in, verifier_config
from codedata.terminal import named
from codedata.texts import fill, printable, squeezed, text_of

READ, WRITE, AGAIN, SCHEMA = "read_text.md", "write_text.md", "again.md", "read_text.json"
FORM = {"unsaid": [{"test": "…", "demand": "what it wants that he cannot know"}],
        "tells": [{"quote": "…", "why": "…"}]}
# matches code in a text: in backticks, indented, an example of doctest, or a call
CODE = re.compile(r"(?<!`)`+[^`]+`|^(?: {4}|\t| *>>> ).*|\b\w+(?=\()", re.MULTILINE)
LONG_NAME = re.compile(r"[^\W\d]\w{3,}")   # shorter names may be words like "the"
PARAGRAPH = "\n\n"
DOCUMENTED = "The documentation is to say:"
MAX_CHARS = 40_000       # limit of each patch in a request to the model
# a request is left out if this many values of its tests are in no text: of 50 requests of num2words
# three new languages had 11, 41 and 76, all others fewer
MIN_UNSAID = 10
MAX_LISTED = 40          # maximum of failing tests in a request to the model
_packaged = partial(text_of, __package__)


def own_text(commit: Commit) -> str:
    """Return the issue that a request solves. If there is none, return the request's description,
    without lines added by git and its host, and its changelog entries. The text may be ""."""
    words = f"{own_words(commit.description)}\n\n{changelog_entries(commit.patch)}"
    text = commit.issue.strip() or words.strip()
    return f"{text}\n" if text else ""


def tells(commit: Commit, text: str, said: str = "") -> list[str]:
    """Return the parts of a text that require knowledge of the solution, as far as a program can
    detect. A text may name anything in the tests, the interface and `said`, even with other line
    breaks."""
    shown = "\n".join((commit.test_patch, said, squeezed(said)))
    return in_words(given_away(text, shown, replace(commit, files=[], test_patch="")))


class TextWriter:
    """Write instructions. Without a model in [pr_tasks] writer, they are the requests' own texts,
    with parts of a report by `reporter` if necessary."""

    def __init__(self, settings: Settings, models: Models, reporter: Reporter):
        self._reporter = reporter
        self._min_words = settings.export.min_words
        is_asked = settings.pr_tasks.writer == "llm"
        self._client = models.client("issue") if is_asked else None

    def identity(self) -> dict:
        """Return the settings that determine the instructions."""
        if not self._client:
            return self._reporter.identity()
        prompts = digest([*map(_packaged, (READ, WRITE, AGAIN, SCHEMA))])
        return {**self._reporter.identity(), **self._client.spec.identity(), "prompts": prompts}

    def bound(self) -> str:
        """Return a line with the minimum number of calls."""
        if not self._client:
            return "no calls: no model is asked"
        return "one call for each task, at least three if its own text is not enough"

    def text_of(self, task: Task, commit: Commit) -> str:
        """Return the instruction of a task. Raise ItemFailed if no text by the model is accepted,
        and Excluded if there is no model and a rule is against the text."""
        own = own_text(commit)
        text, problems = self._with_script(task, commit, own), ["needs a text: it says nothing"]
        if not self._client:
            rule, _ = next(request_problems(own, (), self._min_words),
                           ("" if text else problems[0], ""))
            if rule and text == own:   # no script was added
                raise Excluded(rule)
            said = text + "\n".join(task.new_names)   # names are listed later
            unsaid = [one for one in task.about.get("new_values", ()) if one not in said]
            if len(unsaid) >= MIN_UNSAID:
                raise Excluded(f"its tests demand {len(unsaid)} words that neither the code nor "
                               f"its text has: {named(unsaid)}")
            return text
        begin_step("reading what the request says")
        if text:
            problems = [*self._problems(task, commit, text)]
        current_reply_log().note(told=problems or "nothing")
        if text != own:
            problems.append("a program has put its parts together")
        if not problems:
            return text

        def read(reply: Reply) -> str:
            issue = part_in(reply.text, "issue")
            begin_step("reading what was written")
            faults = [*_shown_of(task, commit, issue, text), *self._problems(task, commit, issue)]
            if faults:
                raise Rejected("it will not do", *faults)
            return issue

        begin_step("writing the issue")
        request = _filled(WRITE, task, commit, text, problems="\n".join(f"- {one}"
                                                                        for one in problems))
        return ask(self._client, read, request, _packaged(AGAIN))

    def _with_script(self, task: Task, commit: Commit, text: str) -> str:
        """Return a request's own text with a script of a failing test and both outputs. An issue
        gets none if it is longer than a title, keeps the rules and has code with a name of the
        tests. Messages of commits rarely state the demands of tests: they get one, unless a model
        reads them anyway."""
        code = "\n".join(CODE.findall(text))
        names = [{*LONG_NAME.findall(one)} - LANGUAGE_WORDS for one in (
            code, text_in(task.tests, TEST_PATCH), text_in(task.solution, GOLD))]
        rules = request_problems(text, task.new_names, self._min_words)
        is_title = "\n" not in text.strip()
        is_read = commit.issue.strip() or self._client
        is_enough = is_read and not is_title and not any(rules)
        documentation = added_documentation(commit.patch, task.new_names)
        if documentation and not tells(commit, documentation):
            documentation = f"\n{DOCUMENTED}\n\n{indented(documentation)}\n"
        else:
            documentation = ""
        if is_enough and set.intersection(*names):
            return text + documentation
        try:
            made = self._reporter.make(task)
        except Excluded:
            return text + documentation
        report = made.problem_statement
        if tells(commit, text):
            title = text.partition("\n")[0]
            text = "" if tells(commit, title) else f"{title}\n"
        text += documentation
        if not text.strip():
            return report
        is_of_test = made.reproduction.get("kind") == "failing_test"   # keep its title
        return f"{text.strip()}\n\n{report if is_of_test else report.partition(PARAGRAPH)[2]}"

    def _problems(self, task: Task, commit: Commit, text: str) -> Iterator[str]:
        """Yield the faults of a text, by a rule or according to the model, and the places that
        reveal the solution."""
        for rule, details in request_problems(text, task.new_names, self._min_words):
            yield f"{rule}: {details}"
        found = ask(self._client, partial(_read, text),
                    _filled(READ, task, commit, text, form=json.dumps(FORM)), _packaged(AGAIN),
                    schema=json.loads(_packaged(SCHEMA)))
        for one in found["unsaid"]:
            yield f"the tests want what nobody says: {one['demand']} ({one['test']})"
        for one in found["tells"]:
            yield f"it tells the solution: {one['quote']!r} ({one['why']})"


def _shown_of(task: Task, commit: Commit, text: str, own: str) -> Iterator[str]:
    """Yield the parts of the solution and the tests that a text shows but `own`, the request's text
    with a script, does not."""
    yield from tells(commit, text, own)
    for test in _failing(task):
        name = parts_of_test(test)[-1]
        if name not in own and re.search(rf"\b{re.escape(name)}\b", text) and "_" in name:
            yield f"it names the test {name!r}"


def _read(text: str, reply: Reply) -> dict:
    """Return {unsaid, tells} of a reply. Raise Rejected if it has another form, or quotes a
    sentence that is not in the text."""
    found = object_in(reply.text, lambda one: FORM.keys() <= one.keys(),
                      f"with {' and '.join(FORM)}")
    read = {key: [{name: printable(str(one.get(name) or ""), 1000) for name in form[0]}
                  for one in found[key] if isinstance(one, dict)] for key, form in FORM.items()}
    for one in read["tells"]:
        quote = squeezed(one["quote"])
        if not quote or quote not in squeezed(text):
            raise Rejected(f"the text does not say {one['quote']!r}")
    return read


def _filled(name: str, task: Task, commit: Commit, text: str, **more: str) -> str:
    tests = _failing(task)
    listed = ", ".join(tests[:MAX_LISTED]) + (" …" if tests[MAX_LISTED:] else "")
    return fill(_packaged(name), repo=commit.repo, text=text.strip(), tests=listed,
                test_patch=text_in(task.tests, TEST_PATCH)[:MAX_CHARS],
                gold=text_in(task.solution, GOLD)[:MAX_CHARS], **more)


def _failing(task: Task) -> list[str]:
    return [*map(str, verifier_config(task).get("FAIL_TO_PASS") or [])]
