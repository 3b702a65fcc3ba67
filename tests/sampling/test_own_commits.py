"""Check that sessions in a real clone get the commits that came out of them, or none."""

import json
import subprocess
from itertools import count

from root import write_files

from codedata.sampling.pull_requests import fetch_prs, iso_utc
from codedata.sampling.trajectories import open_source

# who does what: `me` is the person, whose other verbs are commands of git
SCRIPT = """
inside   edit   inside
inside   commit Inside
codex_1  edit   codex
codex_1  commit Of-Codex
me       append inside
me       commit Later-by-hand
after    edit   after
me       commit After
codex_2  edit   named
me       append named
me       commit After-Codex
squashed edit   squashed
squashed commit One
squashed edit   squashed
squashed commit Two
me       reset -q --soft HEAD~2
me       commit Squashed
me       checkout -qb topic
rebased  edit   rebased
rebased  commit Rebased
me       checkout -q main
one      edit   both
other    edit   both
one      commit Both
me       rebase -q main topic
me       checkout -q main
none     edit   none
me       checkout -q -- .
me       append none
me       commit Another-way
reverted edit   reverted
reverted commit Wrong
me       revert --no-edit HEAD
me       worktree add -q -b second ../second
worktree edit   worktree
worktree commit Second
amended  edit   amended
amended  commit Draft
me       append amended
me       commit -qam Amended --amend
split    edit   inside
split    edit   after
me       append named
me       commit -qm By-hand named.py
me       commit -qm First inside.py
me       commit -qam Rest
undone   edit   codex
undone   commit Undone
me       append named
me       commit Between
me       checkout -q HEAD~2 -- codex.py
me       commit Back
mixed    edit   none
me       append none 2 3 4 5 6 7 8 9
me       commit Mixed
user     begin
me       append after
user     commit Of-the-user
early    begin
me       append both
me       commit Before-its-edit
early    edit   both
me       checkout -q -- .
partly   edit   none
partly   edit   after
partly   edit   both
me       checkout -q -- after.py both.py
me       commit Partly
left     edit   squashed
next     edit   squashed
next     commit Next
twin     edit   sub/twin
me       mv -f sub/twin.py twin.py
me       checkout -q HEAD -- sub/twin.py
me       commit Same-name
half     edit   named
half     edit   twin
me       checkout -q -- twin.py
me       append named 2 3
me       commit Half-and-half
me       checkout -qb later
merged   edit   squashed
me       commit Merged
me       checkout -q main
me       merge -q --no-ff later
me       branch -qd later
again    revert
again    edit   both
again    commit Other-words
"""
EXACT, LINES = "commit in the session", "lines"
MATCHES = {
    "inside": (EXACT, "Inside", "Begin"), "codex_1": (EXACT, "Of-Codex", "Inside"),
    "after": (LINES, "After", "Later-by-hand"), "codex_2": (LINES, "After-Codex", "After"),
    "squashed": (LINES, "Squashed", "After-Codex"), "rebased": (LINES, "Rebased", "Both"),
    "worktree": (EXACT, "Second", 'Revert "Wrong"'),
    "amended": (LINES, "Amended", 'Revert "Wrong"'), "split": (LINES, "First\n\nRest", "By-hand"),
    "next": (EXACT, "Next", "Partly"), "merged": (LINES, "Merged", "Half-and-half")}
PROBLEMS = {
    "again": "reverts", "one": "before its commit (other)", "other": "no commit",
    "none": "no commit",
    "reverted": "reverts", "undone": "reverts", "mixed": "no commit", "user": "no file that it",
    "early": "no commit", "partly": "no commit", "left": "may be of another session (next)",
    "twin": "no commit", "half": "no commit",
    "odd": ""}


