"""Check that all near-duplicates, benchmark tasks and secrets planted in a set are found."""
from __future__ import annotations

import json
import sys

import pytest
from conftest import REPO, run_here, turn_of, write_toml
from judged import words, write_duel, write_pr, write_turn

import export
from codedata.export.formats import FORMATS

sys.path.append(str(REPO / "benchmarks"))   # behind the scripts: one has a name of theirs
from synthetic_overlap import Draw, edited, every

N_CLEAN, N_COPIES, N_TASKS = 60, 30, 40
SECRETS = list(every(Draw(4)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export all that is planted."""
    root, draw = tmp_path_factory.mktemp("planted"), Draw(5)
    write_toml(root, more="[export]\nvalidation = 0.0\n"
                          f'decontaminate = ["{root / "verified.jsonl"}"]\n')
    write_duel(root)
    for i in range(N_CLEAN):
        history, answer = words(f"clean {i}", 300), words(f"clean answer {i}", 120)
        write_turn(root, f"clean_{i}", repo=f"owner/clean{i}", messages=task(history),
                   challenger=turn_of("make test", answer))
        if i < N_COPIES:   # in forks
            share = (0, 0.01, 0.02)[i % 3]
            write_turn(root, f"copy_{i}", "refined", repo=f"fork/copy{i}",
                       messages=task(edited(draw, history, share)),
                       challenger=turn_of("make test", edited(draw, answer, share)))
    write_tasks(root)
    for i, (_, _, _, text) in enumerate(SECRETS):
        shown = f"{words(f'before {i}', 60)}\n{text}\n{words(f'after {i}')}"
        write_turn(root, f"secret_{i}", repo=f"owner/secret{i}",
                   messages=[*task(words(f"secret {i}", 100)),
                             {"role": "assistant", "content": turn_of("env")}, *task(shown)])
    assert run_here(export.main, root) == 0
    return root / "export"


def task(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def write_tasks(root) -> None:
    """Write a benchmark, and for each of its rows a turn that has the statement, a piece of it, its
    patch, id or commit.
    """
    rows = []
    for i in range(N_TASKS):
        statement, gold = words(f"statement {i}", 150), words(f"gold {i}", 40)
        mine = words(f"mine {i}", 200)
        row = {"instance_id": f"known__bench-{i}", "repo": f"known/bench{i}",
               "base_commit": f"{i:02x}" * 20, "problem_statement": statement, "test_patch": "",
               "patch": "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1,1 +1,2 @@\n"
                        f" x\n+{gold}\n"}
        rows.append(json.dumps(row) + "\n")
        shared = ({"messages": task(f"Please: {statement}")},
                  {"messages": task(f"{mine} {' '.join(statement.split()[30:60])}")},
                  {"challenger": turn_of(f"cat > a.py <<'E'\n{gold}\nE")},
                  {"instance_id": row["instance_id"]}, {})[i % 5]
        write_turn(root, f"task_{i}", repo=f"owner/task{i}", **{"messages": task(mine), **shared})
        if not shared:
            write_pr(root, f"owner__task{i}-{i}", row["repo"], base_commit=row["base_commit"])
    (root / "verified.jsonl").write_text("".join(rows))


def test_every_copy_and_every_task_is_left_out_and_nothing_else(exported):
    lines = map(json.loads, (exported / "left_out.jsonl").read_text().splitlines())
    assert {line["name"]: line["reason"] for line in lines} == {
        **{f"copy_{i}": "near-duplicate" for i in range(N_COPIES)},
        **{f"task_{i}": "in a benchmark" for i in range(N_TASKS)}}


def test_every_secret_is_masked_in_every_format_and_counted_where_it_stood(exported):
    for form in FORMATS:
        text = (exported / form / "train.jsonl").read_text()
        assert not [part for _, _, must_go, _ in SECRETS for part in must_go
                    if json.dumps(part)[1:-1] in text], form
    turns = json.loads((exported / "jsonl" / "manifest.json").read_text())["turns"]
    masked = {turn["name"]: turn["masked"] for turn in turns}
    for i, (shape, kind, *_) in enumerate(SECRETS):
        assert masked[f"secret_{i}"].get(kind), shape
    assert not any(masked[name] for name in masked if name.startswith("clean"))


def test_the_card_counts_them(exported):
    card = (exported / "dpo" / "README.md").read_text()
    assert f"| near-duplicates (Jaccard from 0.8) | {N_COPIES} left out |" in card
    assert f"| benchmarks: `verified.jsonl` | {N_TASKS} left out |" in card
