"""Read observations as a harness showed them, and compare them with the results of commands.

The comparison is exact, up to whitespace at both ends. Only if it fails, the words that differ
between two runs of the command are masked in both texts. That a word looks like
a time or an address is no reason to mask it: such words are not always noise.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

from codedata.sandbox import Result
from codedata.texts import toml_of, without_middle

WORDS = re.compile(r"[\w.]+|\W")   # a number, a hash or a temporary name is one word
CUT_CHARS = 10_000   # limit of an output: an agent sees a longer one without its middle
FORMS = [re.compile(form["pattern"], re.DOTALL)
         for form in toml_of(__package__, "observations.toml")["forms"]]
EQUAL, MASKED, UNEQUAL = "equal", "masked", "unequal"


@dataclass(frozen=True)
class ShownResult:
    """Hold the parts of a command's result that an agent was shown."""

    head: str
    tail: str = ""
    n_left_out: int = 0
    exit_code: int | None = None   # None: it was not shown

    def is_of(self, result: Result) -> bool:
        """Return whether this shows the given result."""
        if self.exit_code not in (None, result.exit_code):
            return False
        head, tail, output = self.head.strip(), self.tail.strip(), result.output.strip()
        if not self.n_left_out:
            return head == output
        n_between = len(output) - len(head) - len(tail)
        is_cut_so = output.startswith(head) and output.endswith(tail)
        return is_cut_so and abs(n_between - self.n_left_out) <= 4   # whitespace around the cut


def observation_of(text: str) -> ShownResult:
    """Return the shown result in a message, by the first form that matches."""
    matches = (pattern.fullmatch(text.strip()) for pattern in FORMS)
    found = next(filter(None, matches)).groupdict()
    code = found.get("code")
    n_left_out = (found.get("n") or "0").replace(",", "")
    return ShownResult(found.get("output") or found.get("head") or "", found.get("tail") or "",
                       int(n_left_out), None if code is None else int(code))


def compare(shown: ShownResult, first: Result, second: Result | None = None) -> str:
    """Return EQUAL if an observation shows a result, MASKED if it does except for the words that
    differ in a second result of the same command, else UNEQUAL."""
    if shown.is_of(first):
        return EQUAL
    if second is None or shown.n_left_out or shown.exit_code not in (None, first.exit_code):
        return UNEQUAL
    texts = (shown.head, first.output, second.output)
    words = [WORDS.findall(text.strip()) for text in texts]
    if len({*map(len, words)}) > 1:
        return UNEQUAL
    is_same = all(recorded == got or got != again
                  for recorded, got, again in zip(*words, strict=True))
    return MASKED if is_same else UNEQUAL


def cut(output: str) -> str:
    """Return an output as an agent sees it: if it is long, without its middle."""
    return without_middle(output, CUT_CHARS, "{n} characters left out")
