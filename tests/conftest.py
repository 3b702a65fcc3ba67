"""What the tests share: the fake endpoint, scripts run as processes of their own, and directories written by hand.

    from conftest import KING, read_answer, run_script, write_prompts
    from fake_llm import DROP

    def test_it(tmp_path, fake_llm):
        write_prompts(tmp_path, 3)
        fake_llm.script(DROP)
        done = run_script("king.py", tmp_path, *flags_for(fake_llm))
        assert done.returncode == 0 and read_answer(tmp_path, "prompts_3_1_1")["king"]

Every test runs in an empty folder of its own (tmp_path) and with none of the user's keys or settings.
"""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))   # the scripts, and codedata, which is not installed

from fake_llm import FakeLLM  # noqa: E402

from codedata import run_loop  # noqa: E402
from codedata.config import LLM, Endpoint, Settings  # noqa: E402
from codedata.errors import Trouble  # noqa: E402
from codedata.llm.calls import Calls, Money, counting  # noqa: E402

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:   # a background job: what it starts could not be interrupted
    signal.signal(signal.SIGINT, signal.default_int_handler)

KEY = "sk-test-4f9a1c77b2"   # a key that must turn up nowhere
SETTINGS_FROM = ("CHUTES_API_KEY", "CHUTES_BASE_URL", "LLM_BASE_URL", "QIANFAN_BEARER_TOKEN", "PIPELINE_PROXY",
                 "HF_TOKEN", "HUGGINGFACE_API_KEY", "REQUESTS_CA_BUNDLE", "DUEL_MODE", "HTTP_PROXY",
                 "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
QUICK = {"retry_wait_s": 0.01, "call_timeout_s": 10.0}   # [llm] of the tests: nobody waits for a second try


def pytest_collection_modifyitems(items):
    """What a test needs and this machine lacks has it skipped, or fails the run where CODEDATA_NEEDS_DOCKER is set.

    Files with containers come first: they take the longest, and one that began last would be waited for.
    """
    slow = {item.path for item in items if item.get_closest_marker("docker")}
    items.sort(key=lambda item: item.path not in slow)
    for marker, missing in (("docker", _no_engine), ("pods", _no_pods)):
        wanting = [item for item in items if item.get_closest_marker(marker)]
        if wanting and (why := missing()):
            if os.environ.get("CODEDATA_NEEDS_DOCKER"):
                raise pytest.UsageError(why)
            for item in wanting:
                item.add_marker(pytest.mark.skip(reason=why))


def _no_engine() -> str:
    """Why the tests with containers cannot run; "" where they can."""
    asked = subprocess.run("docker image inspect codedata-base:bookworm", shell=True, capture_output=True, text=True)
    return f"no Docker engine with codedata-base:bookworm (tools/docker-up): {asked.stderr.strip()}" * (
        asked.returncode != 0)


def _no_pods() -> str:
    """Why kube_server.py can make no pods here; "" where it can."""
    from kube_server import can_make_pods  # with a server and its checks: not for tests that want none
    return "" if can_make_pods() else "this user may not make namespaces (unshare): no pods here"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """(certificate, key) for 127.0.0.1, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=codedata test", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-keyout", key, "-out", cert], check=True, capture_output=True)
    return str(cert), str(key)


@pytest.fixture(autouse=True)
def _nothing_of_the_user(tmp_path, monkeypatch):
    """No key, endpoint or proxy of the user, and no chain.toml or .env in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in SETTINGS_FROM:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fake_llm():
    with FakeLLM() as fake:
        yield fake


# running scripts -----------------------------------------------------------------------------------------------------

def start_script(name: str, root: Path, *flags, env: dict | None = None, cwd: Path | None = None) -> subprocess.Popen:
    """`python NAME --root ROOT FLAGS` with captured output, in `cwd` (default: `root`, so that no other settings are
    found), and with nothing in its environment but PATH and `env`."""
    command = [sys.executable, str(REPO / name), "--root", str(root), *map(str, flags)]
    proxy_env = {"PATH": os.environ.get("PATH", ""), "HOME": str(root), "LANG": "C.UTF-8", **(env or {})}
    return subprocess.Popen(command, cwd=cwd or root, env=proxy_env, text=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen, timeout_s: float = 60.0) -> subprocess.CompletedProcess:
    """Wait for start_script()'s process; what it printed. Killed, and an error, after `timeout_s`."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"{process.args} still ran after {timeout_s} s:\n{out}\n{err}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run_script(name: str, root: Path, *flags, env: dict | None = None, cwd: Path | None = None,
               timeout_s: float = 60.0) -> subprocess.CompletedProcess:
    """start_script() and finish(): returncode, stdout, stderr."""
    return finish(start_script(name, root, *flags, env=env, cwd=cwd), timeout_s)


def kill(process: subprocess.Popen, number: int = signal.SIGKILL) -> subprocess.CompletedProcess:
    """Send a signal and wait for the end."""
    process.send_signal(number)
    return finish(process)


def run_here(main, root: Path, *flags) -> int:
    """The exit code of a script's main() in this process, as run_loop.main() gives it to the shell. Quicker."""
    with pytest.raises(SystemExit) as end:
        run_loop.main(lambda: main(["--root", str(root), *map(str, flags)]))
    return end.value.code or 0


def flags_for(fake: FakeLLM, *more) -> list[str]:
    """The flags that send a script to the fake."""
    return ["--llm-base-url", fake.base_url, *map(str, more)]


# settings ------------------------------------------------------------------------------------------------------------

NO_LEAK_JUDGE = "[leak]\nmodels = []\n"


def write_toml(root: Path, llm: dict | None = None, more: str = "") -> Path:
    """ROOT/chain.toml: [llm] with quick retries and `llm`, then `more` as it is; no leak judge unless it has one."""
    more = more if "[leak]" in more else f"{NO_LEAK_JUDGE}\n{more}"
    lines = [f"{key} = {json.dumps(value)}" for key, value in {**QUICK, **(llm or {})}.items()]
    path = Path(root) / "chain.toml"
    path.write_text("[llm]\n" + "\n".join(lines) + "\n" + more, encoding="utf-8")
    return path


def settings_for(fake: FakeLLM, key: str = "", **llm) -> Settings:
    """Settings that send every role to the fake, without any file."""
    llm = {"base_url": fake.base_url, "model": "m", "workers": 4, **QUICK, **llm}
    return Settings(llm=LLM(**llm), endpoints={"base_url": Endpoint("base_url", api_key=key)})


def item_calls(root: Path, item: str = "p_1", stage_name: str = "king"):
    """The calls of one item, as the run loop has them around an item function: `with item_calls(...) as calls`."""
    return counting(Calls(Path(root) / "answer", stage_name, item))


# directories by hand -------------------------------------------------------------------------------------------------

def turn_of(command: str, thought: str = "I go on.") -> str:
    return f"THOUGHT: {thought}\n\n```bash\n{command}\n```"


def write_json(path: Path, record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record), encoding="utf-8")


