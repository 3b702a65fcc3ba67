#!/usr/bin/env python3
"""Print the pairs of a root that the challenger won most clearly, side after side.

  python samples/show_pairs.py ROOT [N]
"""
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))   # codedata is not installed

from codedata.conversation.turn import turn_text

MAX_LINES = 16   # of an answer


def first_lines(side: str | dict) -> str:
    """Return the first lines of an answer with its calls, indented."""
    lines = turn_text(side).strip().splitlines()
    more = [f"… {len(lines) - MAX_LINES} more lines"] if len(lines) > MAX_LINES else []
    return "\n".join(f"    {line}" for line in lines[:MAX_LINES] + more)


def main(root: Path, n: int = 3) -> None:
    """Print n pairs of final/ and refined/, the best first."""
    paths = [path for name in ("final", "refined") for path in (root / name).glob("[!_]*.json")]
    samples = [json.loads(path.read_text(encoding="utf-8")) | {"path": path} for path in paths]
    for one in sorted(samples, key=lambda one: (-one["score"], one["path"].name))[:n]:
        reason = next(iter(one["reasons"]), {}).get("reason", "")
        print(f"\n{one['path'].relative_to(root.parent)}  {one['instance_id']}  "
              f"score {one['score']:g}\n  a judge: {reason}"
              f"\n  king, blind:\n{first_lines(one['king'])}"
              f"\n  challenger:\n{first_lines(one['challenger'])}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
