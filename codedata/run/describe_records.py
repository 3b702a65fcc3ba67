"""Describe records in a user's words, for the end of a run and for status.py --summary."""
from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from codedata.disk.ledger import LastAttempt
from codedata.records import Analysis, Coverage, Environment, RepoDocument, StripPatch, Task
from codedata.terminal import plural

PASSED = "passed"
GOOD = "good"   # a screening verdict
NO_TESTS = ("no_recipe", "no_tests")   # causes of a failed environment
ADD_TESTS = "add tests that pytest, or the runner of its language, finds, or have "
ASK_AN_AGENT = "an agent look for the scripts (it asks a model): --planner agent in place of recipe"


def describe_environment(one: Environment) -> str:
    """Return the number of passing tests and the image or, after a failed setup, what may help."""
    cause = one.verified.get("cause") or {}
    if one.status != "success":
        first = ADD_TESTS if cause.get("name") in NO_TESTS else "have "
        return f"{one.error}; to do: {first}{ASK_AN_AGENT}"
    n_passed = sum(case["status"] == PASSED for case in one.test_case_result)
    flaky = f", {len(one.flaky)} flaky" if one.flaky else ""
    text = (f"{n_passed:,} of {plural(len(one.test_case_result), 'test')} pass{flaky}, "
            f"image {one.image_name or '(none)'}, {one.seconds:.0f} s")
    if one.verified.get("healthy"):
        return text
    return (f"{text}; the suite is not healthy ({cause.get('name')}: {cause.get('evidence')}), so "
            "later scripts leave it out; to do: mend the tests, or give analyze.py, bug_inject.py "
            "and nl2repo.py --unhealthy-too")


def describe_coverage(one: Coverage) -> str:
    """Return the numbers of tests, runs and flaky tests, and why there is no coverage by test."""
    n_flaky = sum(test["flaky"] for test in one.tests)
    known = f"; what each executes is not known: {one.reason}" if one.reason else ""
    return (f"{plural(len(one.tests), 'test')}, {plural(one.measured['runs'], 'run')}, "
            f"{n_flaky} flaky, {one.seconds:.0f} s{known}")


def describe_analysis(one: Analysis) -> str:
    """Return the numbers of definitions and hotspots."""
    return f"{plural(len(one.entities), 'definition')}, {plural(len(one.hotspots), 'hotspot')}"


def describe_document(one: RepoDocument) -> str:
    """Return the numbers of described and stripped functions, and the document's path."""
    n = sum("::" in section["subject"] for section in one.sections)
    return f"{plural(n, 'function')} described, {len(one.index)} stripped as tasks: " \
           f"read {one.directory}/{one.repo_name}.md"


def describe_bugs(bugs: Collection[Task]) -> str:
    """Return the number of bugs by kind, and the number of bugs with an issue text."""
    texts = [bool(bug.instruction) for bug in bugs]
    none = "" if all(texts) else f", {texts.count(False)} without"
    kinds = Counter(str((bug.proof or {}).get("family") or bug.about.get("method") or "by hand")
                    for bug in bugs)
    listed = ", ".join(f"{name} {n}" for name, n in kinds.most_common())
    whys = Counter(str(cases.get("none", "with held-out cases")) for bug in bugs
                   if isinstance(cases := (bug.proof or {}).get("cases"), dict))
    return (f"{plural(len(texts), 'bug')} proven ({listed}), {texts.count(True)} with a text{none}"
            + "".join(f"; {n} {why}" for why, n in whys.most_common()))


def describe_strips(patches: Iterable[StripPatch], proven: Collection[str],
              excluded: Mapping[tuple[str, str], LastAttempt]) -> str:
    """Return the number of proven stripped patches by kind, and why others that passed screening
    are not proven. `proven` holds ids; `excluded` is the ledger's, by (stage, id)."""
    why = {id: attempt.error for (_, id), attempt in excluded.items() if id not in proven}
    tried, n_proven, whys = Counter(), Counter(), Counter()
    for patch in patches:
        tried[patch.kind] += 1
        n_proven[patch.kind] += patch.id in proven
        if patch.id in why and patch.screened.get("verdict") == GOOD:
            whys[why[patch.id]] += 1
    kinds = ", ".join(f"{kind} {n_proven[kind]} of {n}" for kind, n in tried.items())
    reasons = "".join(f"; {reason} ({n})" for reason, n in whys.items())
    return f"{n_proven.total()} of {tried.total()} stripped patches proven: {kinds}{reasons}"
