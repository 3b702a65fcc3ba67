"""Run child processes and measure their cost, run the mock server, and write prompts, for the
benchmarks.

Costs come from wait4(), so they are those of one process from start to end, with all its threads.
A child's peak memory is at least this process's memory when the child starts, so this module keeps
nothing large.
"""
from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
LIST_LENGTH = 200   # prompts per file, as prompt.py writes them
SETTINGS_FROM_OUTSIDE = ("LLM_BASE_URL", "PIPELINE_PROXY", "REQUESTS_CA_BUNDLE", "CHUTES_BASE_URL",
                         "CHUTES_API_KEY")
WORDS = ["parser", "token", "cache", "index", "return", "value", "error", "config", "buffer",
         "stream", "module", "import", "test", "assert", "path", "file", "line", "offset", "branch",
         "commit", "merge", "table"]


def parser_of(doc: str) -> argparse.ArgumentParser:
    """Return a parser whose help is a benchmark's docstring."""
    return argparse.ArgumentParser(description=doc,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)


@dataclass
class Cost:
    """Hold the cost, the exit code and the output of one process."""

    wall_s: float
    user_s: float
    system_s: float
    peak_mb: float
    exit_code: int
    ended_t: float
    stdout: str = field(repr=False, default="")
    stderr: str = field(repr=False, default="")

    @property
    def cpu_s(self) -> float:
        return self.user_s + self.system_s


def run(command: list, cwd: Path, want: tuple[int, ...] = (0,)) -> Cost:
    """Run a command and return its cost; end this script if its exit code is not in `want`."""
    environment = {k: v for k, v in os.environ.items() if k not in SETTINGS_FROM_OUTSIDE}
    # files, since pipes would have to be read
    with open(cwd / "_stdout", "w+") as out, open(cwd / "_stderr", "w+") as err:
        started = time.monotonic()
        child = subprocess.Popen([str(c) for c in command], cwd=cwd, env=environment, stdout=out,
                                 stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        wall_s, ended_t = time.monotonic() - started, time.time()
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        cost = Cost(wall_s, usage.ru_utime, usage.ru_stime, usage.ru_maxrss / 1024,
                    child.returncode, ended_t, out.read(), err.read())
    if cost.exit_code not in want:
        sys.exit(f"exit {cost.exit_code}: {' '.join(map(str, command))}\n{cost.stderr[-3000:]}")
    return cost


def script(name: str, root: Path, *flags) -> list:
    """Return the command that runs a script of the project on `root`."""
    return [sys.executable, PROJECT / name, "--root", root, "--config", root / "chain.toml", *flags]


@dataclass
class Mock:
    base_url: str
    ca_bundle: str
    stats: dict = field(default_factory=dict)   # empty until the server has ended


@contextmanager
def mock_llm(*options, tls: bool = False):
    """Run benchmarks/mock_llm.py in its own process, on a free port."""
    command = [sys.executable, HERE / "mock_llm.py", "--port", "0", *options,
               *(["--tls"] if tls else [])]
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True) as server:
        try:
            lines = [server.stdout.readline() for _ in range(1 + tls)]
            if not lines[-1]:
                sys.exit("mock_llm.py did not start")
            mock = Mock(lines[0].split()[-1], lines[1].split()[-1] if tls else "")
            yield mock
        finally:
            server.terminate()
            rest = server.stdout.read()
    mock.stats = json.loads(rest)


def write_root(root: Path, n: int, chars: int, commits: bool = False, turns: int = 1) -> None:
    """Write a root of `n` prompts with histories of about `chars` characters, as prompt.py does;
    with `commits`, also a PR record for each `turns` prompts. A child process writes it, to keep
    this process's memory small.
    """
    root.mkdir(parents=True, exist_ok=True)
    (root / "chain.toml").touch()
    (root / ".env").touch()   # else the current folder's .env would be read
    child = get_context("spawn").Process(target=_write_root,
                                         args=(root, n, chars, commits, turns))
    child.start()
    child.join()
    if child.exitcode:
        sys.exit("the prompts could not be written")


