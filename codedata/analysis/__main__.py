"""Analyse the sources in a folder without running them.

  python -m codedata.analysis --repo-path SRC --repo-name click --output-dir out

reads   --repo-path DIR       a folder of sources
        --test-report FILE    JSON: a list of {name, status}; without it each test found in the
                              sources counts as one that passes
        --config FILE         TOML, or YAML with the extra `yaml`: `roots`, `exclude` and
                              `test_files`, lists of patterns of paths
writes  OUTPUT_DIR/<repo_name>_analysis.json   Analysis, whose `source` is static

The same input gives the same bytes. Exit codes: 0 done (files that could not be analysed are
named), 2 usage.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

import orjson

from codedata.analysis.analyse import analysis_of
from codedata.bounded import read_bounded, resolved_in
from codedata.code.entities import Rules, read_sources
from codedata.errors import Trouble
from codedata.layouts import write_atomic
from codedata.progress import plural, say
from codedata.records import Object, check_of, safe_name
from codedata.suites.test_results import Case
from codedata.texts import printable, tomllib

MAX_NAMED = 20   # files with faults that are named on the screen


def main(argv: list[str] | None = None) -> int:
    """Write the analysis of a folder; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m codedata.analysis", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag, metavar in (("--repo-path", "DIR"), ("--repo-name", "NAME"), ("--output-dir", "DIR")):
        parser.add_argument(flag, metavar=metavar, required=True)
    for flag in ("--test-report", "--config"):
        parser.add_argument(flag, metavar="FILE", type=Path)
    args = parser.parse_args(argv)
    try:
        if not safe_name(args.repo_name):
            raise Trouble("cannot be a file's name", f"--repo-name {args.repo_name}")
        if not Path(args.repo_path).is_dir():
            raise Trouble("is no folder", f"--repo-path {args.repo_path}")
        rules = _rules(args.config) if args.config else Rules()
        _check_roots(Path(args.repo_path), rules)
        tests = _tests(args.test_report) if args.test_report else []
        sources = read_sources(Path(args.repo_path), rules)
        analysis = analysis_of(args.repo_name, args.repo_name, "", sources, tests)
        path = Path(args.output_dir) / f"{args.repo_name}_analysis.json"
        write_atomic(path, orjson.dumps(asdict(analysis), option=orjson.OPT_INDENT_2) + b"\n")
    except Trouble as e:
        parser.error(str(e))
    say(f"{path}  {plural(len(sources.files), 'file')}, {len(analysis.entities):,} definitions, "
        f"{len(analysis.edges):,} edges")
    for name, fault in list(analysis.faults.items())[:MAX_NAMED]:
        say(f"      {name}: {fault}")
    return 0


def _rules(path: Path) -> Rules:
    """Return the rules of a configuration. Raise Trouble for one that is wrong."""
    data = _loaded(path, _yaml if path.suffix in (".yaml", ".yml") else tomllib.loads)
    known = [field.name for field in fields(Rules)]
    if not isinstance(data, dict) or set(data) - set(known):
        raise Trouble("is not an object with known keys alone", str(path),
                      f"Known are {', '.join(known)}.")
    for key, patterns in data.items():
        if fault := check_of("list[str]")(patterns):
            raise Trouble(f"`{key}`{fault}", str(path))
    return Rules(**{key: tuple(patterns) for key, patterns in data.items()})


def _check_roots(folder: Path, rules: Rules) -> None:
    """Raise Trouble for a root that is not a folder of the repository."""
    for root in rules.roots:
        try:
            is_folder = resolved_in(folder, folder / root).is_dir()
        except (OSError, ValueError, RuntimeError):   # a link out of the repository, or to nothing
            is_folder = False
        if not is_folder:
            raise Trouble(f"has no folder {printable(root, 200)}, which is one of `roots`",
                          f"--repo-path {folder}")


def _loaded(path: Path, loads: Callable[[str], object]):
    """Return the content of a file. Raise Trouble where it cannot be read."""
    try:
        return loads(read_bounded(path).decode())
    except (OSError, ValueError, RecursionError) as e:
        raise Trouble(f"cannot be read: {e}", str(path)) from e


def _yaml(text: str):
    """Return the content of a YAML text. Raise Trouble without the package, ValueError for a fault.
    """
    try:
        import yaml  # an extra
    except ImportError as e:
        raise Trouble("YAML needs a package", "--config",
                      "Run: pip install '.[yaml]', or write TOML.") from e
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as e:
        raise ValueError(str(e)) from e


def _tests(path: Path) -> list[Object]:
    """Return the tests of a report. Raise Trouble where it is not a list of {name, status}."""
    tests = _loaded(path, orjson.loads)
    if fault := check_of("list[CaseResult]")(tests):
        raise Trouble(f"is no list of {{name, status}}: it{fault}", str(path))
    return [asdict(Case.of(test)) for test in tests]


if __name__ == "__main__":
    sys.exit(main())
