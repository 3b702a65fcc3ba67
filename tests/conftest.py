"""Give the tests a fake endpoint, scripts to run, and a root of their own (root.py).

    from conftest import read_answer, run_script
    from fake_llm import DROP

    def test_it(tmp_path, fake_llm):
        tmp_path.with_prompts(3)
        fake_llm.script(DROP)
        done = run_script("king.py", tmp_path, *flags_for(fake_llm))
        assert done.returncode == 0 and read_answer(tmp_path, "prompts_3_1_1")["king"]

Every test runs in an empty folder of its own (tmp_path) and with none of the user's keys or
settings.
"""
import gc
import importlib
import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

pytest_plugins = ["durations"]
REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))   # the scripts, and codedata, which is not installed
sys.path.append(str(REPO / "tests/sandbox"))      # the servers that pods and images need
sys.path.append(str(REPO / "tests/bugs"))         # agents that make bugs, on a cluster, too
sys.path.append(str(REPO / "tests/turns"))        # turns, there, too
sys.path.append(str(REPO / "tests/datapoints"))   # small datapoints, which others audit, too
sys.path.append(str(REPO / "samples"))            # task_set, replay

from browser import chromium, show  # noqa: E402, F401  fixtures
from fake_llm import HANG, FakeLLM  # noqa: E402
from heron_environment import heron_image  # noqa: E402, F401  fixture
from heron_project import image_name, repository, source  # noqa: E402, F401  fixtures
from root import QUICK, Root, read_json, write_files, write_json  # noqa: E402

import king  # noqa: E402
from codedata.llm.costs import Money  # noqa: E402
from codedata.llm.replies import ReplyLog, recording  # noqa: E402
from codedata.run import cli  # noqa: E402
from codedata.settings import LLM, ApiKey, Endpoint, Settings  # noqa: E402

# a background job: what it starts could not be interrupted
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

KEY = "sk-test-4f9a1c77b2"   # a key that must turn up nowhere
SETTINGS_FROM = """CHUTES_API_KEY CHUTES_BASE_URL LLM_BASE_URL QIANFAN_BEARER_TOKEN
    OPENAI_API_KEY OPENAI_BASE_URL PIPELINE_PROXY HF_TOKEN HUGGINGFACE_API_KEY GITHUB_TOKEN
    GITHUB_API_URL REQUESTS_CA_BUNDLE DUEL_MODE DUEL_HOW DUEL_SOURCE
    HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy"""


def pytest_addoption(parser):
    parser.addoption("--root", default="runs", help="the folder that the demos filled (-m demo)")


def pytest_runtest_setup(item):
    """Fail a test that wants an engine or pods where this machine has none; skip none."""
    for marker, missing in (("docker", _no_engine), ("pods", _no_pods)):
        if item.get_closest_marker(marker) and (why := missing()):
            pytest.fail(f"{why}\n`make test` has the tests that want neither.", pytrace=False)


@cache
def _no_engine() -> str:
    """Return why the tests with containers cannot run, or ""."""
    asked = subprocess.run("docker image inspect codedata-base:bookworm", shell=True,
                           capture_output=True, text=True)
    if asked.returncode == 0:
        return ""
    return f"no Docker engine with codedata-base:bookworm (tools/docker-up): {asked.stderr.strip()}"


@cache
def _no_pods() -> str:
    """Return why kube_server.py can make no pods here, or ""."""
    # imported here: it needs packages that the tests without pods do not
    from kube_server import can_make_pods
    return "" if can_make_pods() else "this user may not make namespaces (unshare): no pods here"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """Return (certificate, key) for 127.0.0.1, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=codedata test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key,
                    "-out", cert], check=True, capture_output=True)
    return str(cert), str(key)


@pytest.fixture
def tmp_path(tmp_path):
    """Return the test's own folder, to build a root in."""
    return Root(tmp_path)


@pytest.fixture(autouse=True)
def _nothing_of_the_user(tmp_path, monkeypatch):
    """Hide the user's keys, endpoints and proxies, and any chain.toml or .env in the current
    folder.
    """
    monkeypatch.chdir(tmp_path)
    for name in SETTINGS_FROM.split():
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fake_llm():
    with FakeLLM() as fake:
        yield fake


@pytest.fixture(scope="session")
def _answered(tmp_path_factory):
    """Return a root of five prompts that king.py and ch.py have answered."""
    root = Root(tmp_path_factory.mktemp("answered"))
    root.with_prompts(5).with_commits(5).with_settings()
    with FakeLLM() as fake:
        for script in ("king.py", "ch.py"):
            assert run_script(script, root, *flags_for(fake)).returncode == 0
    return root


