"""The directions of imports and the other lines that DESIGN draws, read from the code itself."""
from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO

LEVELS = {   # DESIGN.md, "The package": imports run from a higher number to a lower one
    "errors": 0, "config": 0, "records": 0, "texts": 0, "bounded": 0,
    "store": 1, "ledger": 1, "progress": 1, "llm": 1, "sandbox": 1,
    "resume": 2, "stage": 2,
    "agent": 3, "code": 3,
    "checks": 4, "leak": 4, "page": 4, "export": 4,
    "duel": 5, "env": 5, "bugs": 5, "nl2repo": 5, "datapoints": 5,
}
SCRIPTS = sorted(REPO.glob("*.py"))
MODULES = sorted((REPO / "codedata").rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in SCRIPTS + MODULES}
LONGEST_TEXT = 45   # words of a text in code: messages to a person are shorter, prompts are longer


def part(module: str) -> str:
    """The part of codedata that a module belongs to: codedata.llm.http is of llm."""
    return module.split(".")[1] if "." in module else ""


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path, tree: ast.AST | None = None) -> set[str]:
    """Full names of what a file imports, wherever in it; `from codedata import x` counts as codedata.x."""
    out = set()
    package = path.relative_to(REPO).parts[:-1]
    for node in ast.walk(tree or TREES[path]):
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[:len(package) - node.level + 1], *([node.module] if node.module else [])])
            out |= {f"{base}.{alias.name}" for alias in node.names} if base == "codedata" else {base}
    return out


def wrong_direction(path: Path, tree: ast.AST | None = None) -> list[str]:
    own = part(module_of(path))
    wrong = []
    for name in imported(path, tree):
        other = part(name) if name.startswith("codedata.") else ""
        if not other or other == own or not own:
            continue
        if LEVELS[other] > LEVELS[own] or LEVELS[other] == LEVELS[own] == 5:
            wrong.append(f"{module_of(path)} [{LEVELS[own]}] imports {name} [{LEVELS[other]}]")
        if own in ("llm", "sandbox") and other in ("stage", "resume"):
            wrong.append(f"{module_of(path)} imports {name}")
    return wrong


def ids(path: Path) -> str:
    return str(path.relative_to(REPO))


def test_there_is_something_to_look_at():
    assert {"king.py", "ch.py"} <= {path.name for path in SCRIPTS} and len(MODULES) > 10


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_every_module_has_a_level(path):
    assert part(module_of(path)) in {"", *LEVELS}


def test_the_levels_are_those_of_contributing():
    for line in (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"\| (\d) \| `(\w+)/`", line) or re.match(r"\| (\d) \| ((?:`\w+\.py` ?)+)", line):
            for name in re.findall(r"\w+(?=\.py)|^\w+$", found[2]):
                assert LEVELS[name] == int(found[1]), name


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_imports_run_from_a_higher_level_to_a_lower_one(path):
    assert wrong_direction(path) == []


@pytest.mark.parametrize("where, line", [
    ("llm/http.py", "from codedata.run_loop import run"), ("errors.py", "import codedata.store"),
    ("llm/client.py", "def f():\n    from codedata import stage"),
    ("duel/answer.py", "from codedata.bugs.inject import x"),
    ("store.py", "from codedata.llm import Client\nfrom codedata import duel"),
    ("llm/http.py", "from ..stage import run"), ("llm/http.py", "from .. import stage"),
])
def test_that_check_sees_a_wrong_direction(where, line):
    assert wrong_direction(REPO / "codedata" / where, ast.parse(line))


@pytest.mark.parametrize("path", MODULES, ids=ids)
def test_the_package_imports_no_script(path):
    assert not imported(path) & {script.stem for script in SCRIPTS}


@pytest.mark.parametrize("path", SCRIPTS, ids=ids)
def test_scripts_never_import_one_another(path):
    assert not imported(path) & {script.stem for script in SCRIPTS}


@pytest.mark.parametrize("path", SCRIPTS, ids=ids)
def test_a_script_is_about_a_screen(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("path", SCRIPTS, ids=ids)
def test_a_script_says_what_it_reads_and_writes_and_does_nothing_at_import(path):
    tree = TREES[path]
    doc = ast.get_docstring(tree)
    assert re.search(r"^reads ", doc, re.MULTILINE) and re.search(r"^writes ", doc, re.MULTILINE)
    mains = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    assert len(mains) == 1 and [arg.arg for arg in mains[0].args.args] == ["argv"] and len(mains[0].args.defaults) == 1
    definitions = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    for node in tree.body:
        text = ast.unparse(node)
        assert isinstance(node, definitions) or text.startswith("if __name__ == '__main__':") or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)), text


