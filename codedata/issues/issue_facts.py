"""Find the effects of a bug on a user of the project: scripts made from the failing tests whose
outcome differs between the trees with and without the bug, and similar cases that no test has. Only
bugs in Python have such scripts.

A script of a hidden test would show a case of that test. So one of its literals is replaced; the
new script counts if its outcome differs between the trees in the same way.

The held-out cases of a verifier must not refuse a right repair. So only literals of tests' scripts
change: to values that the tests use for the same argument, or to similar values of the same type
and sign. In a text, only letters and digits change. No private name is called, and the outcome must
have the kind and type that the test's own script gives.
"""
from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, zip_longest

from codedata.checks.secrets import credential_in
from codedata.disk.store import digest
from codedata.errors import Excluded
from codedata.issues.scripts_of_tests import CAUGHT, jobs_of_tests, texts_of, tidied
from codedata.records import Object
from codedata.run.talk import begin_step
from codedata.sandbox import Sandbox
from codedata.suites import replayed_scripts
from codedata.suites.contexts import sources_in
from codedata.suites.project_suite import NONE
from codedata.suites.replayed_scripts import Outcome, ReplayJob, literals
from codedata.suites.source import Files
from codedata.tasks.folder.tests_folder import Case
from codedata.verifier.suite import is_expected

