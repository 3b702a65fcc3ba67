"""Verify that an install script and a test script work, by running them in a fresh container.

The install script runs once with the network on. Committed files that it changed are restored, and
an image is made of the result. The test script runs twice in the container, then once more, and
once with the network off, in a container of that image. Cases that repeat are the result, cases
that differ between the first three runs are flaky, and cases that differ only without the network
need it. This proves what the runs showed, not that a test that passed four times will never fail.
"""
from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from codedata.bounded import read_bounded
from codedata.code.test_results import Case, counts, not_collected, over, parse
from codedata.env import outside
from codedata.env.causes import Cause, cause_of
from codedata.env.isolation import LOOK_S, TOOLS, history_after, now, restore, run_tool, shadows
from codedata.env.recipes.script import RESULTS
from codedata.env.runs import Run, compare, unreported_files, why_not_healthy
from codedata.sandbox import Result, Sandbox, SandboxDied
from codedata.sandbox.archives import Bounds, OverBounds, UnsafeArchive

CHECKS = ("source", "install", "tests", "repeat", "history", "shadow", "offline", "sandbox", "recipe")
REPEATED = 0.8             # minimum share of a run's cases that must be the same in all three
REPORTS = Bounds(max_bytes=100_000_000, max_files=10_000, max_depth=32, max_seconds=60)   # for all reports of a run
Opener = Callable[[str], Sandbox]   # opens a fresh sandbox of an image; "" is the base image


@dataclass(frozen=True)
class Limits:
    """Hold the seconds that each script may take."""

    install_s: float = 900.0
    test_s: float = 900.0


@dataclass(frozen=True)
class Project:
    """Hold what the checks have to know about the source."""

    source: Path | None = None      # a folder of the host; None: the image's working directory
    commit: str = ""                # the end of the history; "": HEAD with uncommitted changes
    distribution: str = ""          # the names under which another copy could be installed
    modules: tuple[str, ...] = ()
    node_package: str = ""


@dataclass(frozen=True)
class Verified:
    """Hold the result of a verification. Without `failed` the environment works as far as
    `results` show."""

    failed: str = ""                       # the check that failed, one of CHECKS
    cause: Cause = field(default_factory=Cause)
    results: list[dict[str, str]] = field(default_factory=list)   # with the network off, without the flaky ones
    flaky: list[str] = field(default_factory=list)
    needs_network: list[str] = field(default_factory=list)
    not_collected: list[str] = field(default_factory=list)
    unreported_files: list[str] = field(default_factory=list)             # test files that no case name refers to
    n_test_files: int = 0
    restored: list[str] = field(default_factory=list)           # committed files that the install had changed
    changed_by_tests: list[str] = field(default_factory=list)   # committed files that the tests wrote, changed or not
    n_passed: int = 0
    n_cases: int = 0                       # in the run with the network off, with the flaky ones
    share_passed: float = 0.0              # among the cases that ran
    share_skipped: float = 0.0             # among all cases
    healthy: bool = False                  # the whole suite ran, ≥ 95 % passed, at most a fifth was skipped
    base_commit: str = ""
    image_id: str = ""
    install_s: float = 0.0
    test_s: tuple[float, ...] = ()         # seconds of each run
    log: str = ""                          # output of the run that was not as it should be, else of the first test run
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """Return whether no check failed."""
        return not self.failed

    @property
    def phase(self) -> str:
        """Return which script `log` comes from, "install" or "test"."""
        return "install" if self.failed == "install" else "test"


def verify(open_sandbox: Opener, project: Project, install_script: str, test_script: str, limits: Limits,
           image_name: str = "", only_if: Callable[[Run], bool] = lambda run: True) -> Verified:
    """Run both scripts and make every check up to the first that fails. Return the result.

    With `image_name` an image is made under that name, even where a later check fails. The caller
    keeps it or removes it, with whatever else the run made. `only_if` gets the first run of the
    tests; where it returns False, nothing more is run and the failed check is `tests`.
    """
    try:
        with open_sandbox("") as sandbox:
            return _verify(sandbox, open_sandbox, project, install_script, test_script, limits, image_name, only_if)
    except SandboxDied as e:
        told = cause_of("test", e.what)   # recognizes memory and disk limits
        return Verified(failed="sandbox", cause=told if told.name != "other" else Cause("sandbox_died", e.what))


