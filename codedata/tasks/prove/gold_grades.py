"""Grade a task for its proof: once unchanged, three times with its gold (the known solution), and
with its gold in other orders of the tests on a later day. This works for every kind of task. Each
run is in a fresh container.

    rows = []
    untouched = grade_untouched(grader, rows)
    work = prove_gold(grader, rows)          # raises NotRewarded at the first reward below 1
    prove_repeatable(grader, work, clock_library(host), rows)

`rows` becomes `runs` in proof.json. Kinds of tasks may add conditions.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from codedata.disk.locks import temporary_folder
from codedata.errors import ItemFailed
from codedata.records import Object
from codedata.run.talk import current_step
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.environments import labelled
from codedata.tasks.prove.grader import Grade, Grader

GOLD_RUNS = 3
CONFTEST_FILE = "conftest.py"   # in /tests
CONFTEST = """import random
def pytest_collection_modifyitems(items):
    {}
"""
# code that changes the order of the tests: reversed, so that any two tests also run in the opposite
# order; and shuffled
ORDERS = ("items.reverse()", "random.Random(1).shuffle(items)")
CLOCK_FILE = "faketime.so"
INSTALL_CLOCK = ("apt-get update -qq && apt-get install -y -qq libfaketime && "
                 f"cp /usr/lib/*/faketime/libfaketime.so.1 {CLOCK_FILE}")
# shifts the clock of all programs, even if tests start them with other environment variables
SHIFT = f"echo /tests/{CLOCK_FILE} > /etc/ld.so.preload; echo {{}} > /etc/faketimerc; "


class NotRewarded(Exception):
    """Report a run of the gold that was not rewarded, with the run's grade and the solution's
    output."""

    def __init__(self, run: str, grade: Grade, printed: str = ""):
        super().__init__(f"{run}, the solution gets {grade.reward:g}")
        self.run, self.grade, self.printed = run, grade, printed


def grade_untouched(grader: Grader, rows: list[Object]) -> Grade:
    """Return the grade of an agent that does nothing."""
    grade = grader.grade(None)
    rows.append(row_of("untouched", grade))
    return grade


def prove_gold(grader: Grader, rows: list[Object], work: bytes = b"",
               runs: Sequence[int] = range(1, GOLD_RUNS + 1)) -> bytes:
    """Run the solution and grade its work, once for each of `runs`. If `work` is given, grade this
    work and do not run the solution. Return the archive of the last work. Raise NotRewarded at the
    first run that is not rewarded, ItemFailed if the work is too large."""
    is_given, printed = bool(work), ""
    for n in runs:
        current_step().count = f"run {n} of {runs[-1]}"
        if not is_given:
            work, printed = grader.gold()
        grade = grader.grade(work, anew=True)
        rows.append(row_of("gold", grade))
        if grade.reward != 1.0:
            raise NotRewarded(f"run {n}", grade, printed)
    return work


def prove_repeatable(grader: Grader, work: bytes, clock: bytes,
                     rows: list[Object]) -> list[Grade]:
    """Grade the gold's work in other ORDERS of the tests, 400 days later. `clock` is the library
    from clock_library(). Return the grades of runs that fail with the library even without a shift,
    but not without the library. Raise NotRewarded if the order or the day makes a run fail."""
    unshifted = []
    for k, order in enumerate(ORDERS, 1):
        current_step().count = f"order {k} of {len(ORDERS)}"
        conftest = {CONFTEST_FILE: CONFTEST.format(order).encode()}
        with_clock = {**conftest, CLOCK_FILE: clock}
        later = grader.grade(work, with_clock, SHIFT.format("+400d"))
        rows.append(row_of("400 days later", later))
        if later.reward == 1.0:
            continue
        # grade again without a shift: the day or the order has failed, or a program (such as one
        # with jemalloc) fails with the library on any day
        if grader.grade(work, with_clock, SHIFT.format("+0d")).reward == 1.0:
            raise NotRewarded("400 days later", later)
        reordered = grader.grade(work, conftest)
        rows.append(row_of("another order", reordered))
        if reordered.reward != 1.0:
            raise NotRewarded("in another order", reordered)
        unshifted.append(later)
    return unshifted


def row_of(name: str, grade: Grade) -> Object:
    """Return the line of a graded run in `runs` of proof.json."""
    return {"of": name, "reward": grade.reward, "seconds": round(grade.seconds, 1)}


@lru_cache(1)
def clock_library(host: SandboxFactory) -> bytes:
    """Return the bytes of libfaketime, the library that shifts the clock. Debian's package is
    installed once for all calls. Raise ItemFailed if that fails."""
    with (labelled(host, "clock", "dp") as label, temporary_folder() as folder,
          host.open(host.base_image, label) as sandbox):
        sandbox.network(True)
        done = sandbox.run(INSTALL_CLOCK, timeout_s=300)
        if not done.ok:
            raise ItemFailed(f"libfaketime cannot be installed: {done.output[-200:]}")
        sandbox.get(CLOCK_FILE, folder)
        return (folder / CLOCK_FILE).read_bytes()
