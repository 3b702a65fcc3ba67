"""Write rows of trajectories and pull requests as files, and run prompt.py on them."""
import json

from conftest import run_script
from root import write_json

TURN = "I look at {0}.\n\n```bash\ngrep -n {0} .\n```"


def a_row(i: int, n_turns: int = 3, **fields) -> dict:
    messages = [{"role": "system", "content": "rules"}, {"role": "user", "content": f"task {i}"}]
    for t in range(n_turns):
        messages += [{"role": "assistant", "content": TURN.format(f"row{i}turn{t}")},
                     {"role": "user", "content": f"Observation: {i} {t}"}]
    return {"instance_id": f"own__repo-{i}", "repo": "own/repo", "messages": messages,
            "exit_status": "LimitsExceeded",
            "trajectory_format": "mini-swe-agent-1", "duration_sec": 1.0, **fields}


def a_pr(i: int, **fields) -> dict:
    patch = (f"diff --git a/src/f{i}.py b/src/f{i}.py\n--- a/src/f{i}.py\n+++ b/src/f{i}.py\n"
             "@@ -1 +1 @@\n-a\n+b\n")
    return {"instance_id": f"own__repo-{i}", "repo": "own/repo", "base_commit": "c" * 40,
            "created_at": 1700000000000, "patch": patch, "test_patch": "",
            "pr_description": f"fixes {i}", "problem_statement": f"broken {i}",
            "language": "python", "interface": "", "meta": {}, "install_config": {},
            "image_name": "", "FAIL_TO_PASS": [], "PASS_TO_PASS": [], **fields}


def write_jsonl(path, rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_sources(folder, rows, prs=None, more=""):
    write_jsonl(folder / "rows.jsonl", rows)
    prs = [a_pr(int(row["instance_id"].rpartition("-")[2])) for row in rows] if prs is None else prs
    write_json(folder / "prs.json", prs)
    folder.with_settings(
        more=f'[prompt]\nsource = "{folder}/rows.jsonl"\nprs = "{folder}/prs.json"\n{more}')


def sample(root, *flags, code=0) -> str:
    """Run prompt.py with the settings beside the root; return what it prints.

    A text may hold several flags.
    """
    words = [word for flag in map(str, flags) for word in flag.split()]
    done = run_script("prompt.py", root, "--config", root.parent / "chain.toml", *words,
                      cwd=root.parent)
    assert done.returncode == code, done.stderr
    return done.stderr
