"""Build a root as the scripts leave it: its settings, and the records of each stage.

    tmp_path.with_prompts(3).with_commits(3)             # prompt/prompts_3_1.json, commit/
    root.with_panel("a", "b").with_answer("t_1", king=None)   # chain.toml, answer/t_1.json
    root.with_score("t_1", {"a": [1, 1, 1, 1, 0], "b": None})      # five metrics; None: unreadable
    root.with_duel().with_turn("t_2", "defeat", 10, repo="bob/two")   # score/_duel.json, defeat/
    root.with_record(Coverage, "heron", contexts="pytest")         # coverage/heron.json

tmp_path is a Root. A required field of a record that a test does not give has the empty value of
its type: a test writes out what it is about. No script runs and no model is asked.
"""
from __future__ import annotations

import json
import random
import re
from copy import copy
from dataclasses import MISSING, fields
from pathlib import Path
from typing import is_typeddict

from codedata import records
from codedata.disk.store import digest
from codedata.duel.scoring import turn_score
from codedata.records import (
    MAY_LACK,
    METRICS,
    Candidates,
    Commit,
    Executed,
    ProposedChange,
)

# [llm] of the tests: nobody waits for a second try
QUICK = {"retry_wait_s": 0.01, "call_timeout_s": 10.0}
NO_LEAK_JUDGE = "[leak]\nmodels = []\n"
SYSTEM = "You fix issues by running one bash command at a time."
# what the sides of with_answers() say: it does not tell whose it is
TEXTS = {"king": "quartz", "challenger": "onyx", "assistant": "amber"}
SCORES = {"final": 90.0, "refined": 70.0, "defeat": 10.0}
EMPTY = {"bool": False, "Object": {}, **dict.fromkeys(
    ("int", "Integer", "float", "Seconds", "Points", "UnixTime"), 0)}   # other words: a text


def filled(record: type, **given) -> dict:
    """Return a record of this type, or an entry of one's list, as on disk: what is given, and the
    empty value of each required field that is not.
    """
    types = ({name: one.__forward_arg__ for name, one in record.__annotations__.items()}
             if is_typeddict(record) else
             {one.name: one.type for one in fields(record)
              if one.default is MISSING and one.default_factory is MISSING})
    return {name: empty(type) for name, type in types.items() if name not in MAY_LACK} | given


def empty(type: str):
    """Return the empty value of a field's type, which is named as in records.py."""
    if "None" in type:
        return None
    entry = getattr(records, type, None)
    if is_typeddict(entry):
        return filled(entry)
    for start, value in (("list", []), ("dict", {})):
        if type.startswith(start):
            return value
    return copy(EMPTY.get(type, ""))


# what differs between two runs of the same work: measured values, tries, kept replies, times; and
# commas and layout, since entries of failed tries may be missing
NO_TIMES = re.compile(
    r'"(seconds|install_s|test_s|at|image_id|memory_bytes|tries|timeouts|throttled|replayed|'
    r'source_path)": ?(\{[^}]*|\[[\d.,\s]*|"?[^,}\s]+)|[,\s]|'
    r'\d+\.\d+ ?s\b|(20\d\d-\d\d-\d\dT)?\b\d\d:\d\d[\d:.]*')
ONE_RUN = filled(records.Measurement, runs=1, seconds=[1.0])   # of a Coverage


# texts -------------------------------------------------------------------------------------------

def turn_of(command: str, thought: str = "I go on.") -> str:
    return f"THOUGHT: {thought}\n\n```bash\n{command}\n```"


def words(seed: str, n: int = 40) -> str:
    """Return `n` made-up words that follow from the seed: no two texts are alike by chance."""
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


# files -------------------------------------------------------------------------------------------

def write_json(path: Path, record) -> None:
    write_files(path.parent, {path.name: json.dumps(record)})


def write_files(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Write files by their paths in a folder, and return it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes)
                         else content.encode(errors="surrogateescape"))
    return folder


