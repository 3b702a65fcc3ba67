"""Check that a home folder's sessions are found, listed, matched with their commits, and priced."""
import os
import re
import sys

import pytest
from conftest import REPO, run_script
from programs import run_program
from root import read_json, write_files
from test_own_commits import Session, World, lines


@pytest.fixture
def home(tmp_path):
    """Return a home folder with a session of Claude Code and one of Codex in two work folders, and
    links to others."""
    world = World(tmp_path)
    world.sessions = tmp_path / "home/.claude/projects/-clone"
    Session(world, "inside").edit("inside", *lines("inside")).commit("Inside")
    world.git(world.clone, "worktree", "add", "-q", "-b", "second", "../second")
    world.sessions = tmp_path / "home/.codex/sessions/2026/05"
    Session(world, "rollout-codex", tmp_path / "second", codex=True).edit("codex", *lines("codex"))
    (world.sessions / "linked").symlink_to(write_files(tmp_path / "private", {
        "of_others.jsonl": "{}"}))
    (world.sessions / "rollout-link.jsonl").symlink_to(tmp_path / "private/of_others.jsonl")
    return tmp_path / "home"


def test_a_home_folder_is_read_by_the_flag_alone(home, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "chain.toml").write_text('[prompt]\nsource = "sessions"\n')
    refused = run_script("prompt.py", root, env={"HOME": str(home)})
    assert refused.returncode == 2 and "cannot choose" in refused.stderr
    shown = run_script("prompt.py", root, "--source", "sessions", env={"HOME": str(home)}).stderr
    assert re.search(r"Claude Code +1 +3 +2026-05-28 +2026-05-28 +\S+/clone\n", shown)
    assert re.search(r"Codex +1 +\d +2026-05-28 +2026-05-28 +\S+/second\n", shown)
    assert "private text" in shown and "others" not in shown
    assert "with a hidden solution: 1 of 1 turn" in shown
    assert read_json(root / "commit/inside.json")["matched"] == "commit in the session"


def test_only_the_sessions_of_a_repository_are_taken(home, tmp_path):
    for repo, taken in ("clone", "Claude Code"), (str(tmp_path / "second"), "Codex"):
        shown = run_script("prompt.py", tmp_path, "--source", f"sessions:{home}", "--only-repo",
                           repo, "--keep-unmatched", "--check").stderr
        assert re.findall("(Claude Code|Codex): .* usable [1-9]", shown) == [taken]
        assert "of another repository" in shown
    empty = run_script("prompt.py", tmp_path, "--source", f"sessions:{tmp_path}/second", "--check")
    assert empty.returncode == 2 and "opencode export" in empty.stderr


def test_the_chain_prices_the_duel_of_ones_sessions_and_keeps_nothing(home, tmp_path):
    done = run_program(sys.executable, REPO / "tools/chain", "sessions", "--root",
                       tmp_path / "root", cwd=tmp_path,
                       env={"HOME": str(home), "PATH": os.environ["PATH"]})
    assert done.returncode == 0 and not (tmp_path / "root").exists()
    assert "all    to come: " in done.stderr and "Nothing was sent" in done.stderr
