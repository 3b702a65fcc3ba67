#!/usr/bin/env python3
"""Print the pairs of a root that the challenger won most clearly, with why, and their DPO rows.

  python samples/show_pairs.py ROOT
"""
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill, shorten, wrap

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))   # codedata is not installed

from codedata.report.buckets import BestPair, best_pairs
from codedata.texts import terminal_safe

MAX_LINES = 10        # of the command of an answer
MAX_TASK_CHARS = 400
INTRO = ("The best pairs. Each is the next step of a recorded agent, written twice: by the king "
         "from the conversation alone, by the challenger who also knew the pull request that "
         "solved the task. Judges who did not know whose is which compared them. Score 100: the "
         "challenger won everything; 50: a draw.")


def answer_lines(answer: str, width: int) -> Iterator[str]:
    """Yield an answer's prose, wrapped, and the first lines of its command, cut at the width."""
    prose, _, block = answer.strip().expandtabs(4).partition("\n```")
    yield from wrap(prose, width - 4)
    lines = [line for line in block.splitlines()[1:] if not line.startswith("```")]
    if lines:
        yield ""
    for line in lines[:MAX_LINES]:
        yield "  " + (line if len(line) <= width - 6 else line[:width - 7] + "…")
    if len(lines) > MAX_LINES:
        yield f"  … {len(lines) - MAX_LINES} more lines"


def dpo_row(root: Path, name: str) -> str:
    """Return where a turn's row of the DPO set lies, in words."""
    for file in sorted((root / "export/dpo").glob("*.jsonl")):
        for n, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            row = json.loads(line)
            if row["source"] == name:
                rejected = "king" if row["side"] == "challenger" else "challenger"
                return (f"line {n} of {file}: chosen is the answer of the {row['side']}, rejected "
                        f"that of the {rejected}")
    return "none: it has no row in export/dpo/"


def show(pair: BestPair, row: str, width: int) -> None:
    """Print a pair for the terminal."""
    def field(title: str, text: str) -> None:
        print(fill(text, width, initial_indent=f"{title:7}", subsequent_indent=" " * 7))

    print(f"\n-- {pair.name} ".ljust(width, "-"))
    field("task", shorten(pair.task.replace("\n\n", ": ", 1), MAX_TASK_CHARS, placeholder=" …"))
    for side, answer in (("king", pair.king), ("challenger", pair.challenger)):
        print(f"{side}:", *(f"    {line}".rstrip() for line in answer_lines(answer, width)),
              sep="\n")
    field("why", pair.why)
    field("row", row)


def main(root: Path) -> None:
    """Print the best pairs of final/ and refined/."""
    width, pairs = min(get_terminal_size().columns, 120), best_pairs(root)
    print("\n" + fill(INTRO if pairs else "No pair is in final/ or refined/.", width))
    for pair in pairs:
        safe = BestPair(*map(terminal_safe, pair))   # its texts are of others
        show(safe, dpo_row(root, pair.name), width)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
