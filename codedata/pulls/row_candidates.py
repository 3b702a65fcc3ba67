"""Make candidates of rows of other data sets: SWE-bench and SWE-Gym, whose rows are solutions with
their tests, and SWE-smith, whose rows are bugs that a repository's own tests find."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from codedata.code.patches import reversed_patch
from codedata.disk.store import Derived
from codedata.errors import BrokenRecord, Excluded
from codedata.pulls.instructions import own_text
from codedata.pulls.pull_tasks import pull_request
from codedata.records import BREAKS, BUG, Candidate, Commit, Environment, candidate_of, parse
from codedata.run.stage import Stage, found_records
from codedata.suites.repo_names import repo_name_of, upstream_of
from codedata.tasks.stages import Maker, judged_in


def rows_stage(root: Path, spec: str, found: Iterable[tuple[str, dict | str]],
               environments: Derived) -> Stage:
    """Return the stage that writes a candidate for each row of `found`: (id, its fields as a Commit
    or the reason why it is unusable)."""
    def make(candidate: Candidate, environment: Environment) -> Candidate:
        given, known = candidate.base_commit, environment.base_commit
        if not known.startswith(given):
            raise Excluded("is of another base commit than env/", candidate.name)
        return replace(candidate, base_commit=known,
                       config={**candidate.config, "base_commit": known})

    return Maker(root).candidate_stage(
        "prove.rows", found_records(Candidate, lambda: _candidates_in(found), spec), make,
        also_reads=(replace(judged_in(environments), same="",
                            command="env_setup.py --input ROWS.jsonl"),), then="prove.py")


def _candidates_in(found: Iterable[tuple[str, dict | str]]) -> Iterator[tuple[str, dict | str]]:
    for name, value in found:
        try:
            yield name, value if isinstance(value, str) else _fields(parse(Commit, value, name))
        except BrokenRecord as e:
            yield name, e.what


def _fields(row: Commit) -> dict | str:
    """Return the fields of a row's candidate, or why it is refused. If a row has no test patch,
    the candidate is a bug: the reverse of the row's patch."""
    if row.test_patch:
        candidate, refusal = pull_request(row)
    else:
        repo, copied = upstream_of(row.repo)
        refusal = ""
        candidate = candidate_of(
            row.instance_id, reversed_patch(row.patch), {}, repo=repo,
            labels={"category": "debugging", "tags": [BUG]},
            environment=repo_name_of(repo, copied or row.base_commit),
            # in an image of SWE-smith, the repository has a commit of its own
            base_commit="" if copied else row.base_commit,
            direction=BREAKS, method="row", licence=row.licence)
    return refusal or {**vars(candidate), "instruction": own_text(row) or None}
