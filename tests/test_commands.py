"""Check the commands in messages: each can be run as it stands where it is printed."""
from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
from conftest import REPO, run_process, run_script

from codedata.progress import runnable
from codedata.progress import work_in as commands_name

SCRIPTS = {path.name for path in REPO.glob("*.py")}
FILES = [*REPO.glob("*.py"), *(path for path in REPO.glob("codedata/**/*.py")
                               if path.parent.name not in ("programs", "recipes"))]
CALL = r"[a-z_]+\.py(?: [\w.{}*-]+(?:,[\w.{}]+)*)*"
NAMED = re.compile(f"{CALL}(?:; {CALL})*")   # by a stage: what comes before it and after it
WORDS = {"{word.name}": "agent", "{word}": "agent", "{step}": "", "{then}": "all",
         "{how}": "chosen", "{steps}": "agent", "{PLAYED_OUT}": "placebo"}


def texts_of(path: Path) -> set[str]:
    """Return the texts in a file's code, without docstrings; what is filled in stands in braces."""
    tree, texts, left_out = ast.parse(path.read_text()), set(), set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)):
            left_out |= {id(node.body[0].value)} if isinstance(node.body[0], ast.Expr) else set()
        if isinstance(node, ast.JoinedStr):
            left_out |= {*map(id, node.values)}
            texts.add("".join(one.value if isinstance(one, ast.Constant)
                              else f"{{{ast.unparse(one.value)}}}" for one in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts |= set() if id(node) in left_out else {node.value}
    return texts


TEXTS = {text for path in FILES for text in texts_of(path)}
CALLS = sorted({call for text in TEXTS for call in (
    text.split("; ") if NAMED.fullmatch(text) else re.findall(rf"\bpython ({CALL})", text))
    if call.split()[0] in SCRIPTS and not call.startswith("build_dp.py tool")})


def test_there_are_calls():
    assert len(CALLS) > 40 and "build_dp.py validate" in CALLS


@pytest.mark.parametrize("call", CALLS)
def test_a_script_takes_the_words_of_a_command(call, tmp_path):
    for name, word in WORDS.items():
        call = call.replace(name, word)
    script, *words = re.sub(r"\{.*?\}", "x", call).rstrip(".,:").split()
    done = run_script(script, tmp_path, *words, "--show-config")
    assert done.returncode == 0, done.stderr


def test_other_commands_in_messages_are_there():
    text = "\n".join(TEXTS)
    goals = re.findall(r"`make ([a-z-]+)`|Run: make ([a-z-]+)", text)
    makefile = (REPO / "Makefile").read_text()
    assert [goal for goal in filter(None, chain(*goals)) if f"\n{goal}:" not in makefile] == []
    tools = {*re.findall(r"\btools/[\w-]+", text)}
    assert {tool for tool in tools if not (REPO / tool).exists()} == set() != tools
    extras = {*re.findall(r"pip install '\.\[(\w+)\]'", text)}
    project = (REPO / "pyproject.toml").read_text()
    assert {extra for extra in extras if f"\n{extra} = [" not in project} == set() != extras
    assert not re.search(r"codedata\[\w+\]|python \S+ \w+\|", text)


def test_a_command_is_printed_with_this_python_the_scripts_folder_and_the_root(
        tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands_name("my runs")
    try:
        king, pip, other, whole = map(runnable, (
            "Run: python king.py --only 'a b'.", "pip install '.[ray]'", "a python program.py",
            "python king.py --root there"))
    finally:
        commands_name(".")
    assert king == (f"Run: {sys.executable} {REPO}/king.py --root 'my runs' --only 'a b'.")
    assert pip == f"{sys.executable} -m pip install '{REPO}[ray]'"
    assert whole == f"{sys.executable} {REPO}/king.py --root there"
    assert other.endswith("program.py --root 'my runs'")
    assert runnable("python king.py") == f"{sys.executable} {REPO}/king.py"


@pytest.mark.parametrize("words", ["king.py --help", "king.py --show-config", "status.py --json"])
def test_what_reads_a_script_may_end_before_it(words, tmp_path):
    done = subprocess.run(f"{sys.executable} {REPO}/{words} --root . | true; "
                          "echo ${PIPESTATUS[0]}", shell=True, executable="/bin/bash",
                          cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_the_command_that_a_run_names_runs_from_where_it_was_printed(tmp_path):
    (tmp_path / "runs").mkdir()
    printed = run_process("ch.py", tmp_path / "runs", "--status", cwd=tmp_path).stderr
    command = re.search(r"first run (.*)", printed)[1]
    assert shlex.split(command)[1:] == [f"{REPO}/king.py", "--root", f"{tmp_path}/runs"]
    done = subprocess.run(f"{command} --status", shell=True, cwd=tmp_path, capture_output=True)
    assert done.returncode == 0
