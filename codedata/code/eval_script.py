"""Make the evaluation script of a task: its test script, with results that graders read; and run
it."""
from __future__ import annotations

import json
import re
from pathlib import Path

from codedata.bounded import read_bounded
from codedata.code.junit import restored_name
from codedata.code.source import TOOLS
from codedata.code.suite import REPORTS, RESULTS, Run, run_suite
from codedata.code.test_results import RUNNERS
from codedata.progress import named
from codedata.sandbox import OUTPUT_BYTES, Sandbox
from codedata.sandbox.archives import UnsafeArchive
from codedata.sandbox.process_labels import temporary_folder
from codedata.texts import fill, printable, text_of

MARKS = (">>>>> Start Test Output", ">>>>> End Test Output")   # of SWE-bench's harness
MARK = ">>>>> "            # begins others of its marks, too
FOLDER = f"{TOOLS}-evaluation"   # holds a script while it runs, and what it prints
TEST_SCRIPT = re.compile(r"""^cat >"\$own/tests\.sh" <<'(END_OF_TEST_SCRIPT_*)'\n(.*?)\n\1$""",
                         re.MULTILINE | re.DOTALL)
READS = ("junit", "reports", "output")   # from where it has the cases, each with those before
LINE = re.compile(r"(PASSED|FAILED|ERROR|SKIPPED) (\S+)")


def eval_script(test_script: str, test_patch: str = "", folder: str = ".",
                reads: str = READS[0]) -> str:
    """Return a bash script that runs the test script unchanged in a folder and then prints, between
    the marks of SWE-bench's harness, "PASSED name" for each case of its JUnit XML. Before that it
    puts the files that `test_patch` makes in their places, whatever lies there. It needs nothing of
    this package, only git, a Python from 3.7 on and a folder for temporary files, and exits as the
    test script does.

    Of READS, "reports" are the cases of all reports, "output" those or else the cases in what is
    printed, as test_results.parse() reads them, for 20 KB more. Only with "output" can a tested
    program print a result. Names are escaped by junit.escaped_name(), so lists such as FAIL_TO_PASS
    have to be, too. Where no case is found, or there is no Python, nothing is between the marks.
    """
    end = "END_OF_TEST_SCRIPT"
    while end in test_script:
        end += "_"
    placing = ""
    if test_patch:
        placing = placing_script(test_patch, folder)
    elif folder != ".":
        placing = f"cd {folder} || exit 1\n"
    more = ""
    if reads != READS[0]:
        more = fill(text_of("codedata.code", "read_output.sh"), results=RESULTS,
                    log='"$own/log"' if reads == READS[2] else "/dev/null",
                    reader=text_of("codedata.code", "runner_output.py"),
                    patterns=json.dumps(RUNNERS))
    return fill(text_of("codedata.code", "eval_script.sh"), results=RESULTS, end=end,
                placing=placing, more=more, test_script=test_script.rstrip("\n"),
                reader=text_of("codedata.code", "junit.py"))


def placing_script(test_patch: str, folder: str) -> str:
    """Return the bash lines that put the files which `test_patch` makes in their places in a
    folder, whatever lies there."""
    return fill(text_of("codedata.code", "place_tests.sh"), folder=folder, patch=test_patch)


def script_of_tests(script: str) -> str:
    """Return the test script that eval_script() was given. Raise ValueError where `script` is
    another one."""
    found = TEST_SCRIPT.search(script)
    if not found:
        raise ValueError("no evaluation script with a test script in it")
    return f"{found[2]}\n"


def printed_results(output: str) -> dict[str, str]:
    """Return {name: status} of what an evaluation script printed between its marks. Raise
    ValueError where that is something else, or where the output has more of a grader's marks."""
    before, _, rest = output.partition(f"{MARKS[0]}\n")
    between, ended, behind = rest.partition(f"{MARKS[1]}\n")
    if not ended or MARK in before + between + behind:
        raise ValueError("its output has no marks of graders, or more than two")
    lines = [*map(LINE.fullmatch, between.removesuffix("\n").split("\n"))]
    if not lines or not all(lines):
        raise ValueError("it has none that are known")
    return {restored_name(line[2]): line[1].lower() for line in lines}


def run_evaluation(sandbox: Sandbox, script: str, timeout_s: float) -> tuple[Run, str]:
    """Run an evaluation script. Return the run as the reports of its runners show it, and what it
    printed; "" where that cannot be read."""
    log = f"{FOLDER}/log"
    run = run_suite(sandbox, f"mkdir -p {FOLDER}\nbash {TOOLS}/eval.sh >{log} 2>&1\ncode=$?\n"
                             f"cat {log}\nexit $code", timeout_s,
                    beside={"eval.sh": script.encode()}, behind=MARKS[1])
    if run.done.n_bytes <= OUTPUT_BYTES and not run.timed_out:   # nothing was cut out of it
        return run, run.text
    with temporary_folder() as folder:
        try:
            sandbox.get(log, Path(folder), REPORTS)
            return run, read_bounded(Path(folder, "log")).decode(errors="replace")
        except (UnsafeArchive, OSError):   # the suite has put something else there, or too much
            return run, ""


def misread(run: Run, printed: str) -> str:
    """Return why graders would read other results than those of a run, or ""."""
    try:
        read = printed_results(printed)
    except ValueError as e:
        return f"graders cannot read its results: {e}"
    odd = {*read.items()} ^ {(case.name, case.status) for case in run.results}
    names = sorted({name for name, _ in odd})
    if odd:
        return f"graders would read other results: {printable(named(names))}"
    if run.exit_code and not {"failed", "error"} & {case.status for case in run.results}:
        return f"graders count no run that ends with exit code {run.exit_code} though no test fails"
    return ""
