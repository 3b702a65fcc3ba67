"""List what an answer knows that its conversation never showed: a program finds facts and, with
--llm, a model judges the meaning.

  python -m codedata.leak FILE.jsonl                   # facts alone: no model, no network
  python -m codedata.leak FILE.jsonl --llm-base-url URL --model NAME   # ask a judge of each line

reads   FILE.jsonl   lines {id, messages, answer, pr}, and tools; pr as in commit/, or a row of
                     nebius/SWE-rebench-V2-PRs
prints  a line each  {id, leak, findings: [{quote, kind, why}],
                     facts: [{kind, text, start, end, source, why, certain}]}

Without a judge, `findings` are the facts that are certain. A line with findings leaks. Lines that
cannot be read or judged are named on stderr. Exit codes: 0 done, 1 some lines were broken, 2 usage.
No reply is kept: each run pays for its requests.
"""
from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace

from codedata import config
from codedata.bounded import row_in
from codedata.errors import BrokenRecord, Trouble
from codedata.leak.facts import certain_findings, find_facts
from codedata.leak.judge import Suspect, judge_turn
from codedata.llm import Client, Models
from codedata.progress import say
from codedata.records import Commit, Message, Object, Side, parse

ROW = {"issue": "problem_statement", "description": "pr_description"}   # the dataset's column names


@dataclass(frozen=True)
class AnswerLine:
    """Hold one line of the file; its pull request is parsed separately."""

    id: str
    messages: list[Message]
    answer: Side
    tools: list[Object] | None = None


def main(argv: list[str] | None = None) -> int:
    """Print a verdict on each line of the file; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m codedata.leak", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE.jsonl")
    for flag in ("--llm", "--llm-base-url", "--llm-auth-token", "--model"):
        parser.add_argument(flag, help="as of every script")
    args = parser.parse_args(argv)
    try:
        file = open(args.file, encoding="utf-8", errors="surrogateescape")
    except OSError as e:
        parser.error(f"{args.file}: {e.strerror}")
    try:
        judge = _judge(args) if args.llm or args.llm_base_url or args.model else None
    except Trouble as e:
        parser.error(str(e))
    exit_code = 0
    with file:
        for number, text in enumerate(file, 1):
            where = f"{args.file}:{number}"
            try:
                print(json.dumps(_verdict(text, where, judge)), flush=True)
            except Trouble as e:
                exit_code = 1
                say(str(e) if isinstance(e, BrokenRecord) else f"{where}: {e}")
    return exit_code


def _judge(args) -> Client:
    settings = config.load(args)
    leak = replace(settings.leak, models=settings.judge.models[:1])
    models = Models(replace(settings, leak=leak))
    judges = models.leak_judges()
    if not judges:
        raise Trouble("the embedded model is too small to judge leaks")
    models.check()
    return judges[0]


def _verdict(text: str, where: str, judge: Client | None) -> dict:
    try:
        data = row_in(text)
    except (ValueError, RecursionError) as e:
        raise BrokenRecord(f"is not JSON: {e}.", where) from None
    line = parse(AnswerLine, data, where)
    commit = _commit(data.get("pr"), f"{where} `pr`")
    suspect = Suspect.of(line, "answer", commit)
    facts = find_facts(suspect.history, suspect.turn, commit)
    if judge:
        findings = judge_turn(judge, suspect).findings
    else:
        findings = certain_findings(suspect.history, suspect.turn, commit)
    return {"id": line.id, "leak": bool(findings), "findings": findings,
            "facts": [*map(asdict, facts)]}


def _commit(data, where: str) -> Commit:
    """Return a pull request, in the format of commit/ or a dataset row that lacks some texts."""
    if isinstance(data, dict) and ROW["issue"] in data:
        texts = {name: data.get(column) or "" for name, column in ROW.items()}
        data = {"files": [], **data, **texts, "test_patch": data.get("test_patch") or "",
                "created_at": None}
    return parse(Commit, data, where)


if __name__ == "__main__":
    sys.exit(main())
