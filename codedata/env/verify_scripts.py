"""Verify that an install script and a test script work, by running them in a fresh container.

The install script runs once with the network on. Committed files that it changed are restored, and
an image is made of the result. The test script runs twice in the container, then in a container of
that image once with and once without the network. The result is the cases with the same status in
all runs. Cases that differ between the first three runs are flaky; cases that differ only without
the network need it. A suite is not healthy if most test files have no case. The image must have no
later history, and no other copy of the project. At the end, the tests run with a broken source: a
script that does not notice this is hollow. Not promised: a test that passed four times may still be
flaky.
"""
from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from codedata.env.causes import Cause, cause_of
from codedata.env.health import part_of_suite, unreported_files, why_hollow, why_not_healthy
from codedata.run.talk import begin_step
from codedata.sandbox import Result, Sandbox, SandboxDied
from codedata.suites import outside
from codedata.suites.breaking import break_source
from codedata.suites.leftovers import history_after, shadows
from codedata.suites.project_suite import Run, compare, run_script, run_suite
from codedata.suites.source import Project, now, put_source, restore
from codedata.suites.test_results import GOOD, counts, not_collected

CLEAN = "rm -f /var/cache/apt/*.bin"   # removes 76 MB that apt can rebuild
STEPS = 6                  # number of steps of a verification
MIN_BROKEN_S = 60          # time limit with the broken source: this plus twice the usual time
MIN_REPEATED = 0.8         # share of cases that all runs must agree on, or that one run must have
LISTED = "git -c safe.directory='*' -c core.quotePath=false ls-files"


@dataclass(frozen=True)
class Verified:
    """Hold the result of a verification. If `failed` is empty, the environment works, and `results`
    shows how well."""

    # the check that failed: source | install | tests | repeat | history | shadow | offline |
    # hollow | sandbox, or recipe if there were no scripts
    failed: str = ""
    cause: Cause = field(default_factory=Cause)
    # cases of the run without the network, except flaky ones
    results: list[dict[str, str]] = field(default_factory=list)
    flaky: list[str] = field(default_factory=list)
    needs_network: list[str] = field(default_factory=list)
    not_collected: list[str] = field(default_factory=list)
    # test files that no case name mentions
    unreported_files: list[str] = field(default_factory=list)
    # committed files that the install had changed
    restored: list[str] = field(default_factory=list)
    # committed files that the tests wrote, even if with the same content
    changed_by_tests: list[str] = field(default_factory=list)
    n_passed: int = 0
    n_cases: int = 0                       # in the run without the network; flaky cases count
    share_passed: float = 0.0              # among the cases that ran
    share_skipped: float = 0.0             # among all cases
    # the whole suite ran, and ≥ 95 % of the cases that were not skipped passed
    healthy: bool = False
    base_commit: str = ""
    image_id: str = ""
    install_s: float = 0.0
    test_s: tuple[float, ...] = ()         # seconds of each run
    # output of the run that failed or was unhealthy, else of the first test run
    log: str = ""
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """Return whether no check failed."""
        return not self.failed

    @property
    def is_healthy(self) -> bool:
        """Return whether no check failed and the suite is healthy."""
        return self.ok and self.healthy

    @property
    def phase(self) -> str:
        """Return the script that printed `log`, "install" or "test", or "hollow" for the run with
        the broken source."""
        return self.failed if self.failed in ("install", "hollow") else "test"

    def as_attempt(self, recipe: str) -> dict:
        """Return the entry of the record's `attempts` for the scripts of this recipe."""
        return {"recipe": recipe, "failed": self.failed, "cause": self.cause.name,
                "evidence": self.cause.evidence, "n_passed": self.n_passed,
                "n_cases": self.n_cases, "healthy": self.is_healthy}


