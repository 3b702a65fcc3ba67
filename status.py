#!/usr/bin/env python3
"""Show where every stage of a root stands: items by state, cost, tokens, rate, time to go.

Each script finds its states itself, as with --status. The rate is that of a stage's last run.

reads   every directory of a root    records and ledgers, as the scripts read them
writes  nothing; with --html index.html, all of it on one page

  python status.py --root runs/mine             # --json: one JSON object
  python status.py --root runs/mine --html      # --beside runs/other: both on one page
  python status.py --root runs/mine --summary   # in words, and what was refused and why
  python status.py --root runs/mine --failed    # each failed item, and how to try it again
"""
import io
import json
import runpy
import shutil
import subprocess
from contextlib import redirect_stderr
from dataclasses import asdict
from pathlib import Path

from codedata import config
from codedata.errors import Trouble
from codedata.records import HOW
from codedata.report.root_page import write_index
from codedata.run import cli, start
from codedata.run.status import (
    StageStatus,
    add_usage,
    failed_in,
    failed_lines,
    gathering,
    short,
    summary,
    table,
)
from codedata.sandbox.docker import engine
from codedata.texts import terminal_safe

NL2REPO = "extract,meta,communities,screen,patches,proof,doc_part2,doc_part1,doc"
# how a script is called, and what is there if the root has this stage
STAGES = [("prompt", "prompt"), ("king", "prompt"), ("ch", "answer*"), ("run_turns", "executed"),
          ("validate", "answer*"), ("report", "score"),
          *((f"ch --how {how}", f"variants/{how}") for how in HOW),
          ("check_judges probe", "probe"),
          ("validate --mode reference", "score_reference"), ("check_judges sanity", "sanity"),
          *((f"validate --how {how}", f"score_{how}") for how in HOW), ("env_setup", "env"),
          ("analyze", "coverage"), ("analyze", "analysis"),
          ("bug_inject scale", "bug/_config"), ("bug_inject agent --steps bug_issue", "bug"),
          (f"nl2repo --writer template --steps {NL2REPO}", "nl2repo"),
          ("pr_tasks", "task/_lock.pull_request.*"), ("build_dp agents", "dp/_seeds"),
          ("build_dp validate", "dp/*"), ("audit", "audit"), ("solve", "attempt"),
          ("export", "final"), ("export", "task/[!_.]*")]


def main(argv=None) -> int:
    parser = cli.parser(__doc__)
    add = parser.add_argument_group("flags of status.py").add_argument
    add("--json", action="store_true", help="print one JSON object")
    add("--html", action="store_true", help="write index.html, a page of all of it")
    add("--beside", metavar="ROOT", help="with --html: another root on the same page")
    add("--summary", action="store_true", help="print what came of it, in words")
    add("--failed", action="store_true", help="print what failed or is left out, and why")
    args = parser.parse_args(argv)
    options, settings = cli.options(args), config.load(args)
    root = settings.root
    start.check_root(root)
    given = [word for name, words in args.given.items() for word in words
             if name not in ("json", "html", "beside", "summary", "failed", "status")]
    stages = stages_of(root, given)
    if args.html:
        roots = [(settings, stages)]
        if args.beside:
            other = config.load(parser.parse_args(["--root", args.beside]))
            start.check_root(other.root)
            roots.append((other, stages_of(other.root, ["--root", args.beside])))
        path = write_index(roots)
    text = json.dumps(as_dict(root, stages)) if args.json else page(root, stages)
    if args.summary:
        text = "\n".join(summary(root, stages, options.command))
    elif args.failed and not args.json:
        text = "\n".join(failed_lines(failed_in(root, stages))) or "nothing failed or is left out"
    elif args.html and not args.json:
        text = f"open:  {path}   all of it on one page"
    print(terminal_safe(text))
    return 0


def stages_of(root: Path, flags: list[str]) -> list[StageStatus]:
    """Return the stages that a root has, each found by its own script, with what they used."""
    stages = {}
    for words, directory in STAGES:
        if any(root.glob(directory)):
            for one in ask(words, flags):
                stages.setdefault((one.stage, one.place), one)
    return add_usage(root, [*stages.values()])


def ask(words: str, flags: list[str]) -> list[StageStatus]:
    """Return the stages of one call of a script; a note says why there is none."""
    script, *more = words.split()
    run = runpy.run_path(str(Path(__file__).with_name(f"{script}.py")))["main"]
    with gathering() as gathered, redirect_stderr(io.StringIO()) as printed:
        try:
            run([*more, "--status", *flags])
        except Trouble as e:
            gathered.append(StageStatus(words, "", note=str(e)))
        except SystemExit:   # flags that do not go with the settings
            gathered.append(StageStatus(words, "", note=printed.getvalue().strip()))
    return gathered


def as_dict(root: Path, stages: list[StageStatus]) -> dict:
    """Return a root's status as a JSON object; `containers` are the labels of ours that run."""
    used = subprocess.run(["du", "-sk", "--", root], capture_output=True, text=True)
    return {"root": str(root), "root_bytes": 1024 * int(used.stdout.split()[0]),
            "free_bytes": shutil.disk_usage(root).free, "containers": engine.running(),
            "stages": [*map(asdict, stages)],
            "failed": [*map(asdict, failed_in(root, stages))]}


def page(root: Path, stages: list[StageStatus]) -> str:
    """Return a root's status for the terminal."""
    about = as_dict(root, stages)
    disk = f"{short(about['root_bytes'])}B, {short(about['free_bytes'])}B free"
    lines = [table(stages), f"disk: {root}/ {disk}"]
    if containers := about["containers"]:
        lines.append(f"containers {len(containers)}: {', '.join(containers)}")
    return "\n".join(lines)


if __name__ == "__main__":
    cli.main(main)