def files_under(folder: Path) -> dict[str, bytes]:
    """Return what each file below a folder holds, by path."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}


def different_files(one: Path, other: Path, *directories: str) -> list[str]:
    """Return the files of these directories that only one of two roots has, or that differ in more
    than times. Ledgers and other files and folders whose name begins with `_` do not count.
    """
    texts = []
    for root in (one, other):
        places = [path for name in directories for path in (root / name).rglob("*")
                  if path.is_file() and "/_" not in str(path.relative_to(root))]
        texts.append({str(path.relative_to(root)): NO_TIMES.sub(
            "", path.read_text(errors="replace").replace(str(root), "")) for path in places})
    return sorted(name for name in {*texts[0], *texts[1]}
                  if texts[0].get(name) != texts[1].get(name))


def read_json(path: Path):
    return json.loads(path.read_text())


def json_lines(path: Path) -> list:
    """Return the rows of a JSON lines file, [] where there is none."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.split("\n") if line]


# entries of records ------------------------------------------------------------------------------

def a_prompt(i: int, **fields) -> dict:
    """Return prompt `i` (from 1): its last message is `task i`, its reference `reference i`."""
    messages = [{"role": "system",
                 "content": "You are an agent. Answer with THOUGHT and one bash block."},
                {"role": "user", "content": f"task {i}"}]
    return {"instance_id": f"proj__repo-{i}", "repo": "proj/repo", "language": "python", "turn": 0,
            "order": i, "messages": messages,
            "assistant": turn_of("true", f"reference {i}"), **fields}


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


DUEL = json.loads("""{
    "mode": "king", "order": "both", "challenger_score": 60.0, "king_score": 40.0, "margin": 20.0,
    "lcb": 16.0, "interval": [15.5, 24.25], "instances": 55, "parsed_frac": 0.9, "win_margin": 2.0,
    "gate_alpha": 0.05, "seed": 0, "min_valid_turn_frac": 0.5, "min_turns": 5, "resamples": 10000,
    "turns": 60, "turns_parsed": 54, "turns_judged": 60, "panel": {}, "missing_answers": 0,
    "turns_left": 0}""")   # a part of _duel.json


