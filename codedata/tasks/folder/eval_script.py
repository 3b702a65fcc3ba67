"""Make and run the evaluation script of a task. The script contains the task's verifier and tests,
and prints results for graders."""
from __future__ import annotations

import base64
import gzip
import io
import re
import tarfile
from collections.abc import Mapping

from codedata.bounded import read_bounded
from codedata.disk.layouts import content_of
from codedata.disk.locks import temporary_folder
from codedata.errors import Excluded
from codedata.records import Task
from codedata.sandbox import OUTPUT_BYTES, Sandbox
from codedata.sandbox.archives import UnsafeArchive
from codedata.suites.project_suite import REPORTS, Run, run_suite
from codedata.suites.source import TOOLS
from codedata.tasks.folder.task_folder import TEST_PATCH
from codedata.terminal import named
from codedata.texts import fill, text_of
from codedata.verifier.junit import restored_name
from codedata.verifier.suite import MARKS

MARK = ">>>>> "            # prefix of all marks of SWE-bench's harness
FOLDER = f"{TOOLS}-evaluation"   # the folder of a running script and its output
MAX_BYTES = 2_000_000      # limit for a script
LINE = re.compile(r"(PASSED|FAILED|ERROR|SKIPPED) (\S+)")


def eval_script(tests: Mapping[str, str]) -> str:
    """Return a bash script that runs the tests of a task (tests_folder.suite_tests) in the folder
    of its source. For each case it prints a line such as "PASSED name" between the marks of
    SWE-bench's harness. It exits with the code of the test script. The script needs base64, tar,
    Python 3.7 and a folder for temporary files. Raise Excluded if the script is too long.

    Names are escaped by junit.escaped_name(), as in FAIL_TO_PASS.
    """
    text = base64.encodebytes(_archive(tests)).decode().rstrip("\n")
    script = fill(text_of("codedata.verifier", "eval_script.sh"), files=text)
    if len(script) > MAX_BYTES:
        raise Excluded(f"its evaluation script would have {len(script):,} bytes, more than "
                       f"{MAX_BYTES:,}.")
    return script


def script_of(task: Task) -> str:
    """Return the evaluation script of a repository's task, made from its tests/."""
    return eval_script({name: content_of(file).decode() for name, file in task.tests.items()
                        if name != TEST_PATCH})


def _archive(tests: Mapping[str, str]) -> bytes:
    """Return a compressed tar of files; equal files give equal bytes."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file, \
            tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(tests):
            data = tests[path].encode()
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def printed_results(output: str) -> dict[str, str]:
    """Return {name: status} from the lines that an evaluation script printed between its marks.
    Raise ValueError if a mark is missing or repeated, or if another line is between them."""
    before, _, rest = output.partition(f"{MARKS[0]}\n")
    between, ended, behind = rest.partition(f"{MARKS[1]}\n")
    if not ended or MARK in before + between + behind:
        raise ValueError("its output has no marks of graders, or more than two")
    lines = [*map(LINE.fullmatch, between.removesuffix("\n").split("\n"))]
    if not lines or not all(lines):
        raise ValueError("a line between the marks is no result")
    return {restored_name(line[2]): line[1].lower() for line in lines}


def run_evaluation(sandbox: Sandbox, script: str, timeout_s: float) -> tuple[Run, str]:
    """Run an evaluation script. Return (the run with its cases; the whole output, or "" if it
    cannot be read)."""
    log = f"{FOLDER}/log"
    run = run_suite(sandbox, f"mkdir -p {FOLDER}\nbash {TOOLS}/eval.sh >{log} 2>&1\ncode=$?\n"
                             f"cat {log}\nexit $code", timeout_s,
                    beside={"eval.sh": script.encode()}, after_line=MARKS[1])
    if run.done.n_bytes <= OUTPUT_BYTES and not run.timed_out:   # the output is complete
        return run, run.text
    with temporary_folder() as folder:
        try:
            sandbox.get(log, folder, REPORTS)
            return run, read_bounded(folder / "log").decode(errors="replace")
        except (UnsafeArchive, OSError):   # the suite has replaced the file, or it is too large
            return run, ""


def misread(run: Run, printed: str) -> str:
    """Return why graders would read other results from the printed output than the run's, or ""."""
    try:
        read = printed_results(printed)
    except ValueError as e:
        return f"graders cannot read its results: {e}"
    differing = read.items() ^ {(case.name, case.status) for case in run.results}
    if differing:
        names = sorted({name for name, _ in differing})
        return f"graders would read other results: {named(names)}"
    if run.exit_code and not {"failed", "error"} & {case.status for case in run.results}:
        return f"graders count no run that ends with exit code {run.exit_code} though no test fails"
    return ""
