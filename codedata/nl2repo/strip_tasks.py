"""Implement stripped patches as a kind of task, and make the stages: screening, patches, proof and
instructions.

Only a test that needs one of the bodies may fail. Doctests are never graded: they are in the
docstrings that a solver sees.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from itertools import chain
from operator import or_
from pathlib import Path

from codedata.analysis.analyse import coverage_reads
from codedata.code.entities import is_test_file
from codedata.code.patches import diff_of, files_of, normalised
from codedata.disk.ledger import LastAttempt
from codedata.disk.store import Derived, Store, all_readable, digest
from codedata.nl2repo.sources import sources_of
from codedata.nl2repo.strip import EMPTY, Strippable
from codedata.records import (
    BREAKS,
    STRIPPED_PATCH,
    Candidate,
    Communities,
    Coverage,
    Environment,
    RepoDocument,
    RepoMeta,
    ScreenedStrip,
    SourceCopy,
    StripCandidate,
    Task,
    candidate_of,
)
from codedata.run.stage import Reads, Stage, Writes
from codedata.sandbox.factory import SandboxFactory
from codedata.suites.test_results import place_of
from codedata.tasks.folder.task_folder import BEFORE_DOCUMENT, verifier_config
from codedata.tasks.prove.outcomes import GOOD, SURVIVES, known_results, time_limit
from codedata.tasks.prove.proof import CandidateProof, PatchProver
from codedata.tasks.prove.run_suite import FirstRun, Screened, ScreeningRules
from codedata.tasks.screen.screening import Screener
from codedata.tasks.stages import Maker, Screening, judged_in
from codedata.terminal import named
from codedata.texts import fill, text_of

ALL = 1.0                  # share of the tests that a stripped patch may break
RULES = ScreeningRules(ALL, ignores_skipped=True)
FROM_EMPTY = replace(RULES, counts_missing=True)   # without sources, no test can be collected
SHOWN = ("sources", "n_covering", "n_failing", "how", "seconds", "n_survivors")
FUNCTION = "function"      # kind of patches that strip a single function
MAX_PROVEN_FUNCTIONS = 40  # single-function patches of a repository that are proven
PER_TASK = 2               # with --limit, candidates screened for each task
N_VARIANTS = 8             # wrong bodies of a function that are screened
MAX_VARIED = 120           # functions of a repository whose wrong bodies are screened
RELATIONSHIP = "nl2repo.py --steps relationship"

@dataclass(frozen=True)
class TaskDocument:
    """Hold the document of the functions of a task."""

    instance_id: str
    functions: list[str]
    text: str


def id_of(repo_name: str, kind: str, diff: str) -> str:
    """Return the id of a patch."""
    return f"{repo_name}.{kind}.{normalised(diff)[:8]}"


def task_documents(root: Path) -> Derived:
    """Return {task id: document} of the tasks whose functions are all documented."""
    def documents_of(_: str, whole: RepoDocument) -> dict[str, TaskDocument]:
        texts = {one.get("subject"): str(one.get("text", "")).strip() for one in whole.sections}
        return {id: TaskDocument(id, one["functions"], "\n\n".join(filter(None, [
                    texts[""], one.get("api", "").strip(), *map(texts.get, one["functions"])])))
                for id, one in whole.index.items() if all(map(texts.get, ["", *one["functions"]]))}

    return Derived(Store(root, RepoDocument), documents_of, place="document of all its functions")


def candidate_in(found: Communities, one: ScreenedStrip) -> Candidate:
    """Return a screened strip of a repository as a candidate. Tests that any stripped body
    makes skipped are not graded. Only the stripped files are taken from an agent's work."""
    kind, diff = one["kind"], one["diff"]
    return candidate_of(
        one["id"], diff, {"functions": one["functions"]}, repo=found.repo,
        environment=found.repo_name, base_commit=found.base_commit, direction=BREAKS,
        kind=STRIPPED_PATCH, method=kind,
        words={key: one[key] for key in SHOWN if key in one},
        labels={"category": "rebuild", "tags": ["nl2repo", kind]},
        rules={"counts": sorted(path for path, _ in files_of(diff)),
               "ungraded": found.ungraded or [], "counts_missing": kind == EMPTY})


