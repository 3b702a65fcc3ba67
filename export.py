#!/usr/bin/env python3
"""Make training sets: SFT, DPO, KTO and plain JSON lines from judged turns; SFT, DPO, attempts with
rewards, rows for OpenAI and LLaMA-Factory, and single calls for NeMo Gym from whole trajectories.
Write tasks for Harbor and verifiers, bugs and pull requests for SWE-bench and SWE-smith, and
stripped patches with their documents.

reads   final/, refined/, defeat/       Sample, from report.py
        prompt/_trajectories/           SourceTrajectory, from prompt.py, and its source's rows
        task/<id>/                      Task, from the scripts that make tasks, or by hand
        attempt/                        Attempt: model, tokens and number, for attempts
        audit/                          TaskAudit: its figures, if the task has not changed since
        score/_duel.json                the outcome: a duel that was not accepted is not exported
        answer*/, score/                to see whether the buckets are up to date
        commit/, prompt/, _ledger.jsonl repository, licence, source, models, costs
writes  export/<format>/                data/*.parquet, train.jsonl, validation.jsonl, README.md,
                                        manifest.json
        export/harbor/<task>/           task.toml, instruction.md, environment/, tests/, solution/
        export/left_out.jsonl           what is not exported, and why

  python export.py
  python export.py --status             # show the outcome, write nothing
  python export.py --formats dpo,kto
"""
from codedata.export.make_exports import ALL_FORMATS, REFUSED_FLAGS, run
from codedata.llm import Models
from codedata.run import cli
from codedata.sampling.record_whole import row_reader


def main(argv=None) -> int:
    parser = cli.parser(__doc__, "export", without=(
        *REFUSED_FLAGS, *cli.OF_MODELS, *cli.OF_WORKERS, "no_retry"))
    add = parser.add_argument_group("flags of export.py").add_argument
    add("--formats", type=lambda text: tuple(text.split(",")), metavar="A,B",
        help=f"some of {', '.join(ALL_FORMATS)} (default: formats with records)")
    add("--rejected-too", action="store_true", default=None,
        help="export even if the duel was not accepted")
    args = parser.parse_args(argv)
    settings, options = cli.read(args)
    with Models(settings) as models:
        read_row = row_reader(settings, models.http)
        return run(settings.export, settings.report, settings.exclude.ids, read_row, options)


if __name__ == "__main__":
    cli.main(main)
