#!/usr/bin/env python3
"""Answer every turn as the challenger: knowing the hidden pull request, under the blind-agent rule.

reads   answer*/<source>_<order>.json   Answer, from king.py (its instance_id and messages)
        commit/<instance_id>.json       Commit, the PR record
writes  answer*/<source>_<order>.json   the same record, its field `challenger`
        answer*/_ledger.jsonl           a line an attempt

  python ch.py                          # answer what is missing, stale or failed
  python ch.py --dry-run                # the calls, tokens and cost to come
  python ch.py --only 'prompts_200_3_*' --force
"""
from codedata import config, stage
from codedata.duel.answer import ask_turn, challenger_messages
from codedata.duel.texts import prompt_digest
from codedata.llm import Models
from codedata.records import Answer, Commit
from codedata.resume import Reads, Writes
from codedata.store import Store


def main(argv=None) -> int:
    args = stage.parser(__doc__).parse_args(argv)
    settings = config.load(args)
    with Models(settings) as models:
        challenger = models.client("challenger")

        def requests(answer: Answer, commit: Commit):
            return [(challenger, challenger_messages(challenger, answer, commit))]

        def answer_knowing(answer: Answer, commit: Commit) -> Answer:
            messages = challenger_messages(challenger, answer, commit)
            return Answer(answer.instance_id, answer.messages, answer.assistant, answer.king,
                          challenger=ask_turn(challenger, messages))

        answers = Store(settings.root, Answer)
        return stage.run(
            "ch", args, settings, models, answer_knowing,
            reads=Reads(answers, fields=("instance_id", "messages"), made_by="king"),
            joined=Reads(Store(settings.root, Commit),
                         fields=("repo", "language", "issue", "description", "files", "patch", "test_patch")),
            writes=Writes(answers, fields=("challenger",)), requests=requests,
            identity={**challenger.speaker.identity(), "prompt": prompt_digest("challenger.md")}, after="king.py",
            then="validate.py")


if __name__ == "__main__":
    stage.main(main)
