#!/usr/bin/env python3
"""Answer every turn as the challenger: knowing the hidden pull request, under the blind-agent rule.

A turn that shows what the conversation has not (checks/leak.py) is asked for again, with what was found; where it still
does after [challenger] leak_retries more tries, the item fails.

reads   answer*/<source>_<order>.json   Answer, from king.py (its instance_id and messages)
        commit/<instance_id>.json       Commit, the PR record
writes  answer*/<source>_<order>.json   the same record, its field `challenger`
        answer*/_ledger.jsonl           a line an attempt
        (with --refine: answer/_attempts/<source>_<order>.jsonl, from refined/)

  python ch.py                          # answer what is missing, stale or failed
  python ch.py --dry-run                # the calls, tokens and cost to come
  python ch.py --only 'prompts_200_3_*' --force
  python ch.py --refine                 # the turns of refined/ once more, with what the judges said of them
"""
from functools import partial

from codedata import config, stage
from codedata.duel.answer import answer_knowing, challenger_messages
from codedata.duel.refine import Criticised, attempt, messages_for
from codedata.duel.texts import prompt_digest
from codedata.llm import Models
from codedata.records import Answer, Attempts, Commit
from codedata.resume import Reads, Writes
from codedata.store import Store


def main(argv=None) -> int:
    parser = stage.parser(__doc__)
    add = parser.add_argument_group("flags of ch.py").add_argument
    add("--refine", action="store_true", help="answer the turns of refined/ again, for validate.py --refine")
    add("--defeat", action="store_true", help="with --refine: those of defeat/ too")
    args = parser.parse_args(argv)
    if args.defeat and not args.refine:
        parser.error("--defeat goes with --refine: it says which turns are refined")
    settings = config.load(args)
    with Models(settings) as models:
        challenger = models.client("challenger")
        answers = Store(settings.root, Answer)
        if args.refine:
            make, layout, prompts = attempt, messages_for, ["challenger.md", "refine.md", "leak.md"]
            reads = Reads(Criticised(settings.root, args.defeat), fields=("messages", "challenger", "reasons"))
            writes = Writes(Store(settings.root, Attempts), fields=("attempts",), appends=True)
        else:
            make, layout, prompts = answer_knowing, challenger_messages, ["challenger.md", "leak.md"]
            reads = Reads(answers, fields=("instance_id", "messages"), made_by="king")
            writes = Writes(answers, fields=("challenger",))
        commits = Reads(Store(settings.root, Commit),
                        fields=("repo", "language", "issue", "description", "files", "patch", "test_patch"))
        return stage.run(
            "ch", args, settings, models, partial(make, challenger, settings.challenger.leak_retries), reads=reads,
            joined=commits, writes=writes,
            requests=lambda turn, commit, **_: [(challenger, layout(challenger, turn, commit))],
            identity={**challenger.speaker.identity(), "prompt": [*map(prompt_digest, prompts)]},
            after="report.py" if args.refine else "king.py",
            then="validate.py --refine" if args.refine else "validate.py")


if __name__ == "__main__":
    stage.main(main)
