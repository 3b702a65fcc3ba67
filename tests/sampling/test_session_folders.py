"""Check that a home folder's sessions are found, listed, matched with their commits, and priced."""
import json
import os
import re
import sys

import pytest
from conftest import REPO, edit, run_script
from programs import run_program
from root import read_json, write_files
from test_own_commits import World


@pytest.fixture
def home(tmp_path):
    """Return a home folder with two sessions of Claude Code, one of Codex, and links out of it."""
    world = World(tmp_path)
    task = {"role": "user", "content": [{"type": "text", "text": "Mend it."}]}
    for path, name, at, first in (
            (".claude/projects/-clone/inside", "inside", 0, {"type": "user", "message": task}),
            (".claude/projects/-clone/none", "none", 0, {"type": "user", "message": task}),
            (".codex/sessions/2026/05/rollout-2", "codex_2", 1,
             {"type": "response_item", "payload": {"type": "message", **task}})):
        lines = world.lines[name]
        lines.insert(at, {**lines[0], **first})
        lines = [{"uuid": f"u{i}", "sessionId": "s", **line} for i, line in enumerate(lines)]
        write_files(tmp_path / "home", {f"{path}.jsonl": "\n".join(map(json.dumps, lines))})
    odd = [{"role": "user", "content": [{"type": "text", "text": "<task>\nGo.\n</task>"}],
            "ts": 10**400, "cwd": ["odd"]}, {"role": "assistant", "ts": "\x1b[31mred", "content": [
                {"type": "tool_use", "id": "c", "name": "execute_command", "input": {}}]}]
    write_files(tmp_path / "home", {
        ".cline/data/tasks/1/api_conversation_history.json": json.dumps(odd)})
    private = write_files(tmp_path / "private", {"of_others.jsonl": "{}"})
    (tmp_path / "home/.claude/projects/linked").symlink_to(private)
    (tmp_path / "home/.codex/sessions/rollout-link.jsonl").symlink_to(private / "of_others.jsonl")
    return tmp_path / "home"


def test_a_home_folder_is_read_by_the_flag_alone(home, tmp_path):
    root, of_home = tmp_path / "root", {"HOME": str(home)}
    for source, says in ("sessions", "cannot choose"), ("sessions:", "has no session files"):
        write_files(root, {"chain.toml": f'[prompt]\nsource = "{source}"\n'})
        refused = run_script("prompt.py", root, env=of_home)
        assert refused.returncode == 2 and says in refused.stderr
    shown = run_script("prompt.py", root, "--source", "sessions", env=of_home).stderr
    for program, n in ("Claude Code", 2), ("Codex", 1):
        assert re.search(rf"{program} +\S+/clone +{n} +\d +2026-05-28 +2026-05-28\n", shown)
    assert "1000000000" in shown and "['odd']" in shown and "\x1b[31m" not in shown
    assert "private text" in shown and "others" not in shown
    assert "1 (session: no commit came out of it)" in shown
    assert "with a hidden solution: 2 of 2 turns" in shown
    assert read_json(root / "commit/inside.json")["matched"] == "commit in the session"


def test_only_the_sessions_of_a_repository_are_taken(home, tmp_path):
    for repo, n in ("clone", 2), (str(tmp_path / "clone"), 2), ("clon", 0):
        shown = run_script("prompt.py", tmp_path, "--source", f"sessions:{home}", "--only-repo",
                           repo, "--check").stderr
        assert len(re.findall("usable [1-9]", shown)) == n
        assert "of another repository" in shown
    empty = run_script("prompt.py", tmp_path, "--source", f"sessions:{tmp_path}/clone", "--check")
    assert empty.returncode == 2 and "opencode export" in empty.stderr


def test_the_chain_prices_the_duel_of_ones_sessions_and_keeps_nothing(home, tmp_path):
    write_files(tmp_path, {"mine.toml": '[prompt]\nsource = "a.json"\nprs = "b.json"\n'})
    done = run_program(sys.executable, REPO / "tools/chain", "sessions", "--root",
                       tmp_path / "root", "--config", tmp_path / "mine.toml", cwd=tmp_path,
                       env={"HOME": str(home), "PATH": os.environ["PATH"]})
    assert done.returncode == 0 and not (tmp_path / "root").exists()
    assert "all    to come: " in done.stderr and "Nothing was sent" in done.stderr
    assert "a sample of 20 turns (--count 20): 100% of this sum" in done.stderr


def test_a_key_that_a_session_has_seen_is_in_no_set(home, tmp_path):
    key, path = "ghp_" + "k3Y9" * 9, home / ".claude/projects/-clone/inside.jsonl"
    path.write_text(path.read_text().replace("def f", f"TOKEN={key} def f"))
    run_script("prompt.py", tmp_path, "--source", f"sessions:{home}", "--trajectories")
    for record in (tmp_path / "prompt/_trajectories").glob("*.json"):
        assert not read_json(record)["resolved"]
        edit(record, resolved=True)
    done = run_script("export.py", tmp_path, "--formats", "attempts")
    text = (tmp_path / "export/attempts/train.jsonl").read_text()
    assert "def f" in text and key not in text and "masked: token 1" in done.stderr
