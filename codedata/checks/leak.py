"""What does an answer know that its conversation never showed? The rule of duel/challenger.md, checked by program.

    findings = find_leaks(messages, answer, pr)     # pr: a records.Commit, or anything with its fields
    if is_leaky(findings): ...                      # the sample is not worth having

  python -m codedata.checks.leak FILE.jsonl

reads   FILE.jsonl   lines {id, messages, answer, pr}; pr as in commit/, or a row of nebius/SWE-rebench-V2-PRs
prints  a line each  {id, leak, findings: [{kind, text, start, end, source, severity, why}]}

Lines that cannot be read are named on stderr. Exit codes: 0 done, 1 some lines were broken, 2 usage.

A finding is something that the pull request holds and the conversation has not shown: a path, a name, a line number, a
literal, words, code, a cause, how code is built; or words that speak of the pull request itself.
Not promised: to see a cause told entirely in other words, or to know a file that a model remembers from its training
from one that it was told of.
"""
from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from itertools import islice

from codedata.checks.leak_built import find_documents, find_structures
from codedata.checks.leak_claims import (
    find_causes,
    find_code,
    find_giveaways,
    find_literals,
    find_numbers,
    find_old_code,
    find_phrases,
)
from codedata.checks.leak_rules import (
    HIGH,
    LOW,
    MEDIUM,
    Case,
    Finding,
    find_edits,
    find_lines,
    find_names,
    find_paths,
    find_references,
    find_titles,
)
from codedata.errors import BrokenRecord
from codedata.records import Commit, Message, parse

RULES = (find_giveaways, find_references, find_paths, find_names, find_titles, find_lines, find_numbers, find_phrases,
         find_literals, find_code, find_old_code, find_edits, find_causes, find_structures, find_documents)
MOST = 100                                        # findings of a rule in one answer
WEIGHTS, BAR = {HIGH: 2, MEDIUM: 1, LOW: 0}, 2    # what bars a sample: one that is high, or two that are medium
ROW = {"issue": "problem_statement", "description": "pr_description"}   # what the data set calls them


@dataclass(frozen=True)
class Line:
    """A line of the file; its pull request is read apart."""

    id: str
    messages: list[Message]
    answer: str


def find_leaks(messages: list[dict], answer: str, pr) -> list[Finding]:
    """Everything in the answer that its conversation has not shown, in the answer's order. Linear in all the texts."""
    case = Case.of(messages, answer, pr)
    found = [finding for rule in RULES for finding in islice(rule(case), MOST)]
    return sorted(found, key=lambda finding: (finding.start, finding.end, finding.kind))


def is_leaky(findings: list[Finding]) -> bool:
    """Whether the findings bar the answer. Findings that overlap are one: a name counts once, not again as code."""
    total, strongest, end = 0, 0, -1
    for finding in sorted(findings, key=lambda finding: finding.start):
        if finding.start >= end:
            total, strongest = total + strongest, 0
        strongest, end = max(strongest, WEIGHTS[finding.severity]), max(end, finding.end)
    return total + strongest >= BAR


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m codedata.checks.leak", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE.jsonl")
    args = parser.parse_args(argv)
    try:
        file = open(args.file, encoding="utf-8", errors="surrogateescape")
    except OSError as e:
        parser.error(f"{args.file}: {e.strerror}")
    n_broken = 0
    with file:
        for number, text in enumerate(file, 1):
            try:
                print(json.dumps(_answer(text, f"{args.file}:{number}")))
            except BrokenRecord as e:
                n_broken += 1
                print(e, file=sys.stderr)
    return 1 if n_broken else 0


def _answer(text: str, where: str) -> dict:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise BrokenRecord(f"is not JSON: {e}.", where) from None
    line = parse(Line, data, where)
    findings = find_leaks(line.messages, line.answer, _commit(data.get("pr"), f"{where} `pr`"))
    return {"id": line.id, "leak": is_leaky(findings), "findings": [asdict(finding) for finding in findings]}


def _commit(data, where: str) -> Commit:
    """A pull request as in commit/, or as the data set has it, where the texts may be missing."""
    if isinstance(data, dict) and ROW["issue"] in data:
        texts = {name: data.get(column) or "" for name, column in ROW.items()}
        data = {"files": [], **data, **texts, "test_patch": data.get("test_patch") or "", "created_at": None}
    return parse(Commit, data, where)


if __name__ == "__main__":
    sys.exit(main())
