"""Run a project's test script, unchanged, in a sandbox, and read the results of its test runners.

The script may write reports to RESULTS; if it writes none, its output is read. Whether a run was
complete, and which cases are stable, is decided from the runs only.
"""
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from codedata.disk.locks import temporary_folder
from codedata.errors import ItemFailed
from codedata.sandbox import Result, Sandbox, SandboxDied
from codedata.sandbox.archives import Bounds, OverBounds
from codedata.suites.source import TOOLS, files_in, run_tool
from codedata.suites.test_results import Case, Found, counts, not_collected, over, parse
from codedata.texts import text_of

PLUGINS = "/tmp/codedata-"   # prefix of the folder of a plugin; the plugin's name follows
RESULTS = "/tmp/results"   # where test scripts write reports, outside the source folder
READABLE = f"[ ! -d {RESULTS} ] || chmod -R a+rX {RESULTS}"
# limits of all reports of a run together
REPORTS = Bounds(max_bytes=100_000_000, max_files=10_000, max_depth=32, max_seconds=60)
MIN_PASSED = 0.95          # minimum share of passed cases among all that ran, in a healthy suite
STOPPED = re.compile(r"^(?:!{5,} .+ !{5,}|Bail out!.*|panic: .*|Fatal Python error: .*"
                     r"|INTERNALERROR> .*)$", re.MULTILINE)
NONE: Mapping[str, bytes] = MappingProxyType({})
CRASHED = 128              # this exit code or a higher one: a signal killed the test runner


@dataclass(frozen=True)
class Run:
    """Hold one run of the test script."""

    done: Result
    results: list[Case]

    @property
    def exit_code(self) -> int:
        """Return the exit code of the script."""
        return self.done.exit_code

    @property
    def seconds(self) -> float:
        """Return the duration of the script in seconds."""
        return round(self.done.seconds, 2)

    @property
    def timed_out(self) -> bool:
        """Return whether the script was killed at its time limit."""
        return self.done.timed_out

    @property
    def text(self) -> str:
        """Return the output of the script."""
        return self.done.output

    @property
    def statuses(self) -> dict[str, str]:
        """Return {name: status} of the cases."""
        return {case.name: case.status for case in self.results}

    @property
    def is_complete(self) -> bool:
        """Return whether the suite ran to its end, all its tests were collected, and the exit code
        agrees with the cases."""
        return not (self.timed_out or self.exit_code >= CRASHED or not_collected(self.results)
                    or self.truncated_at or self.unexplained)

    @property
    def truncated_at(self) -> str:
        """Return the test runner's printed line that says it stopped early, or ""."""
        line = STOPPED.search(self.text)
        return line[0].strip() if line else ""

    @property
    def unexplained(self) -> bool:
        """Return whether the exit code contradicts the cases. If the script failed but no case
        did, the test runner stopped early, or something other than a test failed. If the script
        succeeded but a case failed, the exit code does not show that the suite ran to its end."""
        n = counts(self.results)
        return bool(self.results) and (self.exit_code == 0) == bool(n["failed"] + n["error"])

    @property
    def share_passed(self) -> float:
        """Return the share of passed cases among the cases that ran; 0.0 if none ran."""
        n = counts(self.results)
        n_run = len(self.results) - n["skipped"]
        return n["passed"] / n_run if n_run else 0.0

    @property
    def share_skipped(self) -> float:
        """Return the share of skipped cases among all; 0.0 if there are none."""
        return counts(self.results)["skipped"] / len(self.results) if self.results else 0.0

    @property
    def healthy(self) -> bool:
        """Return whether the whole suite ran and enough of the cases that ran passed."""
        return self.is_complete and self.share_passed >= MIN_PASSED


def run_suite(sandbox: Sandbox, test_script: str, timeout_s: float, *,
              env: Mapping[str, str] | None = None, beside: Mapping[str, bytes] = NONE,
              after_line: str = "") -> Run:
    """Run a test script once, and return the run with its cases. `env` adds environment variables;
    the files in `beside` are put into TOOLS. If the output has the line `after_line`, read only the
    output after it. In the local sandbox, reports are not read."""
    if sandbox.name == "local":   # its /tmp/results is this machine's
        done, reports, limit = run_script(sandbox, test_script, timeout_s, env), {}, []
    else:
        done = run_script(sandbox, test_script, timeout_s, env, before=f"rm -rf {RESULTS}",
                          after=READABLE, beside=beside)
        reports, limit = reports_in(sandbox)
    text = done.output.partition(f"\n{after_line}\n")[2] if after_line else ""
    return Run(done, parse(reports, text or done.output, limit))


def place_plugin(sandbox: Sandbox, name: str, files: Mapping[str, bytes]) -> dict[str, str]:
    """Place a pytest plugin of this package, and the files that it reads, next to each pytest of a
    sandbox. Return the environment variables that load the plugin even if a script disables
    installed plugins; {} if pytest is missing, or the plugin cannot be placed."""
    folder, plugin = PLUGINS + name, f"pytest_{name}.py"
    sandbox.put({plugin: text_of("codedata.suites.programs", plugin).encode(), **files}, folder)
    is_placed = run_tool(sandbox, "place_plugin.sh", folder, name).ok
    return {"PYTEST_PLUGINS": f"codedata_{name}"} if is_placed else {}


def compare(runs: list[Run]) -> tuple[dict[str, str], list[str]]:
    """Return ({name: status} of the cases with the same status in all runs, the sorted names of all
    other cases)."""
    outcomes = [run.statuses for run in runs]
    stable = {name: status for name, status in outcomes[0].items()
              if all(run.get(name) == status for run in outcomes)}
    return stable, sorted({name for run in outcomes for name in run} - set(stable))


def run_script(sandbox: Sandbox, script: str, timeout_s: float,
               env: Mapping[str, str] | None = None, *, before: str = ":", after: str = ":",
               beside: Mapping[str, bytes] = NONE) -> Result:
    """Put a script and the files in `beside` into a folder, run the script in the working directory
    between the commands `before` and `after`, and return its result. All run in a subshell, so the
    state of the shell does not change."""
    folder = f"{sandbox.workdir}/.codedata" if sandbox.name == "local" else TOOLS
    sandbox.put({"script.sh": script.encode(), **beside}, folder)
    ends = f"rm -rf {folder}; {after}"
    done = sandbox.run(f"({before}; bash {folder}/script.sh; code=$?; {ends}; exit $code)",
                       timeout_s=timeout_s, env=dict(env or {}))
    if done.timed_out or done.exit_code >= CRASHED:   # the outer shell may have ended, too
        sandbox.run(ends)
    return done


def reports_in(sandbox: Sandbox) -> tuple[dict[str, bytes], list[Found]]:
    """Return ({path: content} of the files in RESULTS, an error case if they exceed a limit)."""
    with temporary_folder() as folder:
        try:
            sandbox.get(RESULTS, folder, REPORTS)
        except OverBounds as e:
            return {}, [over(e.kind, e.what)]
        except SandboxDied:
            raise
        except ItemFailed:   # RESULTS is missing, or a link leads out of it
            return {}, []
        return {name: path.read_bytes() for name, path in files_in(folder).items()}, []