@pytest.fixture
def answered_root(_answered, tmp_path):
    """Copy a root of five prompts, answered by both, to tmp_path.

    It keeps the mtimes, which the ledger knows.
    """
    return shutil.copytree(_answered, tmp_path, dirs_exist_ok=True)


@pytest.fixture
def heron(tmp_path):
    """Write a module with two tests, and its row in ROOT/repos.jsonl; return ROOT."""
    return write_files(tmp_path, {
        "heron/heron.py": "def wade():\n    return 'slowly'\n", "heron/test_heron.py":
        "import heron\n\ndef test_wade():\n    assert heron.wade() == 'slowly'\n\n"
        "def test_name():\n    assert heron.__name__ == 'heron'\n",
        "repos.jsonl": '{"repo": "birds/heron", "reformat_path": "heron", "stars": 3}\n'})


# running scripts ---------------------------------------------------------------------------------

def run_script(name: str, root: Path, *flags, env: dict | None = None, cwd: Path | None = None,
               timeout_s: float = 60.0) -> subprocess.CompletedProcess:
    """Run `python NAME --root ROOT FLAGS` in this process; return returncode, stdout and stderr.

    As in run_process(), it runs in `cwd` (default: `root`, so that no other settings are found),
    and with nothing in its environment but PATH, DOCKER_HOST, HOME and `env`. A PYTHONPATH there
    asks for an interpreter of its own.
    """
    if "PYTHONPATH" in (env or {}):
        return run_process(name, root, *flags, env=env, cwd=cwd)
    words = [str(REPO / name), "--root", str(root), *map(str, flags)]
    out, err = io.StringIO(), io.StringIO()
    main, environment = importlib.import_module(Path(name).stem).main, _environment(root, env)
    with _limit(timeout_s, words), pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd or root)
        for key in list(os.environ):
            patch.delenv(key)
        for key, value in environment.items():
            patch.setenv(key, value)
        for name, value in (("argv", words), ("stdout", out), ("stderr", err),
                            ("excepthook", None)):
            patch.setattr(sys, name, value)
        patch.setattr(tempfile, "tempdir", None)
        patch.setattr(logging.root, "handlers", [])
        try:
            cli.main(lambda: main(words[1:]))
        except SystemExit as end:
            code = end.code or 0
        except Exception:   # a bug, shown as cli.main() has it shown
            sys.excepthook(*sys.exc_info())
            code = 1
    gc.unfreeze()   # the run loop has frozen what it planned: a process would have ended with it
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


@contextmanager
def _limit(timeout_s: float, words: list[str]):
    """Raise AssertionError after a time, and put the handlers of signals back."""
    def too_long(*_):
        raise AssertionError(f"{words} still ran after {timeout_s} s")
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _environment(root: Path, more: dict | None) -> dict:
    given = {name: os.environ[name] for name in ("PATH", "DOCKER_HOST") if name in os.environ}
    return {**given, "HOME": str(root), "LANG": "C.UTF-8", **(more or {})}


@pytest.fixture
def run(tmp_path, fake_llm):
    """Return a function: run("king --limit 3", …) runs a script on tmp_path with the fake."""
    def run_words(words: str, *more, **kwargs) -> subprocess.CompletedProcess:
        script, *flags = words.split()
        return run_script(f"{script}.py", tmp_path, *flags_for(fake_llm), *flags, *more, **kwargs)
    return run_words


@pytest.fixture
def status(run):
    """Return a function: status("king") is the text that a script prints with --status."""
    return lambda script: run(f"{script} --status").stderr


def start_script(name: str, root: Path, *flags, env: dict | None = None,
                 cwd: Path | None = None) -> subprocess.Popen:
    """Start a script as a process of its own, with captured output: for kills, signals, locks and
    what is printed.
    """
    return subprocess.Popen(
        [sys.executable, str(REPO / name), "--root", str(root), *map(str, flags)], cwd=cwd or root,
        env=_environment(root, env), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True)