class World:
    """A clone, a folder of sessions, and a clock that goes on by a minute with each command."""

    def __init__(self, folder):
        self.clone, self.sessions = folder / "clone", folder / "sessions"
        self.now, self.lines, self.marks = 1_780_000_000, {}, count()
        self.git(folder, "init", "-qb", "main", "clone")
        write_files(self.clone, {f"{line.split()[2]}.py": "def f():\n    return 0\n"
                                 for line in SCRIPT.split("\n") if " edit " in line})
        self.me("commit", "Begin")
        for line in SCRIPT.strip().split("\n"):
            who, verb, *words = line.split()
            self.me(verb, *words) if who == "me" else self.session(who, verb, *words)

    def git(self, folder, *words: str) -> str:
        self.now += 60
        dates = {f"GIT_{who}_DATE": f"@{self.now} +0000" for who in ("AUTHOR", "COMMITTER")}
        return subprocess.run(
            ["git", "-c", "user.name=me", "-c", "user.email=me@host", *words], cwd=folder,
            check=True, text=True, capture_output=True, env={**dates, "PATH": "/usr/bin:/bin"}
        ).stdout

    def me(self, verb: str, *words: str) -> None:
        if verb == "append":
            with open(self.clone / f"{words[0]}.py", "a") as file:
                file.writelines(f"by_hand_{next(self.marks)} = 1\n" for _ in words)
        elif verb == "commit" and len(words) == 1:
            self.git(self.clone, "add", "-A")
            self.git(self.clone, "commit", "-qm", *words)
        else:
            self.git(self.clone, verb, *words)

    def session(self, who: str, verb: str, word: str = "") -> None:
        """Work as a session, and write its file in the shape of its program."""
        folder = self.clone.parent / "second" if who == "worktree" else self.clone
        branch = self.git(folder, "rev-parse", "--abbrev-ref", "HEAD").strip()
        is_codex = who.startswith("codex")

        def write(kind: str, **content) -> None:
            self.lines.setdefault(who, []).append(
                {"type": kind, "timestamp": iso_utc(self.now)} | ({"payload": content} if is_codex
                else {"cwd": str(folder), "gitBranch": branch, "uuid": str(next(self.marks)),
                      "sessionId": who, "message": content}))

        def call(tool: str, given: dict, result: str) -> None:
            at = f"c{next(self.marks)}"
            if is_codex:
                write("response_item", type=f"{tool}_call", call_id=at, **given)
                write("response_item", type=f"{tool}_call_output", call_id=at, output=result)
                return
            write("assistant", id=f"m{at}", role="assistant", content=[
                {"type": "tool_use", "id": at, "name": tool, "input": given}])
            write("user", role="user", content=[
                {"type": "tool_result", "tool_use_id": at, "content": result}])

        if is_codex and who not in self.lines:
            write("session_meta", id=who, cwd=str(folder), git={
                "commit_hash": self.git(folder, "rev-parse", "HEAD").strip(), "branch": branch})
            write("response_item", type="message", role="user", content=[
                {"type": "input_text", "text": "Mend it."}])
        elif who not in self.lines:
            write("user", role="user", content="Mend it.")
        if verb == "revert":
            words = "revert", "--no-commit", "HEAD~1"
            call("Bash", {"command": f"git {' '.join(words)}"}, self.git(folder, *words))
        elif verb == "commit":
            shown = self.git(folder, "commit", "-am", word)
            command = f"git commit -am {word}"
            call(*("function", {"name": "exec_command", "arguments": json.dumps({"cmd": command})})
                 if is_codex else ("Bash", {"command": command}), shown)
        elif verb == "edit":
            self.edit(folder / f"{word}.py", who, call, is_codex)

    def edit(self, path, who: str, call, is_codex: bool) -> None:
        """Add four lines to a file, and write the session's calls that did it."""
        text = path.read_text()
        new = "".join(f"    {who}_{next(self.marks)} = {i}\n" for i in range(4))
        path.write_text(text.replace("    return 0\n", f"{new}    return 0\n"))
        if is_codex:
            body = "".join(f"+{line}\n" for line in new.splitlines())
            call("custom_tool", {"name": "apply_patch", "input": "*** Begin Patch\n*** Update "
                 f"File: {path.name}\n@@\n{body}     return 0\n*** End Patch"},
                 "Success. Updated the following files:\nM")
            return
        shown = "\n".join(f"{i:6}→{line}" for i, line in enumerate(text.splitlines(), 1))
        call("Read", {"file_path": str(path)}, shown)
        call("Edit", {"file_path": str(path), "old_string": "    return 0",
                      "new_string": f"{new}    return 0"}, "Done")


def test_sessions_get_their_own_commits_or_a_reason(tmp_path):
    world = World(tmp_path)
    world.lines["odd"] = [{"type": "user", "message": {"role": "user", "content": "Mend it."},
                           "timestamp": iso_utc(world.now), "gitBranch": [1],
                           "cwd": "a\0" + "b" * 300}]
    world.lines["none"][0]["gitBranch"] = "a\0\ud800"
    write_files(world.sessions, {f"{name}.jsonl": "\n".join(map(json.dumps, lines))
                                 for name, lines in world.lines.items()})
    for spec, missing in ((f"git:{world.clone}", ""), ("sessions", "worktree")):
        sessions = open_source(str(world.sessions), None).sessions
        records, problems = fetch_prs(spec, sessions, None, sessions.copy)
        assert {name: (one["matched"], one["description"], world.git(
            world.clone, "log", "-1", "--format=%s", one["base_commit"]).strip())
            for name, one in records.items()} == {
                name: match for name, match in MATCHES.items() if name != missing}
        assert [name for name, why in PROBLEMS.items() if why not in problems[name]] == []