CASES = 6                  # version: increase it if a change of the code finds other cases
MAX_FIRST, MAX_TRIED = 100, 200   # scripts of failing tests; variants of them
MAX_TESTS = 40             # failing tests that are read
MAX_DRAWN = 20             # literals drawn from a line; values and words drawn for a literal
MAX_CHANGED, MAX_EQUAL = 60, 30   # cases that the bug changes; cases that it does not
WEAK = "its tests and cases stop fewer than 3 of 4 wrong repairs"
NO_SCRIPT = "failing tests call only private names, or no script can be made of them"
NO_CALL = "no script of a failing test shows the bug in time"
NO_OTHER = "no call with other values, as tests give them, shows the bug in time"
# Matches the innermost open call of a text that ends inside the call's arguments. Its groups are
# the callee, the arguments before the last one, and the keyword of the last one.
CALL = re.compile(r"(\w+)\(((?:[^()[{,]*,)*)\s*(\w+=(?!=))?[^()]*$")
# matches a dict's key whose value, or a list of values, ends the text
KEY = re.compile(r"'([^'\n]+)': (?:[\[(](?:[^][(){}]*, )?)?$")
# matches a string, or brackets without inner brackets or strings
CLOSED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[([{][^()[\]{}'"]*[)\]}]""")
WRAPPED = re.compile(r"^(?:list|sorted)\((.*)\)$", re.MULTILINE)   # a call that a replay adds
MAX_JOBS = 400             # scripts of a bug
KINDS = ("value", "warns", "returns", "silent", "raises", "fails", "other_error")
MAX_BASES = 6              # differences that are shortened and varied for a report
CASE_BASES = 12            # differences that are shortened and varied for held-out cases
MAX_VARIED = 24            # varied cases tried for one difference
MAX_LINES = 6              # lines before the last one: longer scripts come later
REPLAY_S = 90
VARIED, RECORDED = "varied", "recorded"
MAX_SHOWN = 1_000          # characters of an outcome shown to a model
DIGITS = re.compile(r"\d+")
WORDS, LETTERS = re.compile(r"[A-Za-z]{3,}"), re.compile("[A-Za-z]+")


@dataclass(frozen=True)
class Difference:
    """Hold a script whose outcome a bug changes."""

    right: Outcome
    wrong: Outcome
    case: str    # VARIED | RECORDED

    def __str__(self) -> str:
        return (f"{self.right.program}with the bug: {self.wrong.shown[:MAX_SHOWN]}\n"
                f"with the fix: {self.right.shown[:MAX_SHOWN]}")

    @property
    def kind(self) -> str:
        """Return the kind of difference. `other_error`: both trees raise. `raises` or `fails`: only
        the tree with the bug raises. `returns` or `silent`: only the tree without it raises. Else:
        `warns` or `value`. Scripts for `fails` and `silent` print nothing."""
        if self.wrong.kind == "raises":
            if self.right.kind == "raises":
                return "other_error"
            return "raises" if self.right.last else "fails"
        if self.right.kind == "raises":
            return "returns" if self.right.last else "silent"
        return "warns" if self.right.last == CAUGHT else "value"

    @property
    def outcomes(self) -> list[str]:
        """Return the kinds of both outcomes, with the types of errors."""
        return [one.kind if one.kind == "value" else one.type for one in (self.right, self.wrong)]

    @property
    def rank(self) -> tuple:
        """Return its sort key. These come first, by weight: at most one tree with an error, results
        that say more than a truth value, varied cases, few lines, ASCII, the order of KINDS, short
        scripts."""
        compares = re.search(r" (?:[=!]=|[<>]=?|in|is) ", self.right.last) is not None
        length = len(self.right.program) + len(self.right.shown) // 2
        says_little = compares or self.right.shown in ("True", "False", "None") or (
            self.right.last.startswith(("len(", "isinstance(")))
        return (self.kind == "other_error", says_little, self.case != VARIED,
                len(self.right.lines) > MAX_LINES, not self.right.program.isascii(),
                KINDS.index(self.kind), length, self.right.program)


@dataclass(frozen=True)
class Differences:
    """Find the differences of one bug in two sandboxes, `right` and `wrong`."""

    right: Sandbox
    wrong: Sandbox
    test_script: str
    replay: Callable = replayed_scripts.replay

    def found(self, tests: Sequence[str], hidden: Files = NONE, varies: bool = True
              ) -> list[Difference]:
        """Return the differences that the given tests show: the best of each test function first
        or, with `varies`, varied ones, too, sorted by rank. `hidden` are files of tests that are
        not in the trees."""
        tested, others = texts_of(sources_in(self.right))
        jobs = jobs_of_tests(tests[:MAX_TESTS], tested | hidden, others)[:MAX_JOBS]
        begin_step("running scripts of the tests")
        # a NameError means that a definition is missing from the script
        shown = [one for one in self._differing(jobs, RECORDED) if one.right.type != "NameError"]
        shown.sort(key=lambda one: one.rank)
        if not varies:
            shown = in_turns(shown, jobs)
        begin_step("shortening the scripts")
        pruned = self._pruned(shown[:MAX_BASES])
        if not (pruned and varies):
            return pruned
        begin_step("running other cases")
        known = known_in(jobs)
        tried = [_job(one) for base in pruned
                 for _, one in islice(resembling(base.right, *known), MAX_VARIED)]
        kinds = [one.outcomes for one in pruned]
        varied = [one for one in self._differing(tried, VARIED) if one.outcomes in kinds]
        return sorted([*varied, *pruned], key=lambda one: one.rank)

    def _pruned(self, bases: Sequence[Difference]) -> list[Difference]:
        """Return the differences with shorter scripts, in the order of `bases`: only the lines that
        the outcome needs in either tree. Return `bases` if no shortened script still differs."""
        jobs = [_job(one.right) for one in bases]
        shorter = []
        for base, *needed in zip(bases, *self.run(jobs, prune=True), strict=True):
            # None if the script ends early in a tree: its lines do not count
            kept = [line for one in needed if one for line in one.lines]
            script = [line for line in base.right.lines if line in kept], base.right.last
            shorter.append(ReplayJob(*tidied(*script)))
        places = {_code_of(job): n for n, job in enumerate(shorter)}
        found = self._differing(shorter, RECORDED)
        return sorted(found, key=lambda one: places.get(_code_of(one.right), 0)) or [*bases]

    def held_out(self, failing: Sequence[ReplayJob], others: Sequence[ReplayJob]
                 ) -> tuple[list[Case], Object]:
        """Return (cases that no test has, entries for proof.json), from scripts of failing tests
        and of other tests. Raise Excluded if the tests and cases stop fewer than 3 of 4 wrong
        repairs. Such a repair is right only for tested calls, or only for the tested values of one
        argument."""
        begin_step("running scripts of the failing tests")
        jobs = [job for job in failing if job.is_public][:MAX_FIRST]
        shown = [Difference(right, wrong, RECORDED) for right, wrong in self._outcomes(jobs)
                 if wrong and wrong.shown != right.shown and right.type != "NameError"]
        if not shown:
            return [], {"cases": {"none": NO_CALL if jobs else NO_SCRIPT}}
        begin_step("shortening the scripts")
        bases = [one.right for one in self._pruned(shown[:CASE_BASES])]
        begin_step("running other cases")
        known = known_in([*failing, *others, *map(_job, bases)])
        tried = {one.program: (slot, one) for base in bases for slot, one in islice(
            resembling(base, *known, edits=True), MAX_TRIED // len(bases))}
        found = []   # (slot, right outcome, whether the bug changes it)
        for right, wrong in self._outcomes([_job(one) for _, one in tried.values()]):
            slot, one = tried.get(right.program, ("", right))
            if slot and wrong and (right.kind, right.type) == (one.kind, one.type):
                found.append((slot, right, not is_expected(vars(wrong), [right.kind, right.shown])))
        killed = {slot for slot, _, is_changed in found if is_changed}
        # + 1: the repair that is right only for tested calls
        strength = {"killed": len(killed) + 1, "tried": len({slot for slot, *_ in found}) + 1}
        if killed and 4 * strength["killed"] < 3 * strength["tried"]:
            raise Excluded(WEAK)
        random.Random(1).shuffle(found)
        found.sort(key=lambda one: one[1].kind == "raises")   # messages are not compared
        changed = [one for _, one, is_changed in found if is_changed][:MAX_CHANGED]
        equal = [one for _, one, is_changed in found if not is_changed][:MAX_EQUAL]
        about = {"cases": {"changed": len(changed), "equal": len(equal)}, "strength": strength}
        if not killed:   # the bug changes no other case: a repair of only the tested calls is right
            about = {"cases": {"none": NO_OTHER, "equal": len(equal)}}
        return [([*one.lines, one.last], one.kind, one.shown) for one in (*changed, *equal)], about

    def _differing(self, jobs: Sequence[ReplayJob], case: str) -> list[Difference]:
        """Return the differences between the two trees for the scripts of `jobs`. If the bug
        makes an earlier line fail, `wrong` ends with that line."""
        pairs = self._outcomes(jobs)
        starts = [(one, ReplayJob(one.lines[:n + 1], "")) for one, other in pairs
                  if not other for n in range(len(one.lines))][:MAX_JOBS]
        errors = self._replay(self.wrong, [start for _, start in starts])
        pairs += [(one, error) for (one, _), error in zip(starts, errors, strict=True)
                  if error and error.kind == "raises"]
        return [Difference(one, other, case) for one, other in pairs
                if other and other.shown != one.shown]

    def _outcomes(self, jobs: Sequence[ReplayJob]) -> list[tuple[Outcome, Outcome | None]]:
        """Return the outcomes of scripts in the two trees. Leave out scripts whose outcome without
        the bug is not known, or that contain a credential."""
        outcomes = [one for one in self._replay(self.right, jobs)
                    if one and not credential_in([one.program, one.text])]
        return [*zip(outcomes, self._replay(self.wrong, [*map(_job, outcomes)]), strict=True)]

    def run(self, jobs: Sequence[ReplayJob], prune: bool = False) -> list[list[Outcome | None]]:
        """Return the outcomes of scripts in each of the two trees."""
        return [self._replay(tree, jobs, prune) for tree in (self.right, self.wrong)]

    def _replay(self, tree: Sandbox, jobs: Sequence[ReplayJob], prune: bool = False
                ) -> list[Outcome | None]:
        return self.replay(tree, jobs, self.test_script, prune=prune, total_s=REPLAY_S)


def in_turns(differences: Iterable[Difference], jobs: Iterable[ReplayJob]) -> list[Difference]:
    """Return the differences so that the first of each test function come first."""
    functions = {_code_of(job): job.test for job in jobs}
    groups = defaultdict(list)
    for one in differences:
        groups[functions.get(_code_of(one.right))].append(one)
    return [*filter(None, chain(*zip_longest(*groups.values())))]


def _job(script: Outcome) -> ReplayJob:
    """Return the job of running a script."""
    return ReplayJob(script.lines, script.last)


# cases -------------------------------------------------------------------------------------------

def known_in(jobs: Iterable[ReplayJob]) -> tuple[dict[str, dict], set[str]]:
    """Return ({argument: {repr of a literal: the literal}}, the code of each script)."""
    slots, jobs = defaultdict(dict), [*jobs]
    for one in dict.fromkeys(line for job in jobs for line in (*job.lines, job.last)):
        for start, _, value in literals(one):
            slots[_slot(one, start)][repr(value)] = value
    return slots, {*map(_code_of, jobs)}


def _slot(code: str, start: int) -> str:
    """Return the place of the literal at a byte: the key in a dict, as "key:", or the callee and
    the argument, as "f 1"; "" for none."""
    before, n_closed = code.encode()[:start].decode(errors="replace"), 1
    if key := KEY.search(before):
        return f"{key[1]}:"
    while n_closed:
        before, n_closed = CLOSED.subn("", before)
    match = CALL.search(before)
    return f"{match[1]} {match[3] or match[2].count(',')}" if match else ""


def _code_of(script: Outcome | ReplayJob) -> str:
    """Return the code of a script without the call that a replay puts around its last line."""
    return WRAPPED.sub(r"\1", "\n".join([*script.lines, script.last]))


def resembling(base: Outcome, seen: Mapping[str, Mapping], known: Iterable[str],
               edits: bool = False) -> Iterator[tuple[str, Outcome]]:
    """Yield (slot, script) with one literal replaced (a text at every occurrence), in an order
    drawn from the script. Leave out scripts whose code is in `known`. Scripts are built on demand.
    With `edits`, words of texts are also edited."""
    code = [*base.lines, base.last]
    draw = random.Random(digest(code))
    scripts = []   # (slot, lines, made when they are read)
    for at, line in enumerate(code):
        for start, _, value in _some(literals(line), draw):
            slot = _slot(line, start)
            others = _some([one for one in seen.get(slot, {}).values()
                            if type(one) is type(value)], draw)
            scripts += [(slot, _replaced(code, (at, start), value, new))
                        for new in (*others, *_near(value, others, draw, edits))
                        if (slot if edits else repr(new) != "0")]
    draw.shuffle(scripts)
    known = {*known, _code_of(base)}
    for slot, (*lines, last) in scripts:
        one = replace(base, lines=lines, last=last)
        if _code_of(one) not in known:
            known.add(_code_of(one))
            yield slot, one


def _some(values: Iterable, draw: random.Random) -> list:
    """Return some of the values, at most MAX_DRAWN, in a drawn order."""
    values = [*values]
    return draw.sample(values, min(len(values), MAX_DRAWN))


def _near(value, others: Sequence, draw: random.Random, edits: bool) -> Iterator:
    """Yield values similar to a literal: with other or more digits, or with other words, some taken
    from other texts. With `edits`, only the letters and digits of a text change."""
    if isinstance(value, bool):
        return
    if not isinstance(value, str):   # positive, as a sign is not part of a literal
        several = value + 1, value - 1, value * 3, value + 200, value * 10 + 1
        yield from (new for new in several if new > 0)
        return
    if not (edits or value.isalnum()):
        yield f"{value}a"
    for match in _some(DIGITS.finditer(value), draw):
        digits = "".join(str((int(one) + 3) % 10) for one in match[0])
        yield from (value[:match.start()] + new + value[match.end():]
                    for new in (digits, f"1{match[0]}") if new[0] != "0")
    parts = LETTERS if edits else WORDS
    words = _some(sorted({word for other in others for word in parts.findall(other)}), draw)
    has_both = value != value.lower()   # upper and lower case, which have a meaning
    for match in _some(parts.finditer(value), draw):
        word = match[0]
        odd = (word[1:] + word[0], word * 2, word.swapcase()) if edits else ("maple", "river")
        for new in (*odd, word.upper() if has_both else word, *words):
            yield value[:match.start()] + new + value[match.end():]


def _replaced(code: Sequence[str], place: tuple, old, new) -> Iterator[str]:
    """Yield lines of code with one literal replaced by another: a text everywhere, others only at
    their place (line, byte)."""
    for at, line in enumerate(code):
        text = line.encode()
        for start, end, value in sorted(literals(line), reverse=True):
            if (at, start) == place or (isinstance(old, str) and value == old):
                text = text[:start] + repr(new).encode() + text[end:]
        yield text.decode()
