"""Find text in a reproduction or an issue report that a user of the project could not know.

Every check compares texts with the fix, the failing tests, README, docs and the reproduction.
Meaning is not checked: a paraphrase of the fix is not found.
"""
from __future__ import annotations

import keyword
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from codedata.code.call_values import BUILT_IN
from codedata.code.patches import added_runs
from codedata.issues.proven_bug import ProvenBug
from codedata.leak.hidden import NAME, RANGE, Patch, parts_of_test
from codedata.leak.leaked_facts import given_away, in_words
from codedata.records import Commit

LANGUAGE_WORDS = BUILT_IN.union(keyword.kwlist, ("self", "cls"))
CODE = re.compile(r"^```[^\n]*\n(.*?)^```|`([^`\n]+)`", re.DOTALL | re.MULTILINE)
AS_CODE = re.compile(r"\b([^\W\d]\w*)\(|(?<=\w\.)([^\W\d]\w*)")   # called, or used as an attribute
# matches a frame of a traceback, with the lines of source below it
FRAME = re.compile(r'^([ |]*)File "([^"\n]+)", line \d+.*\n(?:\1(?:  |\[Previous line ).*\n)*',
                   re.MULTILINE)
# {pattern of an address or a temporary path: its fixed replacement in an output}
STABLE = {r"\b0x[0-9a-fA-F]{6,}\b": "0x7f3a5c0e9d30",
          r"/(?:var/)?tmp/[^\s'\"`:,;()<>\[\]]+": "/tmp/tmp4x1z"}


@dataclass(frozen=True)
class Hidden:
    """Hold the parts of a bug that a report must not show. `documented` are the words of README and
    docs."""

    bug: ProvenBug
    documented: frozenset[str]

    @cached_property
    def fix(self) -> Patch:
        """Return the hunks and the paths of the fix."""
        return Patch(self.bug.patch, "", ())

    @cached_property
    def names(self) -> set[str]:
        """Return the names in the lines that the fix changes, and the names defined in its hunks.
        """
        changed = (*added_runs(self.bug.patch), *added_runs(self.bug.bug_patch))
        return {*NAME.findall("\n".join(changed)), *self.fix.names} - LANGUAGE_WORDS

    @cached_property
    def tests(self) -> set[str]:
        """Return the names of the failing tests and of their files, without plain words and words
        of the documentation, which may be used for other things."""
        names = set()
        for test in self.bug.failing:
            parts = parts_of_test(test)
            names.add(parts[-1])
            if "::" in test:
                names.add(posixpath.basename(parts[0]).partition(".")[0])
        return {name for name in names - self.documented if not _is_plain_word(name)}

    def in_script(self, script: str) -> list[str]:
        """Return a line for each part of a reproduction that a user would not write."""
        paths = [path for path in self.fix.paths if "/" in path and path not in self.documented]
        return [*self._names_in(script, {*NAME.findall(script)} - self.documented),
                *(f"the path {path!r}, where the bug is" for path in paths if path in script)]

    def in_report(self, text: str, shown: str) -> list[str]:
        """Return a line for each part of a report that a user cannot know, since it is neither in
        the documentation nor in `shown` (the reproduction and its outputs)."""
        used = names_used(text) - self.documented - {*NAME.findall(shown)}
        return [*self._names_in(text, used),
                *(f"the name {name!r}, which no user is shown"
                  for name in sorted(used & self.names - _private(used))),
                *self._places_in(text, shown), *self._lines_in(text, shown),
                *self._facts_in(text, shown, used)]

    def _names_in(self, text: str, used: set[str]) -> list[str]:
        """Return a line for each test name in a text, and for each private name in `used`."""
        return [*(f"the name of a test, {name!r}" for name in sorted(self.tests) if name in text),
                *(f"the private name {name!r}" for name in sorted(_private(used)))]

    def _places_in(self, text: str, shown: str) -> list[str]:
        modules = (path.partition(".")[0].removeprefix("src/").replace("/", ".")
                   for path in self.fix.paths)
        places = {*self.fix.by_file, *(name for name in modules if "." in name)} - self.documented
        return [f"a place in the source, {place!r}" for place in sorted(places)
                if place not in shown and re.search(rf"(?<![\w.]){re.escape(place)}\b", text)]

    def _lines_in(self, text: str, shown: str) -> list[str]:
        lines = {str(hunk.start + n) for hunk in self.fix.hunks for n in range(hunk.length)}
        return [f"a line of the source, {match[0]!r}" for match in RANGE.finditer(text)
                if match[0] not in shown and lines.intersection(match.groups())]

    def _facts_in(self, text: str, shown: str, used: set[str]) -> list[str]:
        """Return a line for each text that certainly gives the solution away, by the rules of
        leak/. A single word counts only if it is in `used`, as a name."""
        bug = self.bug
        commit = Commit(bug.instance_id, bug.repo, bug.language, "", "", "", [], bug.patch,
                        bug.test_patch)
        known = "\n".join((shown, *sorted(self.documented)))
        return in_words(fact for fact in given_away(text, known, commit)
                        if fact.text in used or not fact.text.isidentifier())


def names_used(text: str) -> set[str]:
    """Return the words of a text that are used as names: marked as code, called, used as an
    attribute, or spelled unlike a plain word (such as snake_case)."""
    as_code = [part for match in (*CODE.findall(text), *AS_CODE.findall(text)) for part in match]
    return {*NAME.findall("\n".join(as_code)),
            *(name for name in NAME.findall(text) if not _is_plain_word(name))}


def _is_plain_word(name: str) -> bool:
    return name.isalpha() and (name.islower() or name.istitle() or name.isupper())


def _private(names: Iterable[str]) -> set[str]:
    """Return the names that begin with an underscore, except Python's own (`__name__`)."""
    return {name for name in names
            if name[0] == "_" and name.strip("_") and not name.endswith("__")}


def shown_output(output: str, workdir: str, script: str) -> str:
    """Return an output as a user may quote it. Tracebacks keep the frames of the script but lose
    the frames of the project's source; addresses and temporary paths get fixed values."""
    folder = workdir.rstrip("/") + "/"

    def frame(match: re.Match) -> str:
        path = posixpath.normpath(posixpath.join(folder, match[2]))
        is_own = path.startswith(folder) and match[2][0] != "<" and path != folder + script
        return "" if is_own else match[0]

    own = re.escape(folder)
    text = FRAME.sub(frame, f"{output}\n").replace(folder + script, script)
    text = re.sub(rf"^ +at .*{own}.*\n", "", text, flags=re.MULTILINE)   # frames of JavaScript
    text = re.sub(rf" \({own}[^()\n]*\)$", "", text, flags=re.MULTILINE)   # in an ImportError
    text = re.sub(rf"{own}[\w./@+~-]+(?::\d+)*", "…", text)
    for pattern, same in STABLE.items():
        text = re.sub(pattern, same, text)
    return text.strip("\n").rstrip()