def test_importing_everything_prints_nothing_writes_nothing_and_starts_no_thread(tmp_path):
    names = [module_of(path) for path in SCRIPTS + MODULES]
    program = (f"import importlib, threading\nfor name in {names}: importlib.import_module(name)\n"
               "print(threading.active_count())")
    done = subprocess.run([sys.executable, "-B", "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(REPO)},
                          capture_output=True, text=True)
    assert (done.stdout, done.stderr, list(tmp_path.iterdir())) == ("1\n", "", [])


def reads_environment(tree: ast.AST) -> list[int]:
    """Lines that look at the environment."""
    return [node.lineno for node in ast.walk(tree)
            if (isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "getenvb"))
            or (isinstance(node, ast.ImportFrom) and node.module == "os"
                and {alias.name for alias in node.names} & {"environ", "environb", "getenv", "getenvb"})
            or (isinstance(node, (ast.Import, ast.ImportFrom)) and "dotenv" in ast.unparse(node))]


@pytest.mark.parametrize("path", SCRIPTS + [p for p in MODULES if p.name != "config.py"], ids=ids)
def test_only_config_looks_at_the_environment(path):
    assert reads_environment(TREES[path]) == []


def test_that_check_sees_the_environment():
    assert reads_environment(TREES[REPO / "codedata" / "config.py"])
    for line in ("os.environ['X']", "import os as o; o.getenv('X')", "from os import environ", "import dotenv"):
        assert reads_environment(ast.parse(line))


def catches_everything(tree: ast.AST) -> list[int]:
    """Lines with `except Exception`, `except BaseException`, a bare except, or suppress(Exception)."""
    broad = {"Exception", "BaseException"}

    def names(node) -> set[str]:
        return {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
    handlers = [node for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)
                and (node.type is None or broad & names(node.type))]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and "suppress" in ast.unparse(node.func)
             and broad & {ast.unparse(arg) for arg in node.args}]
    return [node.lineno for node in handlers + calls]


@pytest.mark.parametrize("path", SCRIPTS + [p for p in MODULES if p.name != "run_loop.py"], ids=ids)
def test_only_the_run_loop_catches_everything(path):
    assert catches_everything(TREES[path]) == []


def test_that_check_sees_who_catches_everything():
    assert catches_everything(TREES[REPO / "codedata" / "run_loop.py"])
    for handler in ("except:", "except BaseException:", "except (OSError, Exception) as e:"):
        assert catches_everything(ast.parse(f"try:\n    pass\n{handler}\n    pass"))


def long_texts(tree: ast.AST) -> list[str]:
    """Texts in code, not docstrings, that are long enough to be a prompt."""
    docs = {id(node.body[0].value) for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node) is not None}
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    texts = [(node, ast.unparse(node)) for node in ast.walk(tree) if id(node) not in docs | inner and (
        isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)))]
    return [text for _, text in texts if len(text.split()) > LONGEST_TEXT or re.search(r"\bYou are an? ", text)]


@pytest.mark.parametrize("path", SCRIPTS + MODULES, ids=ids)
def test_prompts_are_files_and_not_texts_in_code(path):
    assert long_texts(TREES[path]) == []


def test_that_check_sees_a_prompt():
    assert long_texts(ast.parse('PROMPT = "You are an agent."'))
    assert long_texts(ast.parse(f'x = f"{"word " * 60} {{y}}"'))
    assert not long_texts(ast.parse(f'"""{"word " * 60}"""'))


def test_every_prompt_file_is_used_and_packaged():
    prompts = [path for path in (REPO / "codedata").rglob("*") if path.suffix in (".md", ".gbnf")]
    packaged = (REPO / "pyproject.toml").read_text(encoding="utf-8")
    assert prompts
    for path in prompts:
        beside = "".join(module.read_text(encoding="utf-8") for module in path.parent.glob("*.py"))
        assert f'"{path.name}"' in beside, f"{path.name} is not used"
        assert f'"{module_of(path.parent / "__init__.py")}" = [' in packaged and f'"*{path.suffix}"' in packaged


def test_tests_never_patch_our_own_functions():
    words = ("mock." + "patch", "monkeypatch." + "setattr", "Magic" + "Mock")
    for path in (REPO / "tests").glob("*.py"):
        found = [word for word in words if word in path.read_text(encoding="utf-8")]
        assert not found, f"{path.name}: {found}"
