"""Check the commands in messages: each can be run as it stands where it is printed."""
import ast
import re
import shlex
from pathlib import Path

import pytest
from conftest import REPO, run_process, run_script
from programs import run_program

from codedata.run import cli
from codedata.terminal import runnable

CALL = r"[a-z_]+\.py(?: [\w.{}*'/=-]+(?:,[\w.{}=]+)*)*"
NAMED = re.compile(f"{CALL}(?:; {CALL})*")   # by a stage: what comes before it and after it
WORDS = {"word.name": "agent", "word.before": "inject", "word.maker": "prove", "word": "agent",
         "steps": "agent", "then": "all", "how": "chosen"}


def texts_of(path: Path) -> set[str]:
    """Return the texts in a file; what is filled in stands in braces."""
    nodes = [*ast.walk(ast.parse(path.read_text()))]
    filled = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    parts = {id(part) for node in filled for part in node.values}
    return {ast.unparse(node)[2:-1] for node in filled} | {
        str(node.value) for node in nodes if isinstance(node, ast.Constant)
        and id(node) not in parts}


TEXTS = set().union(*map(texts_of, [*REPO.glob("*.py"), *REPO.glob("codedata/**/*.py")]))
CALLS = sorted({call for text in TEXTS for call in (
    text.split("; ") if NAMED.fullmatch(text) else re.findall(rf"\bpython ({CALL})", text))
    if (REPO / call.split()[0]).exists() and " tool" not in call})


@pytest.mark.parametrize("call", CALLS)
def test_a_script_takes_the_words_of_a_command(call, tmp_path):
    call = re.sub(r"\{(.*?)\}", lambda match: WORDS.get(match[1], "x"), call)
    script, *words = shlex.split(call.rstrip("."))
    done = run_script(script, tmp_path, *words, "--show-config")
    assert done.returncode == 0, done.stderr


def test_a_command_is_printed_with_this_python_the_scripts_folder_and_the_root(tmp_path):
    root = tmp_path / "my runs"
    root.mkdir()
    printed = run_process("ch.py", root, "--status", cwd=tmp_path).stderr
    command = shlex.split(re.search(r"first run (.*)", printed)[1])
    assert command[1:] == [f"{REPO}/king.py", "--root", str(root)]
    assert run_program(*command, "--status", cwd=tmp_path).returncode == 0
    printed = run_process("export.py", root, cwd=tmp_path).stderr
    assert f" {REPO}/validate.py --root '{root}'; " in printed
    assert runnable("pip install '.[ray]'").endswith(f" -m pip install '{REPO}[ray]'")
    assert runnable("python king.py --root x").endswith("king.py --root x")


def test_a_command_repeats_what_has_an_at_sign_but_no_password(tmp_path):
    args = cli.parser("toy.py").parse_args(
        ["--root", str(tmp_path), "--only", "a@b", "--llm-base-url", "http://me:pw@host/v1",
         "--proxy", "me:pw@host"])
    assert args.given.keys() == {"root", "only"}
