#!/usr/bin/env python3
"""Show where every stage of a root stands: items by state, cost, tokens, rate, time to go.

Each script finds its states itself, as with its own --status; a stage is shown if its directory is
there. The rate is that of the stage's last run.

reads   every directory of a root    records and ledgers, as the scripts read them
writes  nothing

  python status.py --root runs/mine
  python status.py --watch            # again every few seconds; a line each where no terminal is
  python status.py --json             # one JSON object
"""
import json
import runpy
import shutil
import sys
import time
from pathlib import Path

from codedata import cli, config, run_loop
from codedata.errors import Trouble
from codedata.records import HOW
from codedata.sandbox import docker_engine
from codedata.stage_status import Gathered, RootStatus, StageStatus, gathering
from codedata.texts import terminal_safe

PAUSE_S = 3.0
CLEAR = "\x1b[H\x1b[2J"
# how a script is called, and a directory that is there if the root has this stage
STAGES = [("prompt", "prompt"), ("king", "prompt"), ("ch", "answer*"), ("validate", "answer*"),
          ("report", "score"), ("export", "final"), ("refine", "answer/_attempts"),
          *((f"ch --how {how}", f"variants/{how}") for how in HOW),
          *((f"validate --how {how}", f"score_{how}") for how in HOW),
          ("validate --mode reference", "score_reference"),
          ("check_judges probe", "probe"), ("check_judges sanity", "sanity"),
          ("env_setup", "env")]


def main(argv=None) -> int:
    parser = cli.parser(__doc__)
    add = parser.add_argument_group("flags of status.py").add_argument
    add("--watch", action="store_true", help="show it again every few seconds, till Ctrl-C")
    add("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    root = config.load(args).root
    run_loop.check_root(root)
    given = [word for name, words in args.given.items() if name not in ("watch", "json", "status")
             for word in words]
    is_terminal = args.watch and sys.stdout.isatty() and not args.json
    while True:
        started = time.monotonic()
        status = RootStatus.of(root, gather(root, given), docker_engine.running())
        if args.json:
            text = json.dumps(status.as_dict())
        elif args.watch and not is_terminal:
            text = f"{time.strftime('%H:%M:%S')}  {status.line()}"
        else:
            text = status.table()
        if is_terminal:   # a line that is too long is cut, not wrapped
            width = shutil.get_terminal_size().columns
            text = "\n".join(line[:width] for line in text.split("\n"))
        print(CLEAR * is_terminal + terminal_safe(text), flush=True)
        if not args.watch:
            return 0
        time.sleep(max(PAUSE_S, time.monotonic() - started))


def gather(root: Path, flags: list[str]) -> list[Gathered]:
    """Return the stages that a root has, each found by its own script."""
    gathered = {}
    for words, directory in STAGES:
        if any(path.is_dir() for path in root.glob(directory)):
            for one in stages_of(words, flags):
                gathered.setdefault((one.status.stage, one.status.place), one)
    return [*gathered.values()]


def stages_of(words: str, flags: list[str]) -> list[Gathered]:
    """Return the stages of one call of a script; a note says why there is none."""
    script, *more = words.split()
    run = runpy.run_path(str(Path(__file__).with_name(f"{script}.py")))["main"]
    with gathering() as gathered:
        try:
            run([*more, "--status", *flags])
        except (Trouble, SystemExit) as e:   # SystemExit: flags that do not go with the settings
            gathered.append(Gathered(StageStatus(words, "", note=str(e))))
    return gathered


if __name__ == "__main__":
    cli.main(main)
