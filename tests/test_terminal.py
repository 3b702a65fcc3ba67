"""Check that terminals, logs and Markdown show the control characters of others' text.

Each test puts ATTACK (the clipboard by OSC 52, the title, a cleared screen, a C1 control, a turned
line) into a place that somebody else writes, and looks at every byte that a script prints.
"""
import json
import os
import re
import subprocess
import sys

import pytest
from conftest import REPO, run_process, run_script
from fake_judges import validated as decide
from fake_llm import Status
from programs import run_program
from root import write_json

ATTACK = "\x1b]52;c;ZWNobw==\x07\x1b]0;title\x07\x1b[2J\x9b31m\u202e\x08\r"
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def assert_shown(done: subprocess.CompletedProcess, shown: str = "\\x1b]52;c;ZWNobw==") -> None:
    """Check that no control character was printed, and that the attack can be read."""
    for printed in (done.stdout, done.stderr):
        assert not UNSAFE.search(printed), printed
        assert "Traceback" not in printed
    assert shown in done.stdout + done.stderr


@pytest.mark.parametrize("reply",
                         [Status(400, {"error": ATTACK}), Status(200, ATTACK), Status(401, ATTACK),
                          Status(307, "", {"Location": "\x1b]52;c;ZWNobw=="}), ],
                         ids=["error", "no JSON", "key", "redirect"])
def test_what_an_endpoint_answers(tmp_path, fake_llm, run, reply):
    tmp_path.with_prompts(1).with_settings({"retry_max": 0})
    fake_llm.always(reply)
    escaped = isinstance(reply.body, dict)   # by JSON
    assert_shown(run("king --log-level debug"), "\\u001b]52" if escaped else "\\x1b]52")


@pytest.mark.parametrize("name", [ATTACK + ".json", "a\nking  wrote 7.json"],
                         ids=["attack", "line end"])
def test_the_name_of_a_file(tmp_path, run, name):
    tmp_path.with_prompts(1)
    write_json(tmp_path / "prompt" / name, {})
    for flags in ("--status", ""):
        done = run(f"king --log-level debug {flags}")
        assert_shown(done, "has a name that is refused")
        assert "\nking  wrote 7" not in done.stderr


SHOWN = """
[llm]
model = ATTACK
endpoint = ATTACK
[endpoints.ATTACK]
base_url = "URL"
headers = { ATTACK = "x" }
[prices]
ATTACK = { in = 0, out = 0 }
"""


def test_show_config_and_the_plan_show_names_of_settings(tmp_path, fake_llm):
    tmp_path.with_prompts(1)
    (tmp_path / "chain.toml").write_text(
        SHOWN.replace("ATTACK", json.dumps(ATTACK)).replace("URL", fake_llm.base_url))
    for flags in ("--show-config", "--status", "--dry-run", "--limit 1"):
        assert_shown(run_script("king.py", tmp_path, *flags.split()))


ROWS = """
{"repo": "ATTACK"}
{"repo": "a/b", "reformat_path": "ATTACK"}
{"repo": "a/b", "ATTACK": 7}
{"repo": "file:///nowhere/ATTACK"}
{"repo": "a/b", "repo_name": "ATTACK"}
"""


def test_a_row_of_input_and_what_git_says_of_it(tmp_path):
    (tmp_path / "repos.jsonl").write_text(ROWS.replace("ATTACK", json.dumps(ATTACK)[1:-1]) + ATTACK)
    flags = "--input repos.jsonl --planner recipe --sandbox local"
    # with what git itself prints
    assert_shown(run_process("env_setup.py", tmp_path, *flags.split()), "")


def test_markdown_that_is_looked_at_in_a_terminal(tmp_path):
    tmp_path.with_panel(f"a{ATTACK}", more=f"[king]\nmodel = {json.dumps(ATTACK)}\n")
    tmp_path.with_answer("t_1").with_score("t_1", {f"a{ATTACK}": [1, 1, 1, 1, 1]}, reason=ATTACK)
    decide(tmp_path)
    assert_shown(run_script("report.py", tmp_path), "report")
    page = (tmp_path / "report/report.md").read_text()
    assert not UNSAFE.search(page) and r"\\x1b\]52" in page


# the net: what every line passes -----------------------------------------------------------------

