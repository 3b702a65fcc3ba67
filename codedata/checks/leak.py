"""What does an answer know that its conversation never showed? The rule of duel/challenger.md, checked by program.

    findings = find_leaks(messages, answer, pr)     # pr: a records.Commit, or anything with its fields
    if is_leaky(findings): ...                      # the sample is not worth having

  python -m codedata.checks.leak FILE.jsonl

reads   FILE.jsonl   lines {id, messages, answer, pr}; pr as in commit/, or a row of nebius/SWE-rebench-V2-PRs
prints  a line each  {id, leak, findings: [{kind, text, start, end, source, severity, why}]}

Lines that cannot be read are named on stderr. Exit codes: 0 done, 1 some lines were broken, 2 usage.

A finding is something that the conversation has not shown: a path, a name, a line number, a literal, words or code of
the pull request; words that speak of it; and, before there is evidence, more than one can say, in whatever words.
Not promised: to tell a lucky guess from knowledge, or a file that a model remembers from its training from one that it
was told of.
"""
from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from itertools import islice

from codedata.checks.leak_copied import find_copies
from codedata.checks.leak_names import find_names, find_test_ids
from codedata.checks.leak_rules import (
    HIGH,
    LOW,
    MEDIUM,
    Case,
    Finding,
    find_edits,
    find_lines,
    find_paths,
    find_references,
)
from codedata.checks.leak_told import find_told
from codedata.errors import BrokenRecord
from codedata.records import Commit, Message, parse
from codedata.texts import terminal_safe

RULES = (find_references, find_paths, find_names, find_test_ids, find_lines, find_copies, find_edits, find_told)
MOST = 100                                        # findings of a rule in one answer
WEIGHTS, BAR = {HIGH: 2, MEDIUM: 1, LOW: 0}, 2    # what bars a sample: one that is high, or two that are medium
LONGEST, MOST_TOLD = 300, 200                     # characters of a finding: in a record, in a sentence
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


def in_record(findings: list[Finding]) -> list[dict]:
    """As they stand in a record of final/ and its neighbours; those that say nothing by themselves are left out."""
    return [{"kind": finding.kind, "severity": finding.severity, "text": finding.text[:LONGEST], "why": finding.why,
             "source": finding.source, "start": finding.start, "end": finding.end}
            for finding in findings if WEIGHTS[finding.severity]]


def bars(leaks: list[dict] | None) -> bool:
    """Whether the `leaks` of a record keep it from being trained on. What nobody has looked at is not barred."""
    fields = {"kind": "", "text": "", "start": 0, "end": 0, "source": "", "severity": HIGH, "why": ""}
    return is_leaky([Finding(**{name: one.get(name, default) for name, default in fields.items()})
                     for one in leaks or ()])


def told(findings: list[Finding]) -> list[str]:
    """What counts of the findings, a line each: what it is, and why."""
    return [f"{' '.join(finding.text.split())[:MOST_TOLD]} ({finding.why})" for finding in findings
            if WEIGHTS[finding.severity]]


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
                print(terminal_safe(str(e)), file=sys.stderr)
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
