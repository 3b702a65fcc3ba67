"""Analyse the sources in a folder without running them.

  python -m codedata.analysis --repo-path SRC --repo-name click --output-dir out

reads   --repo-path DIR       a folder of sources
        --test-report FILE    JSON: a list of {name, status}; without it each test found in the
                              sources counts as one that passes
writes  OUTPUT_DIR/<repo_name>_analysis.json   Analysis, whose `source` is static

The same input gives the same bytes. Exit codes: 0 done (files that could not be analysed are
named), 2 usage.
"""
from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import orjson

from codedata.analysis.analyse import analysis_of
from codedata.bounded import read_bounded
from codedata.code.entities import read_sources
from codedata.disk.layouts import write_atomic
from codedata.errors import Trouble
from codedata.records import Object, check_of
from codedata.suites.test_results import Case
from codedata.terminal import plural, runnable, say
from codedata.texts import safe_name

MAX_NAMED = 20   # files with faults that are named on the screen


def main(argv: list[str] | None = None) -> int:
    """Write the analysis of a folder; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m codedata.analysis", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, metavar in (("--repo-path", "DIR"), ("--repo-name", "NAME"), ("--output-dir", "DIR")):
        parser.add_argument(flag, metavar=metavar, required=True)
    parser.add_argument("--test-report", metavar="FILE", type=Path)
    args = parser.parse_args(argv)
    try:
        if not safe_name(args.repo_name):
            raise Trouble("cannot be a file's name", f"--repo-name {args.repo_name}")
        if not Path(args.repo_path).is_dir():
            raise Trouble("is not a folder", f"--repo-path {args.repo_path}")
        tests = _tests(args.test_report) if args.test_report else []
        sources = read_sources(Path(args.repo_path))
        analysis = analysis_of(args.repo_name, args.repo_name, "", sources, tests)
        path = Path(args.output_dir) / f"{args.repo_name}_analysis.json"
        write_atomic(path, orjson.dumps(asdict(analysis), option=orjson.OPT_INDENT_2) + b"\n")
    except Trouble as e:
        parser.error(runnable(str(e)))
    say(f"{path}  {plural(len(sources.files), 'file')}, {len(analysis.entities):,} definitions, "
        f"{len(analysis.edges):,} edges")
    for name, fault in list(analysis.faults.items())[:MAX_NAMED]:
        say(f"      {name}: {fault}")
    return 0


def _tests(path: Path) -> list[Object]:
    """Return the tests of a report. Raise Trouble if it is not a list of {name, status}."""
    try:
        tests = orjson.loads(read_bounded(path))
    except (OSError, ValueError) as e:
        raise Trouble(f"cannot be read: {e}", str(path)) from e
    if fault := check_of("list[CaseResult]")(tests):
        raise Trouble(f"is not a list of {{name, status}}: it{fault}", str(path))
    return [asdict(Case.of(test)) for test in tests]


if __name__ == "__main__":
    sys.exit(main())
