#!/usr/bin/env python3
"""Answer every prompt as the king: only from the history.

reads   prompt/*.json                  lists of Prompt, from prompt.py or by hand
        commit/                        only to leave out turns whose pull request is oversized or
                                       missing (--yes: keep turns without one)
writes  answer/<source>_<order>.json   Answer, its field `king` (with --shard i/n: answer_i/)
        answer/_samples/<item>.json    further blind answers ([king] samples)
        answer/_reasoning/<item>.json  a model's thinking outside its answer
        answer/_ledger.jsonl           a line per attempt

  python king.py --limit 3 --workers 1   # a taste, in order, easy to read
  python king.py                         # answer what is missing, stale or failed
  python king.py --only '*_17' --force   # this one again; the old one goes to answer/_replaced/
"""
from functools import partial

from codedata.disk.store import Lists, Store
from codedata.duel.agreement import ask_samples, n_samples, sampler_of
from codedata.duel.answer import (
    ask_turn,
    keep_reasoning,
    king_messages,
    note_forms,
    read_turn,
    to_count,
)
from codedata.duel.oversized import oversized, unmatched
from codedata.duel.prompt_texts import prompt_digest
from codedata.llm import Models
from codedata.records import Answer, Prompt
from codedata.run import cli, start
from codedata.run.cli import RunOptions
from codedata.run.stage import Reads, Stage, Writes
from codedata.settings import Settings
from codedata.terminal import say


def main(argv=None) -> int:
    parser = cli.parser(__doc__)
    parser.add_argument("--yes", action="store_true",
                        help="ask also for turns that no challenger can answer")
    args = parser.parse_args(argv)
    settings, options = cli.read(args)
    return start.run(partial(king_stage, settings, options, args.yes), settings, options)


def king_stage(settings: Settings, options: RunOptions, yes: bool, models: Models) -> Stage:
    """Return the stage that fills in the kings."""
    king, n_more = models.client("king"), n_samples(settings) - 1
    if n_more and not options.status:
        say(f"king  asks for {1 + n_more} answers a turn, in one call if possible: "
            "[king] samples, [challenger] how")
    sampler, layout = sampler_of(king, models), partial(king_messages, king)

    def answer(prompt: Prompt) -> Answer:
        # with equal settings, one request brings all answers, and ask_samples() reuses them
        n = 1 + n_more if sampler.spec == king.spec else 1
        thoughts: list[str] = []
        turn = ask_turn(king, layout, prompt, partial(read_turn, thoughts=thoughts), n)
        ask_samples(sampler, layout, prompt, n_more)
        keep_reasoning(thoughts)
        return Answer(prompt.instance_id, prompt.messages, prompt.assistant, king=turn,
                      tools=prompt.tools, several=prompt.several)

    prompts = Lists(settings.root, Prompt)
    is_oversized, is_unmatched = oversized(settings.root), unmatched(prompts)
    optional = "tools", "several"
    into = f"answer_{settings.shard[0]}" if settings.shard else "answer"
    answers = Store(settings.root, Answer, into)
    return Stage(
        "king", make=answer, planned=partial(note_forms, models, {"king": answers}),
        reads=Reads(prompts, fields=("instance_id", "messages", *optional),
                    leaves_out=lambda *item: is_oversized(*item) or (
                        "" if yes else is_unmatched(*item))),
        writes=Writes(answers, copies=("assistant",),
                      fields=("instance_id", "messages", "assistant", "king", *optional),
                      optional=optional),
        identity={**king.spec.identity(), "prompt": prompt_digest("form.md"),
                  **({"samples": n_more} if n_more else {})},
        requests=lambda prompt: [(one, to_count(king_messages(king, prompt), prompt))
                                 for one in (king, *[sampler] * n_more)],
        after="prompt.py", then="ch.py")


if __name__ == "__main__":
    cli.main(main)
