"""What an answer has copied: code, texts, numbers and wording of the pull request that nothing has shown.

Both are cut into tokens. What counts is a run of three or more that the answer shares with a line of the pull request
and the conversation does not have. Its weight is that of its tokens, each once in an answer: next to nothing for signs
and for what was shown, more for words the rarer they are, for numbers the longer. Lines that are there already cannot
be hit by chance; those that the pull request adds can, by whoever mends the same place. Linear in all the texts.
"""
from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from codedata.checks.leak_rules import HIGH, MEDIUM, Case, Finding
from codedata.checks.leak_sides import GRAM, grams, tokens
from codedata.checks.leak_text import fold, lists, name_parts, stem

BARS = {"old": (1.2, 1.05), "title": (1.5, 1.2), "new": (2.4, 1.8)}   # (high, medium): what a run has to weigh
EASY_BARS = (2.4, 2.0)      # where one may hit it: it describes the task, or mends code that was shown
WHOLE_LINE = 0.7             # where it is all of a line of code that is there
SHOWN, SIGN, LIBRARY, GENERIC, COMMON, RARE = 0.15, 0.05, 0.2, 0.2, 0.6, 1.0   # what a token weighs
DIGIT, NOUGHT, MOST_DIGITS = 0.35, 0.1, 2.0       # a number: each digit, each zero in front or behind, at most
LONGER, SHORT = 0.1, 5   # what each word after some weighs on top, in a line that is there or the title of a test
QUOTES = "\"'`"                                   # what one may put around what was shown
FEW = 100                                         # runs: so many are looked for one by one


def find_copies(case: Case) -> Iterator[Finding]:
    """Runs of tokens, of lines that the pull request has found or adds."""
    used: set[str] = set()
    for start, end, (age, source), run in _shared_runs(case):
        new = [token for token in dict.fromkeys(run) if token not in used]
        weight = sum(_weight(token, case) for token in new)
        if age != "new" or (source == "patch" and case.is_blind):   # the more of a line, the less by chance
            weight += LONGER * max(0, sum(token[0].isalnum() for token in run) - SHORT)
        is_easy = age == "new" and (source == "description" or (source == "patch" and not case.is_blind))
        high, medium = EASY_BARS if is_easy else BARS[age]
        if age == "old" and " ".join(run) in case.hidden.old_lines:
            high = WHOLE_LINE
        if weight >= min(medium, high):
            used.update(new)
            why = "code that is there and was not shown" if age == "old" else "words of the pull request"
            yield case.finding("code" if age == "old" else "phrase", start, end, source,
                               HIGH if weight >= high else MEDIUM, why)


def _weight(token: str, case: Case) -> float:
    """What it says about an answer to have this token of the pull request."""
    words, shown, key = lists(), case.shown, fold(token)
    if token[0].isdigit():
        known = token in shown.numbers or len(token) == 1 or (not token.isdigit() and token in shown.squeezed)
        return SHOWN if known else min(
            MOST_DIGITS, DIGIT * len(token.strip("0.")) + NOUGHT * (len(token) - len(token.strip("0."))))
    if not (token[0].isalpha() or token[0] == "_"):
        return SIGN
    if key in shown.names or key in case.hidden.own_words:
        return SHOWN
    if key in words.library:
        return LIBRARY
    return max(GENERIC, sum(_part_weight(part) for part in name_parts(token)))


def _part_weight(part: str) -> float:
    words, key = lists(), stem(part)
    if part.isdigit() or len(part) < 2:
        return 0.0
    return GENERIC if key in words.stop or part in words.generic else COMMON if key in words.common else RARE


def _shared_runs(case: Case) -> Iterator[tuple[int, int, tuple[str, str], list[str]]]:
    """(start, end, (age, source), tokens) of what answer and pull request share and nothing has shown."""
    parts = [(at, tokens(text)) for at, text, _ in case.reply.parts]
    own = {gram for _, piece in parts for gram in grams([token for token, _, _ in piece])}
    shared = {gram: case.hidden.grams[gram] for gram in own if gram in case.hidden.grams}
    fresh = set(shared).difference(_known(case, shared))
    for at, piece in parts if fresh else ():
        places = [(shared.get(gram), gram in fresh) for gram in grams([token for token, _, _ in piece])]
        for place, group in groupby(enumerate(places), key=lambda one: one[1][0]):
            news = [i for i, (_, is_fresh) in group if is_fresh] if place else []
            if news:
                run = piece[news[0]:news[-1] + GRAM]
                yield at + run[0][1], at + run[-1][2], place, [token for token, _, _ in run]


def _known(case: Case, wanted) -> list[tuple[str, ...]]:
    """Those of the wanted that the conversation has, too. To cut up all of it takes longer, unless they are many."""
    if len(wanted) > FEW:
        known = set(grams([token for token, _, _ in tokens(case.shown.text)]))
        return [gram for gram in wanted if gram in known]
    squeezed = case.shown.squeezed if wanted else ""
    return [gram for gram in wanted if "".join(gram).strip(QUOTES) in squeezed]