@dataclass(frozen=True)
class Verifier:
    """Verify scripts for one project, in fresh sandboxes that open_sandbox(image) opens. A script
    may take `limit_s` seconds.

    With `image_name`, make an image of that name after the install, even if a later check fails.
    The caller removes whatever it does not keep.
    """

    open_sandbox: Callable[..., Sandbox]
    project: Project
    limit_s: float = 900.0
    image_name: str = ""
    base_image: str = ""       # runs the install script

    def verify(self, install_script: str, test_script: str, only_healthy: bool = False,
               like: Verified | None = None) -> Verified:
        """Run both scripts, and make all checks up to the first that fails. Return the result. With
        `only_healthy`, an unhealthy first run counts as a failure of the check `tests`. `like` is
        the result of these scripts for another commit: if the first run agrees with it, one run is
        enough."""
        try:
            with self.open_sandbox(self.base_image) as sandbox:
                return self._verify(sandbox, install_script, test_script, only_healthy, like)
        except SandboxDied as e:
            cause = cause_of("test", e.what)   # recognizes memory and disk limits
            return Verified(failed="sandbox", cause=Cause("sandbox_died", e.what)
                            if cause.name == "other" else cause)

    def verify_installed(self, test_script: str, like: Verified) -> Verified | None:
        """Put this commit's source into `base_image`, another commit's image, install nothing, and
        run the tests once. Return the result, or None if it is not healthy or does not agree with
        `like`, the other commit's result."""
        try:
            with self.open_sandbox(self.base_image) as sandbox:
                commit, trouble = put_source(sandbox, self.project, keeps_others=True)
                if trouble or not self.image_name:
                    return None
                image_id = sandbox.commit(self.image_name, keep=False)
            return self._once(Verified(base_commit=commit, image_id=image_id), test_script, like,
                              was_searched=True)
        except SandboxDied:
            return None   # the next verification reports the reason

    def install(self, sandbox: Sandbox, commit: str, script: str) -> tuple[Result, list[str]]:
        """Run an install script. Return its result, and the committed files that it changed. These
        are restored, so that the committed source is tested."""
        done = run_script(sandbox, script, self.limit_s)
        restored, trouble = restore(sandbox, commit) if done.ok else ([], "")
        if trouble:
            done = replace(done, exit_code=1,
                           output=f"{done.output}\nthe source cannot be put back: {trouble}")
        return done, restored

    def test(self, sandbox: Sandbox, script: str) -> Run:
        """Run the test script once. Return the run with its cases."""
        return run_suite(sandbox, script, self.limit_s)

    def _verify(self, sandbox: Sandbox, install_script: str, test_script: str,
                only_healthy: bool, like: Verified | None) -> Verified:
        """Return the result of all checks."""
        begin_step("install", 1, STEPS)
        commit, trouble = put_source(sandbox, self.project)
        if trouble:
            return Verified(failed="source", cause=Cause("source", trouble), log=trouble)
        sandbox.network(True)
        installed, restored = self.install(sandbox, commit, install_script)
        result = Verified(base_commit=commit, install_s=installed.seconds, restored=restored)
        if not installed.ok:
            cause = cause_of("install", installed.output)
            if installed.timed_out:
                cause = Cause("time_limit", f"the install took more than {self.limit_s:g} s")
            return replace(result, failed="install", cause=cause, log=installed.output,
                           timed_out=installed.timed_out)
        if self.image_name:
            sandbox.run(CLEAN)
            result = replace(result, image_id=sandbox.commit(self.image_name, keep=False))
            if like and (found := self._once(result, test_script, like)):
                return found
        else:   # check now, since tests may make commits
            result = self._check_leftovers(result, sandbox, test_script)
            if result.failed:
                return result
        begin_step("tests", 2, STEPS)
        runs = [self.test(sandbox, test_script)]
        result = promising(result, runs[0], self.limit_s, only_healthy)
        if result.failed:
            return result
        begin_step("tests again", 3, STEPS)
        runs.append(self.test(sandbox, test_script))
        if not self.image_name:
            begin_step("tests a third time", 4, STEPS)
            return self._repeat(sandbox, result, runs, test_script)
        sandbox.close()
        begin_step("tests in a fresh container", 4, STEPS)
        with self.open_sandbox(self.image_name) as fresh:
            result = self._check_leftovers(result, fresh, test_script)
            if result.failed:
                return result
            fresh.network(True)
            return self._repeat(fresh, result, runs, test_script)

    def _once(self, result: Verified, test_script: str, like: Verified,
              was_searched: bool = False) -> Verified | None:
        """Run the tests once, without network, in a container of the image. Return the result, with
        the flaky cases of `like` and its cases that need the network. Return None if the result is
        not healthy or does not agree with `like`: if a known case has another status, a new case
        fails, or many cases are gone."""
        begin_step("tests once", 2, STEPS)
        with self.open_sandbox(self.image_name) as fresh:
            result = self._check_leftovers(result, fresh, test_script, was_searched)
            if result.failed:
                return None
            began, run = now(fresh), self.test(fresh, test_script)
            statuses = run.statuses
            known = {case["name"]: case["status"] for case in like.results}
            shared = known.keys() & statuses.keys()
            flaky = flaky_as(like, statuses.keys() - known.keys())
            agrees = all(status in (GOOD if name not in known else [known[name]])
                         for name, status in statuses.items() if name not in flaky)
            if not (run.healthy and agrees and len(shared) >= MIN_REPEATED * len(known)):
                return None
            result = replace(result, log=run.text, changed_by_tests=restore(
                fresh, result.base_commit, began)[0])
            committed = fresh.run(LISTED).output.splitlines()
        result = concluded(result, [run], run, committed, self.limit_s)
        if not result.is_healthy:
            return None
        return replace(
            result, flaky=flaky, test_s=(run.seconds,),
            needs_network=[name for name in like.needs_network if name in statuses],
            results=[case for case in result.results if case["name"] not in flaky])

    def _repeat(self, sandbox: Sandbox, result: Verified, runs: list[Run],
                test_script: str) -> Verified:
        """Run the tests a third time and, if all three runs agree, once without network. Return the
        result."""
        began = now(sandbox)
        runs = [*runs, self.test(sandbox, test_script)]
        result = replace(repeated(result, runs),
                         changed_by_tests=restore(sandbox, result.base_commit, began)[0])
        if result.failed:
            return result
        begin_step("tests without network", 5, STEPS)
        sandbox.network(False)
        run = self.test(sandbox, test_script)
        committed = sandbox.run(LISTED).output.splitlines()
        result = concluded(result, runs, run, committed, self.limit_s)
        return result if result.failed else self._check_hollow(sandbox, result, test_script)

    def _check_hollow(self, sandbox: Sandbox, result: Verified, test_script: str) -> Verified:
        """Break the source and run the tests. Return the result, failed if the test script does not
        notice. If the source cannot be broken, return the result unchanged. The sandbox cannot be
        used afterwards."""
        begin_step("tests of a broken source", 6, STEPS)
        passed = [case["name"] for case in result.results if case["status"] == "passed"]
        n_files, n_built = break_source(sandbox, self.project, test_script)
        if not n_files:
            return result
        usual_s = max(result.test_s, default=0.0)
        limit_s = min(self.limit_s, MIN_BROKEN_S + 2 * usual_s)
        run = replace(self, limit_s=limit_s).test(sandbox, test_script)
        if why := why_hollow(passed, run, bool(n_built)):
            return replace(result, failed="hollow", cause=Cause("hollow", why), healthy=False,
                           results=[], log=run.text)
        return result

    def _check_leftovers(self, result: Verified, sandbox: Sandbox, test_script: str,
                         was_searched: bool = False) -> Verified:
        """Search for another history or copy of the project in the sandbox or its image; return the
        result, failed if there is one. If files can be read from outside, this machine's git reads
        the history, not the sandbox's git. With `was_searched`, search only the source, since the
        rest was searched for another commit."""
        if hasattr(sandbox, "files"):
            with sandbox.files(self.image_name) as files:
                traces, copies = outside.look(files, sandbox.workdir, result.base_commit,
                                              self.project, test_script, was_searched)
        else:
            traces, copies = history_after(sandbox, result.base_commit), []
        if traces:
            return replace(result, failed="history", cause=Cause("history", traces[0]))
        if copies := shadows(sandbox, self.project, test_script) or copies:
            return replace(result, failed="shadow", cause=Cause("shadowed", copies[0]))
        return result