def _verify(sandbox, open_sandbox, project, install_script, test_script, limits, image_name, only_if) -> Verified:
    """Return the result of all checks; see verify()."""
    base_commit, trouble = put_source(sandbox, project)
    if trouble:
        return Verified(failed="source", cause=Cause("source", trouble), log=trouble)
    found = Verified(base_commit=base_commit)
    sandbox.network(True)
    installed, restored = run_install(sandbox, base_commit, install_script, limits.install_s)
    found = replace(found, install_s=installed.seconds, restored=restored)
    if not installed.ok:
        cause = Cause("time_limit", f"the install took more than {limits.install_s:g} s") if installed.timed_out else (
            cause_of("install", installed.output))
        return replace(found, failed="install", cause=cause, log=installed.output, timed_out=installed.timed_out)
    if image_name:
        found = replace(found, image_id=sandbox.commit(image_name, keep=False))
    elif (left := check_leftovers(found, sandbox, project, test_script)).failed:   # now, since tests may commit, too
        return left
    runs = [run_tests(sandbox, test_script, limits.test_s)]
    found = replace(found, log=runs[0].text, test_s=(runs[0].seconds,), **_figures(runs[0]))
    if not found.n_passed or not only_if(runs[0]):
        return replace(found, failed="tests", cause=why_not_healthy(runs[0], limits.test_s))
    runs.append(run_tests(sandbox, test_script, limits.test_s))
    if not image_name:
        return _repeated(sandbox, found, runs, test_script, limits)
    sandbox.close()
    with open_sandbox(image_name) as fresh:
        found = check_leftovers(found, fresh, project, test_script, image_name)
        if found.failed:
            return found
        fresh.network(True)
        return _repeated(fresh, found, runs, test_script, limits)


def _repeated(sandbox, found, runs, test_script, limits) -> Verified:
    """Run the tests a third time and, where all three runs agree, once without network. Return
    the result."""
    began = now(sandbox)
    runs = [*runs, run_tests(sandbox, test_script, limits.test_s)]
    stable, flaky = compare(runs)
    found = replace(found, flaky=flaky, test_s=tuple(run.seconds for run in runs),
                    changed_by_tests=restore(sandbox, found.base_commit, began)[0])
    least = min(sum(case["name"] in stable for case in run.results) / max(len(run.results), 1) for run in runs)
    if least < REPEATED or "passed" not in stable.values():
        told = f"{len(flaky)} cases differ between {len(runs)} runs, such as {flaky[0]}"
        return replace(found, failed="repeat", cause=Cause("unstable", told))
    sandbox.network(False)
    run = run_tests(sandbox, test_script, limits.test_s)
    found = replace(found, test_s=(*found.test_s, run.seconds), **_figures(run))
    alone = {case["name"]: case["status"] for case in run.results}
    results = [{"name": name, "status": alone[name]} for name in stable if name in alone]
    changed = [name for name, status in stable.items() if alone.get(name) != status]
    unreported, n_files = unreported_files(_committed(sandbox), run.results)
    found = replace(found, results=results, needs_network=changed, unreported_files=unreported, n_test_files=n_files)
    if not any(case["status"] == "passed" for case in results):
        cause = Cause("offline", cause_of("test", run.text).evidence)
        return replace(found, failed="offline", cause=cause, log=run.text)
    bad = run if not run.healthy else next((before for before in runs if not before.is_complete), None)
    return replace(found, healthy=False, cause=why_not_healthy(bad, limits.test_s), log=bad.text) if bad else found


# the parts -----------------------------------------------------------------------------------------------------------

