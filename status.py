#!/usr/bin/env python3
"""Show the progress of every stage of a root: items by state, cost, tokens, rate, time to go.

Each script finds its states itself, as with --status. The rate is from a stage's last run.

reads   every directory of a root    records and ledgers, as the scripts read them
writes  no record or ledger line; with --html index.html

  python status.py --root runs/mine             # --json: one JSON object
  python status.py --root runs/mine --summary   # in words, with each refusal and its reason
  python status.py --root runs/mine --failed    # each failed item, and how to try it again
  python status.py --root runs/mine --html      # all of it on one page
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
from codedata.report.index_page import write_index
from codedata.run import cli, start, status
from codedata.run.status import StageStatus
from codedata.sandbox.docker import engine
from codedata.settings import Settings
from codedata.terminal import runnable
from codedata.texts import terminal_safe

OWN = ("json", "summary", "failed", "html", "status", "log_file")   # flags of no stage
NL2REPO = "extract,meta,communities,screen,patches,proof,doc_part2,doc_part1,doc"
# (command of a stage, pattern of a path that exists if the root has this stage)
STAGES = [("prompt", "prompt"), ("king", "prompt"), ("ch", "answer*"),
          ("run_turns", "executed/_ledger.jsonl"), ("validate", "answer*"), ("report", "score"),
          *((f"ch --how {how}", f"variants/{how}") for how in HOW), ("check_judges probe", "probe"),
          ("validate --mode reference", "score_reference"), ("check_judges sanity", "sanity"),
          *((f"validate --how {how}", f"score_{how}") for how in HOW), ("env_setup", "env"),
          ("analyze", "coverage"), ("analyze", "analysis"), ("bug_inject scale", "bug/_config"),
          ("bug_inject agent --steps bug_issue", "bug"),
          (f"nl2repo --writer template --steps {NL2REPO}", "nl2repo"),
          ("pr_tasks", "task/_lock.pull_request.*"), ("prove", "task/_lock.all"),
          ("build_dp agents", "dp/_seeds"),
          ("build_dp validate", "dp/*"), ("audit", "audit"), ("solve", "attempt"),
          ("export", "final"), ("export", "task/[!_.]*")]


def main(argv=None) -> int:
    parser = cli.parser(__doc__, without=(
        *cli.OF_WORKERS, "status", "dry_run", "prune", "compact", "budget", "budget_run", "quiet",
        "llm_auth_token", "proxy"))
    add = parser.add_argument_group("flags of status.py").add_argument
    add("--json", action="store_true", help="print one JSON object")
    add("--summary", action="store_true", help="print the results in words")
    add("--failed", action="store_true", help="print what failed or is left out, and why")
    add("--html", action="store_true", help="write index.html, a page of all of it")
    args = parser.parse_args(argv)
    settings, options = cli.read(args)
    root, stages = settings.root, read(settings, args.given)
    page = write_index(settings, stages) if args.html else None
    failed = status.failed_in(root, stages)   # a generator: reads logs only when printed
    if args.summary:
        text = "\n".join(status.summary(root, stages, options.command))
    elif args.json:
        text = json.dumps({**as_dict(root, stages), "failed": [*map(asdict, failed)]})
    elif args.failed:
        text = "\n".join(status.failed_lines(failed)) or "nothing failed or is left out"
    elif page:
        text = f"open:  {page}   all of it on one page"
    else:
        text = status.screen(stages, as_dict(root, stages))
    print(terminal_safe(runnable(text)))
    return 0


def read(settings: Settings, given: dict[str, tuple[str, ...]]) -> list[StageStatus]:
    """Return the status and usage of a root's stages, each stage found by its own script. `given`
    holds the flags for the scripts."""
    stages: dict[tuple[str, str], StageStatus] = {}
    start.check_root(settings.root)
    config.check_is_root(settings.root)
    flags = [word for name, words in given.items() for word in words if name not in OWN]
    for words, directory in STAGES:
        if any(settings.root.glob(directory)):
            for one in ask(words, flags):
                stages.setdefault((one.stage, one.place), one)
    return status.add_usage(settings.root, [*stages.values()])


def ask(words: str, flags: list[str]) -> list[StageStatus]:
    """Return the stages of one call of a script; if it fails, one whose note gives the reason."""
    script, *more = words.split()
    run = runpy.run_path(str(Path(__file__).with_name(f"{script}.py")))["main"]
    with status.gathering() as gathered, redirect_stderr(io.StringIO()) as printed:
        try:
            run([*more, "--status", *flags])
        except (Trouble, OSError) as e:
            gathered.append(StageStatus(words, "", note=str(e)))
        except SystemExit:   # flags that do not go with the settings
            gathered.append(StageStatus(words, "", note=printed.getvalue().strip()))
    return gathered


def as_dict(root: Path, stages: list[StageStatus]) -> dict:
    """Return a root's status as a JSON object; `containers` lists the labels of running ones."""
    used = subprocess.run(["du", "-sk", "--", root], capture_output=True, text=True)
    return {"root": str(root), "root_bytes": 1024 * int(used.stdout.split()[0]),
            "free_bytes": shutil.disk_usage(root).free, "containers": engine.running(root),
            "stages": [*map(asdict, stages)]}


if __name__ == "__main__":
    cli.main(main)