def with_repository(candidate: Candidate, copy: SourceCopy, meta: RepoMeta,
                    environment: Environment) -> Candidate:
    """Return a candidate with the licence of its repository. Tests outside of test files, such as
    doctests, are not graded, either."""
    paths, config = {*copy.files, *copy.others}, candidate.config
    outside = [test for test in known_results(environment)
               if (path := place_of(test, paths)[0]) and not is_test_file(path)]
    rules = {**config["rules"], "ungraded": [*config["rules"]["ungraded"], *outside]}
    licence = {"licence": meta.licence} if meta.licence else {}
    return replace(candidate, config={**config, **licence, "rules": rules})


def unrelated_tests(run: FirstRun, proof: CandidateProof) -> str:
    """Return a reason that names failing tests which need none of the functions; "" if there are
    none. A test that runs none of them, by coverage, may still need a fixture or a cache that
    another test made with them. So these failing tests run again, without the other tests: a test
    that fails again needs the functions, and is not named."""
    candidate, coverage, environment = proof.candidate, proof.coverage, proof.environment
    if not coverage or candidate.kind != STRIPPED_PATCH or candidate.config["method"] == EMPTY:
        return ""
    wanted, unrelated = {*candidate.config["about"]["functions"]}, {}
    for test in coverage.tests:
        k = test["functions"]
        ran = () if k is None else (coverage.functions[i] for i in coverage.function_sets[k])
        if k is not None and not test["starts"] and wanted.isdisjoint(ran):
            unrelated[test["name"]] = test
    failing = unrelated.keys() & {*run.fail_to_pass}
    if not failing:
        return ""
    ids = [i for i, id in enumerate(coverage.functions) if id in wanted]
    alone = replace(coverage, function_sets=[ids], tests=[
        {**unrelated[name], "functions": 0} for name in sorted(failing)])
    limit_s = time_limit(environment, proof.host.run_timeout_s)
    with Screener(environment, alone, limit_s, proof.host, proof.label, RULES) as screener:
        shown, = screener.screen([candidate.change])
    if shown:
        failing -= {*shown.failing}
    names = named(sorted(failing))
    return f"tests fail that do not need the functions: {names}" if failing else ""


def instruction_of(task: Task, text: TaskDocument) -> str:
    """Return an instruction that lists the functions or files to write, with their document."""
    config, form = verifier_config(task), "instruction.md"
    names = defaultdict(list)
    for function in text.functions:
        path, _, name = function.partition("::")
        names[path].append(f"`{name}`")
    lines = "\n".join(f"- `{path}`: {', '.join(names[path])}" for path in sorted(names))
    if task.about.get("method") == EMPTY:
        form, lines = "instruction_empty.md", "\n".join(f"- `{path}`" for path in config["counts"])
    python = f"{config.get('activation', '')}python3"
    return fill(text_of("codedata.nl2repo", form), functions=lines, python=python,
                before=BEFORE_DOCUMENT, document=text.text)


# screening ---------------------------------------------------------------------------------------