def a_prompt(i: int, **fields) -> dict:
    """Prompt number `i` (from 1): its last message is `task i`, its reference `reference i`."""
    messages = [{"role": "system", "content": "You are an agent. Answer with THOUGHT and one bash block."},
                {"role": "user", "content": f"task {i}"}]
    return {"instance_id": f"proj__repo-{i}", "repo": "proj/repo", "language": "python", "turn": 0, "order": i,
            "messages": messages, "assistant": f"THOUGHT: reference {i}\n\n```bash\ntrue\n```", **fields}


def write_prompts(root: Path, n: int, stem: str = "", **fields) -> list[str]:
    """ROOT/prompt/<stem>.json with `n` prompts (stem: prompts_<n>_1); the names of their items."""
    stem = stem or f"prompts_{n}_1"
    directory = Path(root) / "prompt"
    directory.mkdir(parents=True, exist_ok=True)
    prompts = [a_prompt(i, **fields) for i in range(1, n + 1)]
    (directory / f"{stem}.json").write_text(json.dumps(prompts), encoding="utf-8")
    return [f"{stem}_{i}" for i in range(1, n + 1)]


def write_commits(root: Path, n: int, **fields) -> None:
    """ROOT/commit/<instance_id>.json of the instances of write_prompts(root, n). No leak judge, where no chain.toml is.
    """
    if not (Path(root) / "chain.toml").exists():
        (Path(root) / "chain.toml").write_text(NO_LEAK_JUDGE)
    directory = Path(root) / "commit"
    directory.mkdir(parents=True, exist_ok=True)
    for i in range(1, n + 1):
        record = {"instance_id": f"proj__repo-{i}", "repo": "proj/repo", "language": "python", "base_commit": "0" * 40,
                  "issue": f"issue {i}", "description": f"description {i}", "files": [f"src/file_{i}.py"],
                  "patch": f"diff --git a/src/file_{i}.py b/src/file_{i}.py\n+fix {i}\n",
                  "test_patch": f"test patch {i}", "created_at": "2024-01-02T03:04:05Z", "licence": None, **fields}
        (directory / f"proj__repo-{i}.json").write_text(json.dumps(record), encoding="utf-8")


def read_answer(root: Path, name: str) -> dict:
    """The answer of an item, from answer/ or one of its shards."""
    found = list(Path(root).glob(f"answer*/{name}.json"))
    assert len(found) == 1, f"{name}: {found}"
    return json.loads(found[0].read_text(encoding="utf-8"))


def answers(root: Path) -> list[str]:
    """The names of all answers on disk, sorted."""
    return sorted(p.stem for p in Path(root).glob("answer*/[!_]*.json"))


def ledger_lines(directory: Path, **wanted) -> list[dict]:
    """The lines of DIRECTORY/_ledger.jsonl whose fields are as `wanted` (stage="king", state="failed")."""
    path = Path(directory) / "_ledger.jsonl"
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""   # a line may be under way
    lines = [json.loads(line) for line in whole.splitlines() if line]
    return [line for line in lines if all(line.get(key) == value for key, value in wanted.items())]


def spent_usd(root: Path, prices: dict | None = None) -> float:
    """What the suite itself says was spent under a root."""
    money = Money(prices or {})
    money.add_up(Path(root))
    return money.spent_usd


def everything_under(root: Path) -> str:
    """All files of a directory, as one text."""
    paths = sorted(p for p in Path(root).rglob("*") if p.is_file())
    return "\n".join(f"{p}\n{p.read_bytes().decode('utf-8', 'replace')}" for p in paths)


def eventually(condition, timeout_s: float = 10.0) -> None:
    """Wait till `condition()` holds; AssertionError after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not so after {timeout_s} s"
        time.sleep(0.01)


__all__ = ["KEY", "REPO", "Trouble", "a_prompt", "answers", "eventually", "everything_under", "finish", "flags_for",
           "item_calls", "kill", "ledger_lines", "read_answer", "run_here", "run_script", "settings_for", "spent_usd",
           "start_script", "write_commits", "write_prompts", "write_toml"]
