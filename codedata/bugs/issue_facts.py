"""Find what a bug changes for somebody who calls the project: facts of the failing tests whose
outcome differs between the two trees, and cases like them that no test has.

The facts of the tests are cases of hidden tests. So an argument is replaced by one seen in another
call of the function; the new case counts if its outcome differs between the trees.

Held-out cases of a verifier must not refuse a right repair. So only literals change, to values that
the tests give the same argument or to ones near them, of the same type and sign, or to edited
texts; and the outcome must be of the kind and type that the recorded call has.
"""
from __future__ import annotations

import ast
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from types import ModuleType

from codedata.checks.secrets import credential_in
from codedata.disk.store import digest
from codedata.errors import Excluded
from codedata.records import Object
from codedata.run.talk import begin_step
from codedata.sandbox import Sandbox
from codedata.suites.recorded_calls import Event, Outcome, ReplayJob, jobs_of, named
from codedata.suites.source import Files
from codedata.suites.suite import NONE
from codedata.tasks.kinds import Case
from codedata.tasks.verifier.suite import is_expected
from codedata.texts import fill, toml_of

CASES = 3                  # raise it when other held-out cases are found
MAX_RECORDED, MAX_TRIED = 40, 200   # calls; variants of them
MAX_DRAWN = 20             # literals of a line, values and words of one
MAX_CHANGED, MAX_EQUAL = 60, 30   # cases that the bug changes, and others
WEAK = "its tests and cases stop fewer than 3 of 4 wrong repairs"
NO_CALL = "no recorded call shows the bug in time"
NO_OTHER = "no call with other values shows the bug in time"
# a callee, arguments before the last one, the name of that one; it is open at the end
CALL = re.compile(r"(\w+)\(((?:[^()[{,]*,)*)\s*(\w+=(?!=))?[^()]*$")
# a text, or brackets without any in them
CLOSED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[([{][^()[\]{}'"]*[)\]}]""")
WRAPPED = re.compile(r"^(?:list|sorted)\((.*)\)$", re.MULTILINE)   # by a replay
MAX_JOBS = 400             # scripts of a bug
MAX_BASES = 6              # differences that are shortened and varied
MAX_VARIED = 24            # varied cases that are tried for one of them
MAX_LINES = 6              # before the last line of a script: longer scripts come later
RECORD_S, REPLAY_S = 300, 90
VARIED, RECORDED = "varied", "recorded"
MAX_TITLE, MAX_TOLD, MAX_NAME = 90, 160, 40   # characters
MAX_SHOWN = 1_000          # of an outcome that a model is shown
BESIDE = 40                # characters kept beside the difference of long texts
WRAPPERS = ("list", "sorted", "str", "repr", "len")   # put around the value of a call
EFFECT = "value"           # the recorders' name for an argument changed by a call
FORMS = toml_of(__package__, "issue_forms.toml")
DIGITS = re.compile(r"\d+")
PARTS = re.compile(r"(?:\.py)?::|/")   # between parts of a test's id; reports have dots for some
WORDS, TEXT_PARTS = re.compile(r"[A-Za-z]{3,}"), re.compile(r"\w+|\W")


@dataclass(frozen=True)
class Difference:
    """Hold a script whose outcome a bug changes."""

    right: Outcome
    wrong: Outcome
    case: str    # VARIED | RECORDED

    def __str__(self) -> str:
        return (f"{self.right.program}with the bug: {self.wrong.told[:MAX_SHOWN]}\n"
                f"with the fix: {self.right.told[:MAX_SHOWN]}")

    @property
    def kind(self) -> str:
        """Return what differs: value, order, raises, returns or other_error."""
        if self.wrong.kind == "raises":
            return "raises" if self.right.kind == "value" else "other_error"
        if self.right.kind == "raises":
            return "returns"
        if sorted(self.right.text) == sorted(self.wrong.text):
            return "order"
        return "value"

    @property
    def form(self) -> str:
        """Return the kind of difference; "effect" for a value read after calls that return nothing.
        """
        is_effect = any(re.match(r"[\w.]+(?:\[.+\] = .*|\(.*\))$", line, re.DOTALL)
                        for line in self.right.lines)
        return "effect" if is_effect and self.kind == "value" else self.kind

    @property
    def rank(self) -> tuple:
        """Return its place in the order of differences: varied cases first, then values before
        errors, then short scripts."""
        compares = re.search(r" (?:[=!]=|[<>]=?|in) ", self.right.last) is not None
        kinds = ("value", "order", "returns", "raises", "other_error")
        is_internal = self.wrong.type in ("AttributeError", "NameError", "UnboundLocalError")
        length = len(self.right.program) + len(self.right.told) // 2
        return (self.case != VARIED, compares, len(self.right.lines) > MAX_LINES,
                self.right.told == "None", is_internal, kinds.index(self.kind), length,
                self.right.program)


class Differences:
    """Find the differences of one bug in two sandboxes, `right` and `wrong`."""

    def __init__(self, recorder: ModuleType, right: Sandbox, wrong: Sandbox, test_script: str):
        self._recorder, self._trees, self._script = recorder, (right, wrong), test_script

    def found(self, tests: Sequence[str], hidden: Files = NONE) -> list[Difference]:
        """Return the differences that the given tests show, to report in this order: varied cases
        before recorded ones. `hidden` are files of tests that are not in the trees."""
        begin_step("recording the failing tests")
        _, events = self._recorder.record(
            self._trees[0], self._script, RECORD_S, tests, hidden)
        begin_step("running what they call")
        jobs = jobs_of(events, {event.of for event in events})
        shown = self._differing(jobs[:MAX_JOBS], RECORDED)
        bases = sorted(shown, key=lambda one: one.rank)[:MAX_BASES]
        pruned = self._differing([_job(one.right) for one in bases], RECORDED, prune=True)
        if not pruned:
            return []
        begin_step("running other cases")
        known = known_in(events, jobs, pruned[0].right)
        tried = [_job(one) for base in pruned
                 for _, one in islice(resembling(base.right, *known), MAX_VARIED)]
        told = {one.right.told for one in shown}
        varied = [one for one in self._differing(tried, VARIED)
                  if is_other_case(one, pruned, told)]
        return sorted([*varied, *pruned], key=lambda one: one.rank)

    def held_out(self, events: Iterable[Event], tests: Iterable[str]
                 ) -> tuple[list[Case], Object]:
        """Return (cases that no test has, entries for proof.json), from the `events` of a suite of
        which some tests fail. Raise Excluded if wrong repairs that pass the tests pass them: ones
        that are right for tested calls alone, or for the tested values of one argument."""
        begin_step("running what the failing tests call")
        names = {PARTS.sub(".", test) for test in tests}
        first = [event for event in events if PARTS.sub(".", event.test) in names]
        jobs = jobs_of([*first, *events], {event.of for event in first}, may_be_private=True)
        bases = [one.right for one in self._differing(jobs[:MAX_RECORDED], RECORDED)]
        if not bases:
            return [], {"cases": {"none": NO_CALL}}
        begin_step("running other cases")
        known = known_in(events, jobs, bases[0])
        tried = {one.program: (slot, one) for base in bases for slot, one in islice(
            resembling(base, *known, edits=True), MAX_TRIED // len(bases))}
        found = []   # (slot, right outcome, whether the bug has another)
        for right, wrong in self._outcomes([_job(one) for _, one in tried.values()]):
            slot, one = tried.get(right.program, ("", right))
            if slot and (right.kind, right.type) == (one.kind, one.type):
                found.append((slot, right, not is_expected(vars(wrong), [right.kind, right.told])))
        killed = {slot for slot, _, is_changed in found if is_changed}
        strength = {"killed": len(killed) + 1, "tried": len({slot for slot, *_ in found}) + 1}
        if killed and 4 * strength["killed"] < 3 * strength["tried"]:   # 1: of calls
            raise Excluded(WEAK)
        random.Random(1).shuffle(found)
        changed = [one for _, one, is_changed in found if is_changed][:MAX_CHANGED]
        equal = [one for _, one, is_changed in found if not is_changed][:MAX_EQUAL]
        about = {"cases": {"changed": len(changed), "equal": len(equal)}, "strength": strength}
        if not killed:   # what is right for the tested calls alone is right where the bug is
            about = {"cases": {"none": NO_OTHER, "equal": len(equal)}}
        return [([*one.lines, one.last], one.kind, one.told) for one in (*changed, *equal)], about

    def _differing(self, jobs: Sequence[ReplayJob], case: str,
                   prune: bool = False) -> list[Difference]:
        """Return the differences between the two trees that the scripts of `jobs` show."""
        return [Difference(one, other, case) for one, other in self._outcomes(jobs, prune)
                if other.told != one.told]

    def _outcomes(self, jobs: Sequence[ReplayJob],
                  prune: bool = False) -> list[tuple[Outcome, Outcome]]:
        """Return the outcomes of scripts in the two trees, where both are known."""
        right, wrong = self._trees
        outcomes = [one for one in self._recorder.replay(
            right, jobs, self._script, prune=prune, total_s=REPLAY_S)
            if one and not credential_in([one.program, one.text])]
        again = [*map(_job, outcomes)]
        return [(one, other) for one, other in zip(
            outcomes, self._recorder.replay(wrong, again, self._script, total_s=REPLAY_S),
            strict=True) if other]


def _job(script: Outcome) -> ReplayJob:
    """Return the job of running a script."""
    return ReplayJob([(script.lines, script.last)])


def is_other_case(varied: Difference, bases: Iterable[Difference], told: set[str]) -> bool:
    """Return whether a varied case is new: its right outcome is not one of a recorded case, nor
    just the changed literal passed on, and it is wrong in the same way as a recorded case."""
    kinds = {(base.right.kind, base.wrong.kind) for base in bases}
    is_new = varied.right.told not in told or varied.right.told.lower() in ("true", "false")
    if not is_new or (varied.right.kind, varied.wrong.kind) not in kinds:
        return False
    if varied.right.told in ("None", "undefined", "[]", "''", "{}", "()"):
        return False
    return not any(_passes_on(base, varied) for base in bases)


def _passes_on(base: Difference, varied: Difference) -> bool:
    """Return whether the outcomes of a varied script differ from before only by the changed
    literal."""
    before, after = ({repr(value): value for line in (*one.right.lines, one.right.last)
                      for *_, value in one.right.literals(line)} for one in (base, varied))
    old, new = ([value for key, value in one.items() if key not in other]
                for one, other in ((before, after), (after, before)))
    if ([*map(type, old)], [*map(type, new)]) != ([str], [str]):
        return False
    start = _n_equal(old[0], new[0])
    end = _n_equal(old[0][start:][::-1], new[0][start:][::-1])
    was, now = (text[start:len(text) - end] for text in (old[0], new[0]))
    return bool(was) and base.right.told.replace(was, now) == varied.right.told


# cases -------------------------------------------------------------------------------------------

def known_in(events: Iterable[Event], jobs: Iterable[ReplayJob], form: Outcome
              ) -> tuple[dict[str, dict], set[str]]:
    """Return (the literals of recorded calls, by the argument in which they stand and by repr();
    the code of their jobs, as it is after a replay), in the language of `form`."""
    slots = defaultdict(dict)
    for event in events:
        for start, _, value in form.literals(event.expr or ""):
            slots[_slot(event.expr, start)][repr(value)] = value
    return slots, {_code_of(named(replace(form, lines=lines, last=last)))
                   for job in jobs for lines, last in job.tries}


def _slot(code: str, start: int) -> str:
    """Return the callee and the argument in which the literal at a byte stands, as "f 1"."""
    before, n_closed = code.encode()[:start].decode(errors="replace"), 1
    while n_closed:
        before, n_closed = CLOSED.subn("", before)
    match = CALL.search(before)
    return f"{match[1]} {match[3] or match[2].count(',')}" if match else ""


def _code_of(script: Outcome) -> str:
    """Return the code of a script without what a replay puts around its last line."""
    return WRAPPED.sub(r"\1", "\n".join([*script.lines, script.last]))


def resembling(base: Outcome, seen: Mapping[str, Mapping], known: Iterable[str],
               edits: bool = False) -> Iterator[tuple[str, Outcome]]:
    """Yield (slot, script) with one literal replaced, in an order drawn by the script: a text
    wherever it stands. Scripts whose code is in `known` are left out. A script is built when it is
    asked for. With `edits`, texts are also edited."""
    code = [*base.lines, base.last]
    draw = random.Random(digest(code))
    scripts = []   # (slot, lines, made when they are read)
    for at, line in enumerate(code):
        for start, _, value in _some(base.literals(line), draw):
            slot = _slot(line, start)
            others = _some([one for one in seen.get(slot, {}).values()
                            if type(one) is type(value)], draw)
            scripts += [(slot, _replaced(base, code, (at, start), value, new))
                        for new in (*others, *_near(value, others, draw, edits))
                        if slot and f"{base.written(new)}:" not in line]   # no key comes twice
    draw.shuffle(scripts)
    known = {*known, _code_of(base)}
    for slot, (*lines, last) in scripts:
        one = replace(base, lines=lines, last=last)
        if _code_of(one) not in known:
            known.add(_code_of(one))
            yield slot, one


def _edited(text: str, others: Sequence[str], draw: random.Random) -> Iterator[str]:
    """Yield a text with a part dropped, doubled, in other letters, or one of another text in its
    place or before it; and its start with the end of another text."""
    pool = sorted({*TEXT_PARTS.findall(" ".join([text, *others]))})
    for match in _some(TEXT_PARTS.finditer(text), draw):
        part, other = match[0], draw.choice(pool)
        for new in ("", part * 2, part.swapcase(), other, other + part):
            yield text[:match.start()] + new + text[match.end():]
    for other in others:
        yield text[:draw.randrange(len(text) + 1)] + other[draw.randrange(len(other) + 1):]


def _some(values: Iterable, draw: random.Random) -> list:
    """Return some of the values, at most MAX_DRAWN, in a drawn order."""
    values = [*values]
    return draw.sample(values, min(len(values), MAX_DRAWN))


def _near(value, others: Sequence, draw: random.Random, edits: bool) -> Iterator:
    """Yield values similar to a literal: with other or more digits, or with other words, some taken
    from other texts. With `edits`, a text is also edited."""
    if isinstance(value, bool):
        return
    if not isinstance(value, str):   # a sign stands before a literal
        several = value + 1, value - 1, value * 3, value + 200, value * 10 + 1
        yield from (new for new in several if new > 0)
        return
    if edits:
        yield from _edited(value, others, draw)
    for match in _some(DIGITS.finditer(value), draw):
        digits = "".join(str((int(one) + 3) % 10) for one in match[0])
        yield from (value[:match.start()] + new + value[match.end():]
                    for new in (digits, f"1{match[0]}") if new[0] != "0")
    words = _some(sorted({word for other in others for word in WORDS.findall(other)}), draw)
    has_both = value != value.lower()   # kinds of letters, which have a meaning
    for match in _some(WORDS.finditer(value), draw):
        word = match[0]
        for new in (word[1:] + word[0], word * 2, word.upper() if has_both else word, *words):
            yield value[:match.start()] + new + value[match.end():]


def _replaced(base: Outcome, code: Sequence[str], place: tuple, old, new) -> Iterator[str]:
    """Yield lines of code with one literal replaced by another: a text everywhere, others only at
    their place (line, byte)."""
    for at, line in enumerate(code):
        text = line.encode()
        for start, end, value in sorted(base.literals(line), reverse=True):
            if (at, start) == place or (isinstance(old, str) and value == old):
                text = text[:start] + base.written(new).encode() + text[end:]
        yield text.decode()


# the report ------------------------------------------------------------------------------------

def narrowed(found: Difference) -> Difference:
    """Return the difference with its expression narrowed to the part of a long value that differs.
    """
    right, wrong = (_value(one) for one in (found.right, found.wrong))
    path = ""
    while type(right) is type(wrong) and isinstance(right, list | tuple | dict):
        if len(right) != len(wrong) or (isinstance(right, dict) and right.keys() != wrong.keys()):
            break
        keys = right if isinstance(right, dict) else range(len(right))
        other = [key for key in keys if right[key] != wrong[key]]
        if len(other) != 1:
            break
        path += f"[{other[0]!r}]"
        right, wrong = right[other[0]], wrong[other[0]]
    if not path or len(found.right.text) < 120:
        return found
    sides = (replace(one, last=f"{one.last}{path}", text=repr(value), type=type(value).__name__,
                     as_printed=str(value) == repr(value))
             for one, value in ((found.right, right), (found.wrong, wrong)))
    return Difference(*sides, found.case)


def _value(outcome: Outcome):
    """Return the value that an outcome shows, None if it is not made of plain types."""
    try:
        return ast.literal_eval(outcome.text) if outcome.kind == "value" else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def report_text(found: Difference, language: str, draw: random.Random) -> str:
    """Return the report of a difference: a title, the script, and the two outcomes."""
    form = FORMS[found.form]
    wrong, right = _apart(found.wrong.told, found.right.told)
    code = found.right.lines[-1] if found.right.last == EFFECT else found.right.last
    parts = {"name": called(code), "script": found.right.program.rstrip("\n"),
             "wrong": wrong, "right": right, "language": language,
             "wrong_type": found.wrong.type, "right_type": found.right.type}
    titles = [fill(one, **parts) for one in form["titles"]]
    is_same = found.form == "other_error" and found.wrong.type == found.right.type
    title = next((one for one in titles[is_same:] if len(one) <= MAX_TITLE and "\n" not in one),
                 titles[-1])
    texts = form["texts"]
    if any("\n" in one or "`" in one for one in (wrong, right)):   # inline code cannot hold it
        texts = FORMS["long"]["texts"]
        parts |= {"wrong": indented(wrong), "right": indented(right)}
    return f"{title}\n\n{fill(draw.choice(texts), **parts).strip()}\n"


def _apart(wrong: str, right: str) -> tuple[str, str]:
    """Return two texts with … in place of long equal parts at their ends."""
    if max(len(wrong), len(right)) <= MAX_TOLD:
        return wrong, right
    start = _n_equal(wrong, right)
    end = _n_equal(wrong[start:][::-1], right[start:][::-1])
    first, cut = max(0, start - BESIDE), max(0, end - BESIDE)
    shown = [("…" if first else "") + one[first:len(one) - cut] + ("…" if cut else "")
             for one in (wrong, right)]
    return shown[0], shown[1]


def _n_equal(one: str, other: str) -> int:
    """Return how many characters at the start of two texts are equal."""
    pairs = zip(one, other, strict=False)
    return len([*takewhile(lambda pair: pair[0] == pair[1], pairs)])


def called(last: str) -> str:
    """Return the name of the function that an expression calls last, with the class if it is a
    method of a new object."""
    try:
        node = ast.parse(last, mode="eval").body
    except SyntaxError:   # of another language
        names = re.findall(r"(?<![\w$.])([\w$.]+)\(", last)
        return names[0].lstrip(".") if names else last[:40]
    if isinstance(node, ast.Call) and ast.unparse(node.func) in WRAPPERS and node.args:
        node = node.args[0]
    part = ""
    while isinstance(node, ast.Subscript | ast.Attribute):
        part = part or (node.attr if isinstance(node, ast.Attribute) else "")
        node = node.value
    if not isinstance(node, ast.Call):   # an operator: its operand may come from elsewhere
        text = ast.unparse(node)
        return text if len(text) <= MAX_NAME else "this expression"
    function = node.func
    if isinstance(function, ast.Attribute):
        owner = function.value
        if isinstance(owner, ast.Call) and ast.unparse(owner.func).rpartition(".")[2][:1].isupper():
            return f"{ast.unparse(owner.func)}.{function.attr}"
        return function.attr
    name = ast.unparse(function)
    return f"{name}(…).{part}" if part else name


def indented(text: str) -> str:
    """Return a text as a block of Markdown."""
    return "\n".join(f"    {line}" for line in text.split("\n"))