def screening_stage(root: Path, environments: Derived, host: SandboxFactory,
                    limit: int | None, from_empty: bool) -> Stage:
    """Return the stage that screens the candidates of nl2repo.relationship. With a limit of tasks,
    it screens the first PER_TASK × `limit` candidates, or as many as an earlier run if that was
    more. Records of an earlier run that screened fewer are made again. Without the bodies, a test
    must fail, and all tests must still be collected.
    """
    found, max_screened = Store(root, Communities), limit and PER_TASK * limit
    is_short = any(len(one.screened or ()) < len(one.candidates[:max_screened])
                   for one in all_readable(root, Communities))
    screening = Screening("nl2repo", FROM_EMPTY if from_empty else RULES, host)

    def make(item: Communities, environment: Environment, coverage: Coverage) -> Communities:
        strippable = Strippable(sources_of(root, item.repo_name), coverage, from_empty)
        n = max_screened and max(max_screened, len(item.screened or ()))
        strips = [_strip(item.repo_name, one, strippable) for one in item.candidates[:n]]
        possible = [one for one in strips if one["diff"]]
        # wrong bodies measure the tests of the first single functions: only some are proven
        single = [one["functions"][0] for one in possible if one["kind"] == FUNCTION]
        wrong = {id: strippable.variants(id, N_VARIANTS) for id in single[:MAX_VARIED]}
        diffs = [*(one["diff"] for one in possible), *chain.from_iterable(wrong.values())]
        return _with_verdicts(item, strips, wrong, screening.verdicts(
            diffs, environment, coverage, "no source is left" if from_empty else ""))

    return Stage("nl2repo.screen", make=make, close=screening.close, refresh=is_short,
                 reads=Reads(found, ("base_commit", "candidates"), made_by="nl2repo.relationship"),
                 also_reads=(judged_in(environments), coverage_reads(root)),
                 writes=Writes(found, ("screened", "ungraded")),
                 identity={"max_screened": max_screened} if max_screened else {},
                 after=RELATIONSHIP, then=RELATIONSHIP)


def _with_verdicts(found: Communities, strips: list[ScreenedStrip], wrong: dict[str, list[str]],
                   verdicts: Mapping[str, Screened]) -> Communities:
    """Return the candidates of a repository with their `verdicts`, by diff. A test that any
    candidate skips is not graded: it may fail (xfail), or asks the code whether to run, so its
    result does not depend only on a stripped body. `wrong` has the diffs with wrong bodies of
    functions."""
    skipped = sorted({name for one in strips if one["diff"]
                      for name in verdicts[one["diff"]].skipped})
    survivors = {id: sum(verdicts[diff].verdict == SURVIVES[0] for diff in diffs)
                 for id, diffs in wrong.items()}
    shown = [_judged(one, verdicts[one["diff"]], skipped, survivors) if one["diff"] else one
             for one in strips]
    return replace(found, screened=shown, ungraded=skipped)


def _judged(strip: ScreenedStrip, shown: Screened, skipped: list[str],
            survivors: Mapping[str, int]) -> ScreenedStrip:
    """Return a candidate with its result of screening, without tests that are not graded."""
    verdict, reason = shown.verdict, shown.reason
    failing = {*shown.failing}.difference(skipped)
    if verdict == GOOD and not failing:
        verdict, reason = SURVIVES
    return {**strip, "verdict": verdict, "reason": reason, "how": shown.how,
            "n_failing": len(failing), "seconds": round(shown.seconds, 3),
            "n_survivors": sum(survivors.get(id, 0) for id in strip["functions"])}


def _strip(repo_name: str, candidate: StripCandidate, strippable: Strippable) -> ScreenedStrip:
    """Return a candidate with its diff, before screening. If it cannot be stripped, its diff is
    empty and its reason is set."""
    ids, kind = candidate["functions"], candidate["kind"]
    strip: ScreenedStrip = {
        "id": "", "kind": kind, "functions": ids, "sources": [], "diff": "", "verdict": "refused",
        "reason": "", "n_covering": 0, "n_failing": 0, "how": "", "seconds": 0.0,
        "n_survivors": 0}
    try:
        before, after = strippable.emptied() if kind == EMPTY else strippable.stripped(ids)
    except KeyError as e:
        return {**strip, "reason": f"{e.args[0]} cannot be stripped"}
    except ValueError as e:
        return {**strip, "reason": str(e)}
    diff = diff_of(before, after)
    return {**strip, "id": id_of(repo_name, kind, diff), "diff": diff,
            "sources": [digest(strippable.source(id).hex()) for id in ids],
            "n_covering": reduce(or_, (strippable.tests[id] for id in ids)).bit_count()}


