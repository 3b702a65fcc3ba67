"""Measure the recorder of calls on the environments of a root: what it costs, what it changes, how
much of what it notes can be shown again, and what reports and documents come of it.

  python benchmarks/facts.py --root ROOT [--only 'schema*']

ROOT has env/; with bug/ or nl2repo/_facts/ their shares are printed, too. Each suite runs twice as
it is and twice with the recorder, in one container each. One JSON line on stdout.
"""
import json
import sys
from collections import Counter
from functools import partial

from measure import PROJECT, machine

sys.path.insert(0, str(PROJECT))
from codedata import cli
from codedata.bugs.instances import bug_tasks
from codedata.config import load
from codedata.llm import Models
from codedata.nl2repo.facts import facts_about, is_describable
from codedata.nl2repo.sources import sources_of
from codedata.nl2repo.strip import Strippable
from codedata.records import BugReport, Coverage, Environment, RepoFacts
from codedata.sandbox.factory import SandboxFactory
from codedata.states import Selection
from codedata.store import Store, known
from codedata.suites.environments import labelled, open_environment
from codedata.suites.recorded_calls import RESULT, jobs_of, record, replay
from codedata.suites.suite import run_suite

LIMIT_S = 900
RUNS = 2


def main() -> int:
    parser = cli.parser(__doc__, "bug", "sandbox")
    cli.sandbox_flags(parser, pod_prefix="code-data-facts")
    args = parser.parse_args()
    settings = load(args)
    environments = Store(settings.root, Environment).open()
    chosen = filter(Selection(only=args.only or "").matches, environments.names())
    with Models(settings) as models:
        host = SandboxFactory(settings, models.stop)
        rows = []
        for name in chosen:
            if "pytest" in environments.read(name).test_script:
                rows.append(measured(environments.read(name), host))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(json.dumps({"benchmark": "facts", **machine(), "projects": rows,
                      "reports": reports_in(settings.root),
                      "documents": documents_in(settings.root)}))
    return 0


def measured(environment: Environment, host: SandboxFactory) -> dict:
    """Return the figures of one project's suite."""
    script = environment.test_script
    with (labelled(host, environment.repo_name) as label,
          open_environment(environment, host, label) as sandbox):
        plain = [run_suite(sandbox, script, LIMIT_S) for _ in range(RUNS)]
        recorded = [record(sandbox, script, LIMIT_S) for _ in range(RUNS)]
        first, second = ({(one.test, RESULT.sub("r", one.expr or ""), one.result, one.raised)
                          for one in events} for _, events in recorded)
        events = recorded[0][1]
        jobs = jobs_of(events)
        facts = [one for one in replay(sandbox, jobs, script, prune=True, total_s=600) if one]
    statuses = partial(map, lambda run: {case.name: case.status for case in run.results})
    before, after = [*statuses(plain)], [*statuses(run for run, _ in recorded)]
    stable = {name for name in before[0] if before[0][name] == before[1].get(name)}
    seconds = [min(run.seconds for run in runs) for runs in (
        plain, [run for run, _ in recorded])]
    return {"project": environment.repo_name, "tests": len(before[0]),
            "suite_s": seconds[0], "times": round(seconds[1] / seconds[0], 2),
            "changed": sorted(name for name in stable if any(
                before[0][name] != one.get(name) for one in after)),
            "events": len(events), "mb": round(sum(len(str(one)) for one in events) / 1e6, 2),
            "not_shown": dict(Counter(one.why for one in events if one.why).most_common(5)),
            "scripts": len(jobs), "facts": len(facts),
            "equal_twice": round(len(first & second) / max(1, len(first | second)), 4)}


def reports_in(root) -> dict:
    """Return {project: bugs, with a report, of these with a varied case}."""
    reports, counts = Store(root, BugReport).open(), {}
    for name in bug_tasks(root).open().names():
        row = counts.setdefault(name.partition(".")[0], Counter())
        report = known(reports, name)
        row["bugs"] += 1
        row["reports"] += bool(report)
        row["varied"] += bool(report) and (report.reproduction or {}).get("case") == "varied"
    return {name: dict(row) for name, row in counts.items()}


def documents_in(root) -> dict:
    """Return {project: functions that can be stripped, of these described without a model, facts,
    and those of them that are held out}."""
    rows = {}
    recorded = Store(root, RepoFacts).open()
    for name in recorded.names():
        facts = recorded.read(name).facts
        strippable = Strippable(sources_of(root, name), Store(root, Coverage).read(name))
        described = [id for id in strippable.ids if is_describable(
            strippable.entity(id).docstring, facts_about(id, facts))]
        rows[name] = {"strippable": len(strippable.ids), "described": len(described),
                      "facts": len(facts), "held_out": sum(one["held_out"] for one in facts)}
    return rows


if __name__ == "__main__":
    sys.exit(main())
