#!/usr/bin/env python3
"""Write documents from which a model can rebuild a repository, and make patches that strip
function bodies. Runs of the tests prove that they fail with each patch.

Eight steps. Only doc_part2 and doc_part1 ask a model; with --writer template they do not.
  extract        a copy of the source
  coverage       the lines that each test runs: analyze.py's step
  meta           the project's metadata
  facts          scripts made from the tests, and their outcomes: examples in documents
  relationship   analysis, communities, screen, patches, proof: patches that the tests detect
  doc_part2      a document for each function of a task
  doc_part1      a document for the project
  doc            put both together, and into the tasks' instructions (only the latter: instruct)

reads   env/<repo_name>.json               Environment, from env_setup.py; or the rows of --input
writes  coverage/, analysis/               as analyze.py
        nl2repo/_sources/<repo_name>/      a copy of the source; _meta/<repo_name>.json   RepoMeta
        nl2repo/_facts/<repo_name>.json    RepoFacts
        nl2repo/_communities/<repo_name>.json   Communities
        candidate/<id>/                    Candidate, of patches that passed screening
        task/<id>/                         Task of each proven patch
        nl2repo/_docs/<name>.json          Document; nl2repo/_trajectories/ (--writer llm)
        nl2repo/<repo_name>.json, .md      RepoDocument
        a _ledger.jsonl in each            a line per attempt

  python nl2repo.py --root runs/mine --writer template
  python nl2repo.py --input meta.jsonl --output ./output --steps extract,meta,relationship
  python nl2repo.py --root runs/mine --only toolz --steps doc   # after an edit in _docs/
"""
from dataclasses import replace
from functools import partial

from codedata import records
from codedata.analysis.analyse import analysis_stage
from codedata.analysis.measure import coverage_stage
from codedata.nl2repo.communities import communities_stage
from codedata.nl2repo.facts import facts_stage
from codedata.nl2repo.sources import extract_stage, meta_stage
from codedata.nl2repo.strip_tasks import (
    instructions_stage,
    patches_stage,
    proof_stage,
    screening_stage,
)
from codedata.nl2repo.write_documents import DocumentWriter, check_model, document_stage
from codedata.run import cli, start
from codedata.run.stage import Stage
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.environments import chosen_by

HOLDS = (records.SourceCopy, records.Coverage, records.RepoMeta, records.RepoFacts,
         records.Analysis, records.Communities,
         (records.Candidate, records.STRIPPED_PATCH),
         (records.Task, records.STRIPPED_PATCH), records.Document, records.RepoDocument)
RELATIONSHIP = ("analysis", "communities", "screen", "patches", "proof")
WRITTEN = ("doc_part2", "doc_part1")
DOC = ("doc", "instruct")
STEPS = ("extract", "coverage", "meta", "facts", *RELATIONSHIP, *WRITTEN, *DOC)


def main(argv=None) -> int:
    parser = cli.parser(__doc__, "nl2repo", "sandbox")
    flags = parser.add_argument_group("flags of nl2repo.py")
    cli.steps_flag(flags, STEPS, {"relationship": RELATIONSHIP, "doc": DOC})
    add = flags.add_argument
    add("--writer", choices=["llm", "template"], help="template: no model (default: llm)")
    add("--from-empty", action="store_true", help="all source gone (at most 2,000 lines)")
    add("--num-runs", type=cli.positive, default=3, metavar="N",
        help="runs with coverage, including existing ones (default: 3)")
    cli.environment_flags(parser)
    cli.sandbox_flags(parser)
    args = parser.parse_args(argv)
    settings, options = cli.with_sandboxes(args)
    if args.input:
        options.make_root()
    writes = not (options.read_only or options.prune or options.compact)
    if writes and settings.nl2repo.writer == "llm" and {*WRITTEN} & {*args.steps}:
        check_model(settings)
    return start.run_steps(steps_of(args, settings), settings, options, HOLDS, args.steps)


def steps_of(args, settings: Settings) -> dict:
    """Return the functions that make the stages, by step."""
    environments = partial(chosen_by, args, settings.root)

    def host(models) -> SandboxFactory:
        return SandboxFactory(settings, models.stop)

    def document(step: str, kind: str, models) -> Stage:
        return DocumentWriter(settings, models, host(models)).stage(step, kind, environments())

    return {
        "extract": lambda models: extract_stage(settings, host(models), environments()),
        "coverage": lambda models: step_of(coverage_stage(
            settings.root, host(models), args.num_runs, environments()), "meta,relationship"),
        "meta": lambda models: meta_stage(settings.root),
        "facts": lambda models: facts_stage(settings.root, environments(), host(models)),
        "analysis": lambda models: step_of(analysis_stage(
            settings.root, host(models), environments()), "relationship"),
        "communities": lambda models: communities_stage(settings, args.from_empty),
        "screen": lambda models: screening_stage(settings.root, environments(), host(models),
                                                 args.limit, args.from_empty),
        "patches": lambda models: patches_stage(settings.root, environments()),
        "proof": lambda models: proof_stage(settings.root, environments(), host(models)),
        "doc_part2": partial(document, "doc_part2", "function"),
        "doc_part1": partial(document, "doc_part1", "project"),
        "doc": lambda models: document_stage(settings.root),
        "instruct": lambda models: instructions_stage(settings.root)}


def step_of(stage: Stage, then: str) -> Stage:
    """Return a stage of analyze.py as a step of this script. Its name, the key in ledgers, stays
    the same."""
    return replace(stage, title=f"nl2repo.{stage.name.partition('.')[2]}",
                   then=f"nl2repo.py --steps {then}")


if __name__ == "__main__":
    cli.main(main)