# what runs show ----------------------------------------------------------------------------------

def promising(result: Verified, run: Run, limit_s: float, only_healthy: bool) -> Verified:
    """Return the result with the figures of the first run, whose time limit was `limit_s`. It is
    failed if no case passed or, with `only_healthy`, if the run is not healthy."""
    result = replace(result, log=run.text, test_s=(run.seconds,), **_figures(run))
    if result.n_passed and (result.healthy or not only_healthy):
        return result
    return replace(result, failed="tests", cause=why_not_healthy(run, limit_s))


def repeated(result: Verified, runs: list[Run]) -> Verified:
    """Return the result with the flaky cases of three runs; failed if too many cases are flaky."""
    stable, flaky = compare(runs)
    result = replace(result, flaky=flaky, test_s=tuple(run.seconds for run in runs))
    max_cases = max(len(run.results) for run in runs)
    if len(stable) >= MIN_REPEATED * max_cases and "passed" in stable.values():
        return result
    evidence = f"{len(flaky)} cases differ between {len(runs)} runs, such as {flaky[0]}"
    return replace(result, failed="repeat", cause=Cause("unstable", evidence))


def concluded(result: Verified, runs: list[Run], offline: Run, committed: list[str],
              limit_s: float) -> Verified:
    """Return the result from three runs that agree and a run without the network; failed if no case
    passes without the network. `committed` are the paths of the source's committed files."""
    stable = compare(runs)[0]
    statuses = offline.statuses
    unreported, n_files = unreported_files(committed, offline.results)
    result = replace(
        result, test_s=(*result.test_s, offline.seconds), **_figures(offline),
        unreported_files=unreported,
        results=[{"name": name, "status": statuses[name]} for name in stable if name in statuses],
        needs_network=[name for name, status in stable.items() if statuses.get(name) != status])
    if not any(case["status"] == "passed" for case in result.results):
        cause = Cause("offline", cause_of("test", offline.text).evidence)
        return replace(result, failed="offline", cause=cause, log=offline.text)
    bad = next((one for one in runs if not one.is_complete), None) if offline.healthy else offline
    if bad is None:
        part = part_of_suite(unreported, n_files)
        return replace(result, healthy=False, cause=part) if part.name else result
    return replace(result, healthy=False, log=bad.text, cause=why_not_healthy(bad, limit_s))


def flaky_as(like: Verified, new: Collection[str]) -> list[str]:
    """Return the flaky cases of another commit. Add the `new` cases of parametrized tests
    that are flaky there: a parameter in a case name may be the time."""
    tests = {name.partition("[")[0] for name in like.flaky if "[" in name}
    return sorted({*like.flaky, *(name for name in new if name.partition("[")[0] in tests)})


def _figures(run: Run) -> dict:
    """Return the fields of Verified that come from one run."""
    return {"n_passed": counts(run.results)["passed"], "n_cases": len(run.results),
            "healthy": run.healthy,
            "share_passed": round(run.share_passed, 4),
            "share_skipped": round(run.share_skipped, 4),
            "not_collected": not_collected(run.results), "timed_out": run.timed_out}