def put_source(sandbox: Sandbox, project: Project) -> tuple[str, str]:
    """Put the source into the sandbox's working directory, as a repository whose history ends at
    the project's commit. Return (commit, "") or ("", error message)."""
    origin = f"{TOOLS}/source"
    if project.source is None:
        sandbox.run(f"mkdir -p {origin} && cp -a . {origin}/", timeout_s=LOOK_S)
    else:
        sandbox.put(project.source, origin)
    done = run_tool(sandbox, "clean_history.sh", origin, sandbox.workdir, project.commit)
    said = done.output.strip()
    last = said.rpartition("\n")[2]
    return (last, "") if done.ok and re.fullmatch(r"[0-9a-f]{40,64}", last) else ("", said[-500:] or "no output")


def run_script(sandbox: Sandbox, script: str, timeout_s: float) -> Result:
    """Run a script as a file in the working directory and return its result. It leaves nothing
    behind in the state of the shell."""
    sandbox.put({"script.sh": script.encode()}, TOOLS)
    done = sandbox.run(f"bash {TOOLS}/script.sh", timeout_s=timeout_s)
    sandbox.run(f"rm -rf {TOOLS}")
    return done


def run_install(sandbox: Sandbox, commit: str, script: str, timeout_s: float) -> tuple[Result, list[str]]:
    """Run an install script. Return its result and the committed files that it changed. They are
    restored, since the source is tested as it is committed."""
    done = run_script(sandbox, script, timeout_s)
    restored, trouble = restore(sandbox, commit) if done.ok else ([], "")
    if trouble:
        done = replace(done, exit_code=1, output=f"{done.output}\nthe source cannot be put back: {trouble}")
    return done, restored


def _committed(sandbox: Sandbox) -> list[str]:
    """Return the paths of the source's files."""
    return sandbox.run("git -c safe.directory='*' -c core.quotePath=false ls-files").output.splitlines()


def run_tests(sandbox: Sandbox, test_script: str, timeout_s: float) -> Run:
    """Run the test script once. Return the run with its cases."""
    started = time.monotonic()
    sandbox.run(f"rm -rf {RESULTS}")
    done = run_script(sandbox, test_script, timeout_s)
    reports, limit = _reports(sandbox)
    return Run(done.exit_code, round(time.monotonic() - started, 2), done.timed_out, done.output,
               parse(reports, done.output, limit))


def _reports(sandbox: Sandbox) -> tuple[dict[str, bytes], list[Case]]:
    """Return ({path: content} of the folder of results, an error case for a limit that it
    exceeds)."""
    if not sandbox.run(f"[ -d {RESULTS} ] && chmod -R a+rX {RESULTS}").ok:
        return {}, []
    with tempfile.TemporaryDirectory() as folder:
        try:
            sandbox.get(RESULTS, Path(folder), REPORTS)
        except OverBounds as e:
            return {}, [over(e.kind, e.what)]
        except UnsafeArchive:   # a link leads out: no report counts
            return {}, []
        return {str(path.relative_to(folder)): read_bounded(path, REPORTS.max_bytes)
                for path in sorted(Path(folder).rglob("*")) if path.is_file() and not path.is_symlink()}, []


def _figures(run: Run) -> dict:
    """Return the fields of Verified that come from one run."""
    return {"n_passed": counts(run.results)["passed"], "n_cases": len(run.results), "healthy": run.healthy,
            "share_passed": round(run.share_passed, 4), "share_skipped": round(run.share_skipped, 4),
            "not_collected": not_collected(run.results), "timed_out": run.timed_out}


def check_leftovers(found: Verified, sandbox: Sandbox, project: Project, test_script: str,
                      image_name: str = "") -> Verified:
    """Return `found`, failed where the sandbox or its image holds another history or another
    copy of the project. Where the files can be read from outside, the sandbox's own git is not
    trusted for the history."""
    names = project.distribution, project.modules, project.node_package, test_script
    if hasattr(sandbox, "files"):
        with sandbox.files(image_name) as files:
            left, copies = outside.look(files, sandbox.workdir, found.base_commit, *names)
    else:
        left, copies = history_after(sandbox, found.base_commit), []
    if left:
        return replace(found, failed="history", cause=Cause("history", left[0]))
    if copies := shadows(sandbox, *names) or copies:
        return replace(found, failed="shadow", cause=Cause("shadowed", copies[0]))
    return found