class Root(type(Path())):
    """Be the path of a root, which each `with_…` adds to and returns."""

    def __reduce__(self):   # a worker of a cluster does not have this module
        return Path, (str(self),)

    def with_json(self, place: str, record) -> Root:
        """Write ROOT/<place>.json."""
        write_json(self / f"{place}.json", record)
        return self

    def with_record(self, record: type, name: str, **fields) -> Root:
        """Write a record of this type under its name; that of a repository is of birds/<name>."""
        known = {"instance_id": name, "repo_name": name.partition(".")[0]}
        known["repo"] = f"birds/{known['repo_name']}"
        known = {key: value for key, value in known.items() if key in record.__dataclass_fields__}
        return self.with_json(f"{record.directory}/{name}", filled(record, **{**known, **fields}))

    def put(self, name: str, *made) -> Root:
        """Write records that are made, each into its own directory under this name."""
        for record in made:
            self.with_json(f"{record.directory}/{name}", vars(record))
        return self

    # settings

    def with_settings(self, llm: dict | None = None, more: str = "") -> Root:
        """Write ROOT/chain.toml: [llm] with quick retries and `llm`, then `more`; turn the leak
        judge off unless `more` has one.
        """
        more = more if "[leak]" in more else f"{NO_LEAK_JUDGE}\n{more}"
        lines = [f"{key} = {json.dumps(value)}" for key, value in {**QUICK, **(llm or {})}.items()]
        (self / "chain.toml").write_text("[llm]\n" + "\n".join(lines) + "\n" + more)
        return self

    def with_model(self, fake, more: str = "", **llm) -> Root:
        """Do with_settings() so that every role asks the fake for the model m."""
        return self.with_settings({"base_url": fake.base_url, "model": "m", **llm}, more)

    def with_panel(self, *judges: str, more: str = "") -> Root:
        """Write settings with these judges, who have no endpoint."""
        return self.with_settings(more=f"[judge]\nmodels = {json.dumps(judges)}\n{more}")

    def with_judges(self, fake, *models, judge: str = "", duel: str = "", more: str = "",
                    llm=None) -> Root:
        """Write settings with the panel `models` (names, or texts of TOML tables) at the fake, and
        further lines of sections.
        """
        if "min_instances" not in duel:
            duel += "\nmin_instances = 1"
        listed = ", ".join(m if m.startswith("{") else json.dumps(m) for m in models)
        return self.with_settings(
            {"base_url": fake.base_url, "workers": 4, **(llm or {})},
            f"[judge]\nmodels = [{listed}]\n{judge}\n[duel]\n{duel}\n"
            f"{more}\n")

    # prompts and answers

    def with_prompts(self, n: int, stem: str = "", **fields) -> Root:
        """Write ROOT/prompt/<stem>.json with `n` prompts (stem: prompts_<n>_1)."""
        return self.with_json(f"prompt/{stem or f'prompts_{n}_1'}",
                              [a_prompt(i, **fields) for i in range(1, n + 1)])

    def prompts(self) -> list[str]:
        """Return the names of all prompts, in the order of their files."""
        return [f"{path.stem}_{prompt['order']}" for path in sorted(self.glob("prompt/[!_]*.json"))
                for prompt in read_json(path)]

    def with_commits(self, n: int, **fields) -> Root:
        """Write the pull requests of with_prompts(n); turn the leak judge off."""
        if not (self / "chain.toml").exists():
            (self / "chain.toml").write_text(NO_LEAK_JUDGE)
        for i in range(1, n + 1):
            self.with_commit(f"proj__repo-{i}", **{
                "issue": f"issue {i}", "description": f"description {i}",
                "files": [f"src/file_{i}.py"],
                "patch": f"diff --git a/src/file_{i}.py b/src/file_{i}.py\n+fix {i}\n",
                "test_patch": f"test patch {i}", **fields})
        return self

    def with_commit(self, name: str, **fields) -> Root:
        return self.with_record(Commit, name, **{
            "repo": "proj/repo", "language": "python", "base_commit": "0" * 40, "files": ["a.py"],
            "created_at": "2024-01-02T03:04:05Z", "licence": None, **fields})

    def with_answers(self, n: int, first: int = 1, **fields) -> Root:
        """Write ROOT/answer/t_<i>.json with both sides, `n` of them; their last message is
        `task <i>`.
        """
        for i in range(first, first + n):
            sides = {side: turn_of(f"ls {word}_{i}", f"{word} {i} comes next.")
                     for side, word in TEXTS.items()}
            self.with_json(f"answer/t_{i}", {
                "instance_id": f"proj__repo-{i}", **sides,
                "messages": [{"role": "system", "content": "You are an agent in a shell."},
                             {"role": "user", "content": f"task {i}"}], **fields})
        return self

    def with_answer(self, name: str, king: str | None = "ls", challenger: str | None = "make test",
                    directory: str = "answer", **fields) -> Root:
        """Write ROOT/<directory>/<name>.json with two commands; None: that side is not made yet."""
        king, challenger = (command and turn_of(command) for command in (king, challenger))
        return self.with_json(f"{directory}/{name}", {
            "instance_id": f"proj__{name}",
            "messages": [{"role": "user", "content": f"task of {name}"}],
            "assistant": turn_of("npm ci"), "king": king, "challenger": challenger, **fields})

    def with_executed(self, name: str, *runs: tuple[str, dict], replay: str = "equal") -> Root:
        """Write what answers did, as (text of the answer, fields of its run)."""
        runs = [{"sides": [], "turns": [digest(text)], "command": "", "exit_code": 0,
                 "timed_out": False, "seconds": 0.1, "output": "", "changes": {}, "tests": {},
                 **fields} for text, fields in runs]
        return self.with_record(
            Executed, name, instance_id="proj__repo-1", start="base", how="overlay", replay=replay,
            before={"HIDDEN_a": "failed", "HIDDEN_b": "failed"}, runs=runs)

    # scores and buckets

    def with_score(self, name: str, verdicts: dict, rival: str = "king", **fields) -> Root:
        """Write ROOT/score/<name>.json with these verdicts and what follows from them by the rule:
        a metric on which a judge's two orders differ is a draw, a judge counts where both were
        read, the score is the mean over judges and metrics (tests/duel/score_cases.txt has it
        worked by hand).
        """
        judges = [one for judge, values in verdicts.items()
                  for one in entries(judge, values, rival)]
        meant = turn_score(judges, list(verdicts))
        return self.with_json(f"{'score' if rival == 'king' else 'score_reference'}/{name}", {
            "instance_id": f"proj__{name}", "answer_file": f"{name}.json", "mode": rival,
            "score": meant.score, "parse_ok": meant.score is not None, "metrics": meant.metrics,
            "reason": "", "judges": judges, **fields})

    def with_duel(self, accepted: bool = True, judges=("j",), **fields) -> Root:
        """Write ROOT/score/_duel.json: an outcome of judges who all say the same."""
        metrics = dict.fromkeys(METRICS, 60.0)
        if isinstance(judges, tuple):
            judges = {name: {"score": 60.0, "parse_rate": 0.97, "metrics": metrics, "model": name}
                      for name in judges}
        reasons = [] if accepted else ["margin 1.00 is below 2"]
        return self.with_json("score/_duel", {**DUEL, "accepted": accepted, "reasons": reasons,
                                              "metrics": metrics, "judges": judges, **fields})

    def with_turn(self, name: str, bucket: str = "final", score: float | None = None,
                  repo: str = "ann/one", licence: str | None = "MIT", **fields) -> Root:
        """Write ROOT/<bucket>/<name>.json, and the pull request of its instance."""
        score = SCORES[bucket] if score is None else float(score)
        record = {"instance_id": f"{repo.replace('/', '__')}-{name.rpartition('_')[2]}",
                  "messages": history(name), "assistant": turn_of("ls", words(f"{name} reference")),
                  "king": turn_of("pwd", words(f"{name} king")),
                  "challenger": turn_of("make test", words(f"{name} challenger")), "score": score,
                  "metrics": dict.fromkeys(METRICS, score), "reasons": [
                      {"judge": "j", "order": "king_first", "reason": words(f"{name} reason", 8)}],
                  "injections": [], "leaks": None, **fields}
        return self.with_json(f"{bucket}/{name}", record).with_pr(
            record["instance_id"], repo, licence)

    def with_turns(self, n: int = 24, n_repos: int = 8) -> Root:
        """Write a duel and `n` turns into all buckets, of so many repositories."""
        self.with_duel()
        for i in range(n):
            bucket, score = [("final", 100), ("final", 80), ("refined", 70), ("defeat", 50),
                             ("defeat", 20)][i % 5]
            self.with_turn(f"prompts_{n}_1_{i + 1}", bucket, score, f"owner/repo{i % n_repos}")
        return self

    def with_pr(self, instance_id: str, repo: str, licence: str | None = "MIT", **fields) -> Root:
        return self.with_commit(instance_id, **{
            "repo": repo, "base_commit": words(repo, 1) * 10,
            "issue": words(f"{instance_id} issue"), "licence": licence, **fields})

    # repositories

    def with_env(self, *environments: dict) -> Root:
        for one in environments:
            self.with_json(f"env/{one['repo_name']}", one)
        return self

    def with_candidates(self, name: str, *candidates: dict, **fields) -> Root:
        """Write candidates of a bug as a person may: <repo_name>.agent-<n>, or another name."""
        made = [filled(ProposedChange, **one) for one in candidates]
        return self.with_record(Candidates, name, candidates=made, **{
            "base_commit": "0" * 40, "method": "agent", **fields})