BAR = f"""
import logging, sys, time
logging.basicConfig(level="INFO", stream=sys.stdout)
from codedata.run.talk import Bar, RunTotals, Step
bar = Bar("x", 2)
step = Step("recipe", {ATTACK + "[/nothing]"!r}, "43 of 99", time.monotonic() - 100)
for _ in range(3):
    time.sleep(0.3)
    bar.update(RunTotals(), 1, {{"item" * 50: step}})
bar.update(RunTotals(), 18, None, 36)
time.sleep(0.3)
bar.update(RunTotals(), 18, None, 36)
bar.say({ATTACK!r})
bar.close()
"""


@pytest.mark.parametrize("columns", [80, 200])
def test_the_bar_on_a_terminal_shows_what_an_item_is_at(columns):
    here, there = os.openpty()
    done = subprocess.run([sys.executable, "-c", BAR], cwd=REPO, stderr=there,
                          stdout=subprocess.PIPE, timeout=30,
                          env={**os.environ, "TERM": "xterm", "COLUMNS": str(columns)})
    os.close(there)
    printed = os.read(here, 1 << 20).decode()
    os.close(here)
    assert b"INFO:codedata.terminal:" in done.stdout
    assert done.returncode == 0 and "\x1b]52" not in printed and "\x9b" not in printed
    assert "recipe: \\x1b]52;c;ZWNobw==\\x07\\x1b]0;title" in printed
    if columns > 80:
        assert "[/nothing], 43 of 99, 1 min 40 s (item" in printed
        assert "18 in flight  36 answers for these" in printed


PLAIN = """
from codedata.run import talk
talk.PLAIN_EVERY_S = 0.0
bar, step = talk.Bar("x", 9), talk.Step()
def begin(k):
    talk.begin_step("tests", k, 6)
    bar.update(talk.RunTotals(), 1, {"item": step})
with talk.showing(step):
    for k in 1, 1, 1, 2: begin(k)
    talk.current_step().count = "43 of 99"
for talk.SILENT_S in (300.0, 300.0, 0.0):
    bar.update(talk.RunTotals(), 1, {"item": step})
"""


def test_a_plain_line_comes_where_something_but_the_time_has_changed_or_after_long():
    done = run_program(sys.executable, "-c", PLAIN, cwd=REPO)
    assert re.sub(r"\d+ s\b", "T", done.stderr).splitlines() == [
        f"x  0/9 in T  1 in flight  {at}, T (item)" for at in (
            "1/6 tests", "2/6 tests", "2/6 tests, 43 of 99", "2/6 tests, 43 of 99")]


def test_a_log_file_has_what_is_said_with_quiet_too_and_each_retry(tmp_path, fake_llm, run):
    tmp_path.with_prompts(1).with_settings()
    fake_llm.script(Status(503, ATTACK))
    assert not run("king --quiet --log-file run.log").stderr
    again = run("king --log-level info --log-file run.log").stderr
    log = (tmp_path / "run.log").read_text()
    said = re.sub(r"^\d{4}(-\d\d){2}T(\d\d:){2}\d\dZ ", "", log, flags=re.MULTILINE)
    plan, retry = re.escape("king  prompt/ 1 → answer/"), r"HTTP 503: \\x1b]52.*; again in .* s"
    assert re.match(rf"{plan}.*\n.*\n.*{retry}\nking  wrote 1 ", said) and said.endswith(again)
    assert not UNSAFE.search(log)
    assert run("king --log-file nowhere/run.log").returncode == 2


NET = f"""
import logging
from codedata import terminal
from codedata.run import cli
from codedata.errors import Trouble
def run():
    cli.read(cli.parser("").parse_args(["--log-level", "info"]))
    try:
        raise ValueError({ATTACK!r})
    except ValueError:
        logging.getLogger("x").exception("said %s", {ATTACK!r})
    terminal.say(str(Trouble({ATTACK!r}, "a\\nb{ATTACK!r}", {ATTACK!r})))
    raise KeyError({ATTACK!r}) from ValueError({ATTACK!r})
cli.main(run)
"""


def test_a_log_line_a_message_and_the_traceback_of_a_bug():
    done = run_program(sys.executable, "-c", NET, cwd=REPO)
    assert done.returncode == 1 and not UNSAFE.search(done.stderr) and "\nb" not in done.stderr
    assert done.stderr.count("ValueError: \\x1b]52") == 2
    assert "ERROR x: said \\x1b]52" in done.stderr
