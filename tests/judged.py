"""Write the buckets as report.py leaves them, without a model or a judge.

    write_duel(root)                                        # accepted
    write_turn(root, "t_1", repo="ann/one")                 # final/, score 90
    write_turn(root, "t_2", "defeat", 10, repo="bob/two")   # the king won
    write_turn(root, "t_3", messages=[…], challenger=turn_of("make test"))

Every turn has a history and two answers of words of its own, so that no two are alike by chance.
"""
from __future__ import annotations

import json
import random
from pathlib import Path

from conftest import turn_of, write_commit, write_json

from codedata.records import METRICS

SCORES = {"final": 90.0, "refined": 70.0, "defeat": 10.0}
SYSTEM = "You fix issues by running one bash command at a time."


def words(seed: str, n: int = 40) -> str:
    """Return `n` made-up words that follow from the seed."""
    draw = random.Random(seed)
    return " ".join("".join(draw.choices("bcdfghklmnprstvw", k=3)) + draw.choice("aeiou")
                    for _ in range(n))


def history(seed: str, n_turns: int = 2) -> list[dict]:
    """Return a system message, then user and assistant in turn, `n_turns` of the assistant, ending
    with the user.
    """
    messages = [{"role": "system", "content": SYSTEM},
                {"role": "user", "content": f"Issue: {words(seed)}"}]
    for i in range(n_turns):
        messages += [{"role": "assistant", "content": turn_of(f"cat {i}", words(f"{seed} {i}"))},
                     {"role": "user", "content": f"Observation: {words(f'{seed} seen {i}')}"}]
    return messages


def read_json(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def json_lines(path: Path) -> list:
    """Return the rows of a JSON lines file, [] where there is none."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text.split("\n") if line]


def write_turn(root: Path, name: str, bucket: str = "final", score: float | None = None,
               repo: str = "ann/one", licence: str | None = "MIT", **fields) -> dict:
    """Write ROOT/<bucket>/<name>.json, and the PR record of its instance."""
    score = SCORES[bucket] if score is None else float(score)
    record = {"instance_id": f"{repo.replace('/', '__')}-{name.rpartition('_')[2]}",
              "messages": history(name), "assistant": turn_of("ls", words(f"{name} reference")),
              "king": turn_of("pwd", words(f"{name} king")),
              "challenger": turn_of("make test", words(f"{name} challenger")), "score": score,
              "metrics": dict.fromkeys(METRICS, score), "reasons": [
                  {"judge": "j", "order": "king_first", "reason": words(f"{name} reason", 8)}],
              "injections": [], "leaks": None, **fields}
    write_json(root / bucket / f"{name}.json", record)
    write_pr(root, record["instance_id"], repo, licence)
    return record


def write_pr(root: Path, instance_id: str, repo: str, licence: str | None = "MIT",
             **fields) -> None:
    write_commit(root, instance_id, **{
        "repo": repo, "base_commit": words(repo, 1) * 10, "issue": words(f"{instance_id} issue"),
        "licence": licence, **fields})


def a_duel(accepted: bool = True, judges=("j",), **fields) -> dict:
    """Return _duel.json: an outcome of judges who all say the same."""
    metrics = dict.fromkeys(METRICS, 60.0)
    if isinstance(judges, tuple):
        judges = {name: {"score": 60.0, "parse_rate": 0.97, "metrics": metrics, "model": name}
                  for name in judges}
    return {"mode": "king", "order": "both", "challenger_score": 60.0, "king_score": 40.0,
            "margin": 20.0, "lcb": 16.0,
            "interval": [15.5, 24.25], "instances": 55,
            "parsed_frac": 0.9, "accepted": accepted,
            "reasons": [] if accepted else ["margin 1.00 is below 2"], "win_margin": 2.0,
            "gate_alpha": 0.05, "seed": 0, "min_valid_turn_frac": 0.5, "min_turns": 5,
            "resamples": 10000, "turns": 60, "turns_parsed": 54, "turns_judged": 60,
            "metrics": metrics, "judges": judges, "panel": {},
            "missing_answers": 0, "turns_left": 0, **fields}


def write_duel(root: Path, **fields) -> None:
    """Write ROOT/score/_duel.json."""
    write_json(root / "score/_duel.json", a_duel(**fields))


def write_root(root: Path, n: int = 24, n_repos: int = 8) -> list[str]:
    """Write `n` turns into all buckets of a root, of so many repositories; return their names."""
    write_duel(root)
    names = [f"prompts_{n}_1_{i}" for i in range(1, n + 1)]
    for i, name in enumerate(names):
        bucket, score = [("final", 100), ("final", 80), ("refined", 70), ("defeat", 50),
                         ("defeat", 20)][i % 5]
        write_turn(root, name, bucket, score, repo=f"owner/repo{i % n_repos}")
    return names