def finish(process: subprocess.Popen, timeout_s: float = 60.0) -> subprocess.CompletedProcess:
    """Wait for start_script()'s process and return its output.

    It is killed, and an error, after `timeout_s`.
    """
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(
            f"{process.args} still ran after {timeout_s} s:\n{out}\n{err}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run_process(name: str, root: Path, *flags, **kwargs) -> subprocess.CompletedProcess:
    """Run a script as a process of its own, to its end."""
    return finish(start_script(name, root, *flags, **kwargs))


def kill(process: subprocess.Popen, number: int = signal.SIGKILL) -> subprocess.CompletedProcess:
    """Send a signal and wait for the end."""
    process.send_signal(number)
    return finish(process)


def kill_king_after(root: Path, fake: FakeLLM, *replies) -> None:
    """Run king.py with one worker, and kill it at the call after these replies."""
    fake.script(*replies, HANG)
    process = start_script("king.py", root, *flags_for(fake, "--workers", 1))
    fake.wait_for(len(replies) + 1)
    kill(process)


def run_here(main, root: Path, *flags) -> int:
    """Return the exit code of a script's main(), called in the test's environment and folder."""
    with pytest.raises(SystemExit) as end:
        cli.main(lambda: main(["--root", str(root), *map(str, flags)]))
    return end.value.code or 0


def run_king(root: Path, fake: FakeLLM, *flags) -> int:
    """Return the exit code of king.py with one worker, called here."""
    return run_here(king.main, root, *flags_for(fake, "--workers", 1, *flags))


def flags_for(fake: FakeLLM, *more) -> list[str]:
    """Return the flags that send a script to the fake."""
    return ["--llm-base-url", fake.base_url, *map(str, more)]


# settings ----------------------------------------------------------------------------------------

def settings_for(fake: FakeLLM, key: str = "", **llm) -> Settings:
    """Return settings that send every role to the fake, without any file."""
    llm = {"base_url": fake.base_url, "model": "m", "workers": 4, **QUICK, **llm}
    return Settings(llm=LLM(**llm),
                    endpoints={"base_url": Endpoint("base_url", fake.base_url,
                                                    api_key=ApiKey(key))})


def item_calls(root: Path):
    """Open the calls of one item, as the run loop does around an item function: `with
    item_calls(...) as calls`.
    """
    return recording(ReplyLog(Path(root) / "answer", "king", "p_1"))


# directories by hand -----------------------------------------------------------------------------

def with_odd(record: dict, name: str, value: str) -> str:
    """Return a record as JSON in which the first field of a name is the text `value`; a new field
    where there is none of that name."""
    inner = [one for one in record.values() if isinstance(one, dict)]
    owner = next((one for one in (record, *inner) if name in one), record)
    before = owner.get(name)
    owner[name] = "ODD"
    text = json.dumps(record).replace('"ODD"', value)
    owner[name] = before
    return text


def queue_line(type: str = "generate_idea") -> dict:
    """Return a line of dp/_queue.jsonl, of a new task."""
    task = {**dict.fromkeys(("agent", "lease_until", "result", "claim")), "id": f"{type}_1",
            "type": type, "state": "pending", "parent": "", "priority": 0, "attempts": 0,
            "created_at": 1, "errors": [], "key": ""}
    data = {"seed": "sums", "datapoint": "sums", "content": "c", "rates": {}, "tried": []}
    return {"at": 1, "event": "created", "detail": "", "task": task, "data": data}


def read_answer(root: Path, name: str) -> dict:
    """Return the answer of an item, from answer/ or one of its shards."""
    found = list(Path(root).glob(f"answer*/{name}.json"))
    assert len(found) == 1, f"{name}: {found}"
    return read_json(found[0])


def answers(root: Path) -> list[str]:
    """Return the names of all answers on disk, sorted."""
    return sorted(p.stem for p in Path(root).glob("answer*/[!_]*.json"))


def edit(path: Path, change=None, **fields) -> None:
    """Change the record of a file by hand: set `fields`, then call change(record)."""
    record = read_json(path)
    if fields:
        record.update(fields)
    if change:
        change(record)
    write_json(path, record)


def ledger_lines(directory: Path, **wanted) -> list[dict]:
    """Return the lines of DIRECTORY/_ledger.jsonl with the `wanted` fields (state="failed")."""
    path = Path(directory) / "_ledger.jsonl"
    # a line may be under way
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    lines = [json.loads(line) for line in whole.splitlines() if line]
    return [line for line in lines if all(line.get(key) == value for key, value in wanted.items())]


def spent_usd(root: Path, prices: dict | None = None) -> float:
    """Return the USD that the suite itself counts under a root."""
    money = Money(prices or {})
    money.add_up(Path(root))
    return money.spent_usd


def mtimes(paths: Iterable[Path]) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in paths}


def everything_under(root: Path) -> str:
    """Return all files of a directory as one text."""
    paths = sorted(p for p in Path(root).rglob("*") if p.is_file())
    return "\n".join(f"{p}\n{p.read_bytes().decode('utf-8', 'replace')}" for p in paths)


def eventually(condition, timeout_s: float = 60.0) -> None:
    """Wait till `condition()` holds; raise AssertionError after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not so after {timeout_s} s"
        time.sleep(0.01)