def _write_root(root: Path, n: int, chars: int, commits: bool, turns: int) -> None:
    sys.path.insert(0, str(PROJECT))
    from codedata.disk.store import Lists, Store
    from codedata.records import Commit, Prompt
    lists = Lists(root, Prompt).open()
    for first in range(0, n, LIST_LENGTH):
        lists.put_file(f"prompts_{n}_{first // LIST_LENGTH + 1}",
                       prompts_from(first, n, chars, turns), stage="prompt", state="done")
    store = Store(root, Commit).open()
    for i in range(-(-n // turns) if commits else 0):
        commit = commit_of(i)
        known = store.put(commit.instance_id, commit, tuple(vars(commit)))
        store.note(commit.instance_id, stage="prompt", state="done", **known.line())


def prompts_from(first: int, n: int, chars: int, turns: int) -> list:
    """Return the records of a list that begins with prompt `first` of `n`."""
    from codedata.records import Prompt
    return [Prompt(instance_id=_instance(i // turns), repo="bench/repo", language="python", turn=3,
                   order=i - first + 1, messages=history(i, chars),
                   assistant="THOUGHT: I look.\n\n```bash\nls\n```")
            for i in range(first, min(n, first + LIST_LENGTH))]


def commit_of(i: int):
    """Return the PR record of instance `i`."""
    from codedata.records import Commit
    draw = random.Random(i)
    patch = f"diff --git a/src/m{i}.py b/src/m{i}.py\n" + "".join(
        f"+{_sentence(draw)}\n" for _ in range(12))
    return Commit(_instance(i), "bench/repo", "python", f"{i:040x}", _sentence(draw, 60),
                  _sentence(draw, 20), [f"src/m{i}.py"], patch, patch)


def history(i: int, chars: int) -> list[dict]:
    """Return a system message, a task and an agent's turns, of about `chars` characters together;
    they depend only on `i` and `chars`.
    """
    draw = random.Random(i)
    messages = [{"role": "system",
                 "content": f"You are an agent in a terminal: one block a turn. {_sentence(draw)}"},
                {"role": "user", "content": f"Task {i}: {_sentence(draw, 40)}"}]
    left = chars - sum(len(m["content"]) for m in messages)
    while left > 0:
        turn = (f"THOUGHT: {_sentence(draw)}\n\n```bash\n"
                f"grep -rn '{draw.choice(WORDS)}' src | head\n```")
        seen = "Observation: " + "\n".join(
            f"src/{draw.choice(WORDS)}.py:{draw.randrange(900)}: {_sentence(draw, 6)}"
            for _ in range(8))
        seen = seen[:max(40, left - len(turn))]
        messages += [{"role": "assistant", "content": turn}, {"role": "user", "content": seen}]
        left -= len(turn) + len(seen)
    return messages


def _instance(i: int) -> str:
    return f"bench__repo-{i + 1:06d}"


def _sentence(draw: random.Random, n: int = 12) -> str:
    return " ".join(draw.choices(WORDS, k=n))


class Others:
    """Measure the cores that other processes use from now on, by /proc/stat; None without it. Many
    mean that the run is noisy."""

    def __init__(self):
        self.busy_s, self.t = self._busy_s(), time.monotonic()

    def cores(self, ours_s: float) -> float | None:
        if self.busy_s is None:
            return None
        return round(
            max(0.0, (self._busy_s() - self.busy_s - ours_s) / (time.monotonic() - self.t)), 2)

    @staticmethod
    def _busy_s() -> float | None:
        try:
            user, nice, system, _, _, irq, softirq, steal = map(
                int, Path("/proc/stat").read_text().split()[1:9])
        except OSError:
            return None
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def machine() -> dict:
    """Return facts about the machine, to see whether figures of two runs are comparable."""
    return {"python": ".".join(map(str, sys.version_info[:3])),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
                     else os.cpu_count(), "load_1m": round(os.getloadavg()[0], 2)}