# stages ------------------------------------------------------------------------------------------

def strip_candidates(root: Path) -> Derived:
    """Return the strips that passed screening as candidates. Of a repository's strips of one
    function, only the first MAX_PROVEN_FUNCTIONS are proven; functions whose tests let more wrong
    bodies pass come later."""
    others: set[str] = set()   # ids of good strips that are not proven

    def candidates_of(_: str, found: Communities) -> dict[str, Candidate]:
        candidates = {}
        n_functions = 0
        for one in sorted(found.screened or [], key=lambda one: one.get("n_survivors", 0)):
            is_good = one["verdict"] == GOOD
            n_functions += is_good and one["kind"] == FUNCTION
            if is_good and one["kind"] == FUNCTION and n_functions > MAX_PROVEN_FUNCTIONS:
                others.add(one["id"])
            elif is_good:
                candidates[one["id"]] = candidate_in(found, one)
        return candidates

    return Derived(Store(root, Communities), candidates_of, keeps=others.__contains__)


def patches_stage(root: Path, environments: Derived) -> Stage:
    """Return the stage that writes the strips that passed screening to candidate/."""
    same = {"same": "base_commit"}
    reads = Reads(strip_candidates(root), ("base_commit", "change", "config"),
                  made_by="nl2repo.screen")
    return Maker(root, STRIPPED_PATCH).candidate_stage(
        "nl2repo.patches", reads, with_repository, also_reads=(
            Reads(Store(root, SourceCopy), ("files", "others"), made_by="nl2repo.extract", **same),
            Reads(Store(root, RepoMeta), ("licence",), made_by="nl2repo.meta", **same),
            judged_in(environments)),
        after=RELATIONSHIP, then=RELATIONSHIP)


def proof_stage(root: Path, environments: Derived, host: SandboxFactory) -> Stage:
    """Return the stage that proves stripped patches."""
    def sum_up() -> list[str]:
        tasks = stage.writes.store
        return [describe_strips(all_readable(root, Candidate, STRIPPED_PATCH), tasks.names(),
                                tasks.ledger.excluded)]

    stage = Maker(root, STRIPPED_PATCH).prove_stage(
        "nl2repo.proof", environments, PatchProver(host, refusal=unrelated_tests),
        (coverage_reads(root),), sum_up=sum_up, after=RELATIONSHIP,
        then="nl2repo.py --steps doc_part2,doc_part1,doc")
    return stage


def instructions_stage(root: Path) -> Stage:
    """Return the stage that writes the instructions of stripped patches."""
    texts = Reads(task_documents(root), ("functions", "text"), made_by="nl2repo.doc")
    return Maker(root, STRIPPED_PATCH).instruct_stage(
        "nl2repo.instruct", texts, instruction_of, ("tests",), after=RELATIONSHIP,
        then="export.py --formats nl2repo,harbor")


def describe_strips(candidates: Iterable[Candidate], proven: Collection[str],
                    excluded: Mapping[tuple[str, str], LastAttempt]) -> str:
    """Return the number of proven stripped patches by kind, and why the others are not proven.
    `proven` holds ids; `excluded` is the ledger's, by (stage, id)."""
    why = {id: attempt.error for (_, id), attempt in excluded.items() if id not in proven}
    tried, n_proven, whys = Counter(), Counter(), Counter()
    for one in candidates:
        kind = one.config["method"]
        tried[kind] += 1
        n_proven[kind] += one.name in proven
        if one.name in why:
            whys[why[one.name]] += 1
    kinds = ", ".join(f"{kind} {n_proven[kind]} of {n}" for kind, n in tried.items())
    reasons = "".join(f"; {reason} ({n})" for reason, n in whys.items())
    return f"{n_proven.total()} of {tried.total()} stripped patches proven: {kinds}{reasons}"
