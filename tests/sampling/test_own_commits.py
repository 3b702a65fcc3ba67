"""Check that sessions in a real clone get the commits that came out of them, or none."""

import json
import subprocess
from itertools import count
from pathlib import Path

import pytest
from root import write_files

from codedata.sampling.pull_requests import fetch_prs, iso_utc
from codedata.sampling.trajectories import open_source

START = 1_780_000_000
AS_ME = ("-c", "user.name=me", "-c", "user.email=me@host")
FILES = ("inside", "codex", "after", "named", "squashed", "rebased", "both", "none", "reverted",
         "worktree", "amended")


class World:
    """A clone, a clock that goes on by a minute with each event, and a folder of sessions."""

    def __init__(self, folder: Path):
        self.clone, self.sessions = folder / "clone", folder / "sessions"
        self.minutes = count()
        self.now = START
        self.git(folder, "init", "-qb", "main", "clone")
        for name in FILES:
            write_files(self.clone, {f"{name}.py": f"def {name}():\n    return 0\n"})
        self.commit("Begin")

    def git(self, folder: Path, *words: str) -> str:
        self.now = START + 60 * next(self.minutes)
        env = {f"GIT_{who}_DATE": f"@{self.now} +0000" for who in ("AUTHOR", "COMMITTER")}
        return subprocess.run(["git", *AS_ME, *words], cwd=folder, check=True, text=True,
                              capture_output=True, env={**env, "PATH": "/usr/bin:/bin"}).stdout

    def commit(self, subject: str) -> None:
        self.git(self.clone, "add", "-A")
        self.git(self.clone, "commit", "-qm", subject)


