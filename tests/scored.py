"""Write answers and scores as ch.py and validate.py leave them: no judge is asked.

    write_panel(root, "a", "b")                           # [judge] models
    write_answer(root, "t_1", king="ls", challenger="make test")
    write_score(root, "t_1", {"a": [1, 1, 1, 1, 0], "b": None})   # five metrics; None: unread
    decide(root)                                          # validate.py writes _duel.json
"""
from __future__ import annotations

import json
from pathlib import Path

import fake_judges
from conftest import turn_of, write_json, write_toml
from fake_judges import score_path

from codedata.duel.scoring import turn_score
from codedata.records import METRICS

decide = fake_judges.validated   # validate.py, for which nothing is left to ask
BUCKETS = ("final", "refined", "defeat")


def write_panel(root: Path, *judges: str, more: str = "") -> None:
    """Write ROOT/chain.toml with this panel."""
    write_toml(root, more=f"[judge]\nmodels = {json.dumps(judges)}\n{more}")


def write_answer(root: Path, name: str, king: str | None = "ls",
                 challenger: str | None = "make test", directory: str = "answer", **fields) -> dict:
    """Write ROOT/<directory>/<name>.json with two commands; None: that side is not made yet."""
    king, challenger = (command and turn_of(command) for command in (king, challenger))
    record = {"instance_id": f"proj__{name}",
              "messages": [{"role": "user", "content": f"task of {name}"}],
              "assistant": turn_of("npm ci"), "king": king, "challenger": challenger, **fields}
    write_json(root / directory / f"{name}.json", record)
    return record


def entries(judge: str, values, rival: str = "king") -> list[dict]:
    """Return the two entries of a judge, from five values of one kind for both orders, a pair of
    such lists, or None.
    """
    first, second = values if values and isinstance(values[0], (list, tuple)) else (values, values)
    return [entry(judge, f"{rival}_first", first, rival),
            entry(judge, "challenger_first", second, rival)]


def entry(judge: str, order: str, values, rival: str = "king", **fields) -> dict:
    """Return one entry of a judge; without values it could not be read."""
    said = {1: "challenger", 0.5: "draw", 0: rival}
    scores = dict(zip(METRICS, values, strict=True)) if values else {}
    return {"judge": judge, "order": order, "attempt": 2, "parse_ok": bool(values),
            "scores": scores, "verdict": {metric: said[value] for metric, value in scores.items()},
            "raw": "as it came", "error": "",
            "reason": f"{judge} says so, {order}" if values else "", "truncated": False,
            "usage": {}, "seconds": 1.0, "marker": "", **fields}


def write_score(root: Path, name: str, verdicts: dict, rival: str = "king", **fields) -> dict:
    """Write ROOT/score/<name>.json with these verdicts and what follows from them by the rule: a
    metric on which a judge's two orders differ is a draw, a judge counts where both were read, the
    score is the mean over judges and metrics (tests/duel/score_cases.txt has it worked by hand).
    """
    judges = [one for judge, values in verdicts.items()
              for one in entries(judge, values, rival)]
    meant = turn_score(judges, list(verdicts))
    record = {"instance_id": f"proj__{name}", "answer_file": f"{name}.json", "mode": rival,
              "score": meant.score, "parse_ok": meant.score is not None,
              "metrics": meant.metrics, "reason": "",
              "judges": judges, **fields}
    write_json(score_path(root, name, "score" if rival == "king" else "score_reference"), record)
    return record


def in_buckets(root: Path) -> dict[str, list[str]]:
    """Return {turn: [the buckets that it is in]}; every copy is read, so a torn one is an error."""
    found: dict[str, list[str]] = {}
    for bucket in BUCKETS:
        for path in (root / bucket).glob("[!_]*.json"):
            json.loads(path.read_bytes())
            found.setdefault(path.stem, []).append(bucket)
    return found
