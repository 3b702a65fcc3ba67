"""One set with near-duplicates, benchmark tasks and secrets planted: each found, each counted, nothing else taken."""
from __future__ import annotations

import json
import sys

import pytest
from conftest import REPO, run_here, turn_of, write_toml
from judged import words, write_duel, write_pr, write_turn

import export
from codedata.export.formats import FORMATS

sys.path.insert(0, str(REPO / "benchmarks"))
import planted
from planted import Draw

N_CLEAN, N_COPIES, N_TASKS = 60, 30, 40
SECRETS = list(planted.every(Draw(4)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The root, and the names of what was planted: {name: reason}."""
    root, draw, reasons = tmp_path_factory.mktemp("planted"), Draw(5), {}
    write_toml(root, more='[export]\nvalidation = 0.0\ndecontaminate = ["%s"]\n' % (root / "verified.jsonl"))
    write_duel(root)
    for i in range(N_CLEAN):
        write_turn(root, f"clean_{i}", repo=f"owner/clean{i}", messages=task(f"clean {i}", 300),
                   challenger=turn_of("make test", words(f"clean answer {i}", 120)))
    for i in range(N_COPIES):   # of the clean ones, in forks
        name, share = f"copy_{i}", (0, 0.01, 0.02)[i % 3]
        write_turn(root, name, "refined", repo=f"fork/copy{i}",
                   messages=[{"role": "user", "content": planted.edited(draw, words(f"clean {i}", 300), share)}],
                   challenger=turn_of("make test", planted.edited(draw, words(f"clean answer {i}", 120), share)))
        reasons[name] = "near-duplicate"
    tasks = [{"instance_id": f"known__bench-{i}", "repo": f"known/bench{i}", "base_commit": f"{i:02x}" * 20,
              "problem_statement": words(f"statement {i}", 150), "test_patch": "", "patch": "\n".join((
                  "diff --git a/a.py b/a.py", "--- a/a.py", "+++ b/a.py", "@@ -1,1 +1,2 @@", " x",
                  f"+{words(f'gold {i}', 40)}", ""))} for i in range(N_TASKS)]
    (root / "verified.jsonl").write_text("".join(json.dumps(one) + "\n" for one in tasks))
    for i, one in enumerate(tasks):
        name = f"task_{i}"
        messages, more = task(f"mine {i}", 200), {}
        if i % 5 == 0:
            messages = [{"role": "user", "content": f"Please: {one['problem_statement']}"}]
        elif i % 5 == 1:
            messages[0]["content"] += " " + " ".join(one["problem_statement"].split()[30:60])   # a piece of it
        elif i % 5 == 2:
            more["challenger"] = turn_of(f"cat > a.py <<'E'\n{words(f'gold {i}', 40)}\nE")
        elif i % 5 == 3:
            more["instance_id"] = one["instance_id"]
        write_turn(root, name, repo=f"owner/task{i}", messages=messages, **more)
        if i % 5 == 4:
            write_pr(root, f"owner__task{i}-{i}", one["repo"], base_commit=one["base_commit"])
        reasons[name] = "in a benchmark"
    for i, (_, _, _, text) in enumerate(SECRETS):
        write_turn(root, f"secret_{i}", repo=f"owner/secret{i}",
                   messages=[*task(f"secret {i}", 100), {"role": "assistant", "content": turn_of("env")},
                             {"role": "user", "content": f"{words(f'before {i}', 60)}\n{text}\n{words(f'after {i}')}"}])
    assert run_here(export.main, root) == 0
    return root, reasons


def task(seed: str, n: int) -> list[dict]:
    return [{"role": "user", "content": words(seed, n)}]


def test_every_copy_and_every_task_is_left_out_and_nothing_else(exported):
    root, reasons = exported
    lines = [json.loads(line) for line in (root / "export" / "left_out.jsonl").read_text().splitlines()]
    assert {line["name"]: line["reason"] for line in lines} == reasons


def test_every_secret_is_masked_in_every_format_and_counted_where_it_stood(exported):
    root, _ = exported
    for form in FORMATS:
        text = (root / "export" / form / "train.jsonl").read_text()
        assert not [part for _, _, must_go, _ in SECRETS for part in must_go if json.dumps(part)[1:-1] in text], form
    turns = json.loads((root / "export" / "jsonl" / "manifest.json").read_text())["turns"]
    masked = {turn["name"]: turn["masked"] for turn in turns}
    for i, (shape, kind, *_) in enumerate(SECRETS):
        assert masked[f"secret_{i}"].get(kind), shape
    assert not [name for name, kinds in masked.items() if kinds and name.startswith("clean")]


def test_the_card_counts_them(exported):
    root, _ = exported
    card = (root / "export" / "dpo" / "README.md").read_text()
    assert f"| near-duplicates (Jaccard from 0.8) | {N_COPIES} left out |" in card
    assert f"| benchmarks: `verified.jsonl` | {N_TASKS} left out |" in card