class Session:
    """A session that works on the clone, and writes its file in the shape of its program."""

    def __init__(self, world: World, name: str, folder: Path | None = None, codex: bool = False):
        self.world, self.name, self.codex = world, name, codex
        self.folder = folder or world.clone
        self.branch, self.head = (world.git(self.folder, "rev-parse", *words).strip()
                                  for words in (["--abbrev-ref", "HEAD"], ["HEAD"]))
        self.lines: list = []
        if codex:
            self.write("session_meta", {"id": name, "cwd": str(self.folder), "git": {
                "commit_hash": self.head, "branch": self.branch}})

    def write(self, kind: str, content: dict) -> None:
        key, more = "payload", {}
        if not self.codex:
            key, more = "message", {"uuid": f"u{len(self.lines)}", "sessionId": self.name,
                                    "cwd": str(self.folder), "gitBranch": self.branch}
        self.lines.append({"type": kind, "timestamp": iso_utc(self.world.now), key: content} | more)
        text = "\n".join(map(json.dumps, self.lines))
        write_files(self.world.sessions, {f"{self.name}.jsonl": text})

    def call(self, tool: str, given, result: str) -> None:
        at = f"c{len(self.lines)}"
        if self.codex:
            kind = "custom_tool_call" if tool == "apply_patch" else "function_call"
            given = {"input": given} if tool == "apply_patch" else {"arguments": json.dumps(given)}
            self.write("response_item", {"type": kind, "name": tool, "call_id": at, **given})
            self.write("response_item", {"type": f"{kind}_output", "call_id": at, "output": result})
            return
        self.write("assistant", {"id": f"m{at}", "role": "assistant", "content": [
            {"type": "tool_use", "id": at, "name": tool, "input": given}]})
        self.write("user", {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": at, "content": result}]})

    def edit(self, file: str, *added: str) -> "Session":
        path = self.folder / f"{file}.py"
        text = path.read_text()
        old, new = text.splitlines()[-1], "\n".join([*added, text.splitlines()[-1]])
        path.write_text(text.replace(old, new))
        if self.codex:
            body = "".join(f"+{line}\n" for line in added)
            self.call("apply_patch", f"*** Begin Patch\n*** Update File: {file}.py\n@@\n{body}"
                      f" {old}\n*** End Patch", "Success. Updated the following files:\nM")
            return self
        shown = "\n".join(f"{i:6}→{line}" for i, line in enumerate(text.splitlines(), 1))
        self.call("Read", {"file_path": str(path)}, shown)
        self.call("Edit", {"file_path": str(path), "old_string": old, "new_string": new}, "Done")
        return self

    def commit(self, subject: str) -> "Session":
        shown = self.world.git(self.folder, "commit", "-am", subject)
        name = "cmd" if self.codex else "command"
        self.call("exec_command" if self.codex else "Bash",
                  {name: f"git commit -am '{subject}'"}, shown)
        return self


def lines(word: str, n: int = 4) -> list[str]:
    return [f"    {word}_{i} = {word!r} * {i}" for i in range(n)]


def twelve_sessions(world: World) -> None:
    begin, git, clone = (lambda *a, **k: Session(world, *a, **k)), world.git, world.clone
    begin("inside").edit("inside", *lines("inside")).commit("Inside")
    begin("codex", codex=True).edit("codex", *lines("codex")).commit("Of Codex")
    write_files(clone, {"inside.py": (clone / "inside.py").read_text() + "inside = 1\n"})
    world.commit("Later by hand")
    begin("after").edit("after", *lines("after"))
    world.commit("After")
    begin("named", codex=True).edit("named", *lines("named"))
    write_files(clone, {"named.py": (clone / "named.py").read_text() + "    # by hand\n"})
    world.commit("After Codex")
    begin("squashed").edit("squashed", *lines("a")).commit("One").edit(
        "squashed", *lines("b")).commit("Two")
    git(clone, "reset", "-q", "--soft", "HEAD~2")
    world.commit("Squashed")
    git(clone, "checkout", "-qb", "topic")
    begin("rebased").edit("rebased", *lines("rebased")).commit("Rebased")
    git(clone, "checkout", "-q", "main")
    one, other = begin("one").edit("both", *lines("one")), begin("other")
    other.edit("both", *lines("other"))
    one.commit("Both")
    git(clone, "rebase", "-q", "main", "topic")
    git(clone, "checkout", "-q", "main")
    begin("none").edit("none", *lines("none"))
    git(clone, "checkout", "-q", "--", ".")
    write_files(clone, {"none.py": "\n".join(["def none():", *lines("hand"), *lines("none", 1)])})
    world.commit("Another way")
    begin("reverted").edit("reverted", *lines("reverted")).commit("Wrong")
    git(clone, "revert", "--no-edit", "HEAD")
    git(clone, "worktree", "add", "-q", "-b", "second", "../second")
    begin("worktree", folder=clone.parent / "second").edit("worktree", *lines("w")).commit("Second")
    begin("amended").edit("amended", *lines("amended")).commit("Draft")
    write_files(clone, {"amended.py": (clone / "amended.py").read_text() + "# by hand\n"})
    git(clone, "commit", "-qa", "--amend", "-m", "Amended")


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def matches(world: World, spec: str = "") -> tuple[dict, dict]:
    source = open_source(str(world.sessions), None)
    records, problems = fetch_prs(spec or f"git:{world.clone}", source.sessions, None,
                                  lambda: source.sessions)
    return {name: (one["matched"], one["description"], world.git(
        world.clone, "log", "-1", "--format=%s", one["base_commit"]).strip())
        for name, one in records.items()}, problems


def test_eight_of_twelve_sessions_get_their_commits_and_the_others_a_reason(world):
    twelve_sessions(world)
    odd = {"type": "user", "message": {"role": "user", "content": "Mend it."}, "cwd": "a\0b",
           "timestamp": "2026-05-28T20:00:00Z", "gitBranch": [1]}
    write_files(world.sessions, {"odd.jsonl": json.dumps(odd)})
    found, problems = matches(world)
    inside, by_lines = "commit in the session", "lines"
    assert found == {
        "inside": (inside, "Inside", "Begin"), "codex": (inside, "Of Codex", "Inside"),
        "after": (by_lines, "After", "Later by hand"),
        "named": (by_lines, "After Codex", "After"),
        "squashed": (by_lines, "Squashed", "After Codex"),
        "rebased": (by_lines, "Rebased", "Both"), "amended": (by_lines, "Amended", found[
            "amended"][2]), "worktree": (inside, "Second", found["worktree"][2])}
    assert "other edited its files" in problems["one"] and "revert" in problems["reverted"]
    assert problems.keys() == {"one", "other", "none", "reverted", "odd"}
    own = matches(world, "sessions")[0]
    assert {**own, "worktree": found["worktree"]} == found
