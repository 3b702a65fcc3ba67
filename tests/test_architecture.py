"""Check what docs/contributing.md says of the package and no linter checks.

Each test looks at all files and reports every fault.
"""
import ast
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

from conftest import REPO
from programs import run_program

figures = SimpleNamespace(**runpy.run_path(str(REPO / "tools" / "figures")))

VERIFIER = "codedata.verifier"   # runs in a container: a room of its own

PACKAGE = {REPO / path: text
           for path, text in figures.read_files("codedata", ":(glob)*.py").items()}
TREES = {path: ast.parse(text) for path, text in PACKAGE.items()}
MODULES = [path for path in PACKAGE if path.parent != REPO]


def faults_in(paths, check) -> list[str]:
    """Run a check, which gives faults or line numbers, over files."""
    return [f"{path.relative_to(REPO)}: {fault}" for path in paths for fault in check(TREES[path])]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(REPO).with_suffix("").parts).removesuffix(".__init__")


def room(path: Path) -> str:
    """Return the part of codedata that a module belongs to: llm for codedata/llm/http.py."""
    return path.relative_to(REPO).parts[1]


def imported(tree: ast.AST) -> set[str]:
    """Return the full names that a file imports, wherever in it; `from codedata import x` counts as
    codedata.x.
    """
    out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = f"{'.' * node.level}{node.module or ''}"
            out |= {f"{base}.{alias.name}" for alias in node.names} if base == "codedata" else {
                base}
    return out


def needs_more_than_python(tree: ast.AST) -> set[str]:
    """Return what a module imports that a verifier's container may lack. pytest is in those with
    weighted tests."""
    return {name for name in imported(tree) if not name.startswith(f"{VERIFIER}.")
            and name.split(".")[0] not in {*sys.stdlib_module_names, "pytest"}}


def sent_from_elsewhere(tree: ast.AST) -> list[str]:
    """Return the programs that are read as texts, and do not lie in verifier/."""
    # tasks.image: of a repository's task, in the containers of solution and agent
    ours = f"text_of('{VERIFIER}'", "text_of('codedata.tasks.image', "
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)
             and ast.unparse(node.func) == "text_of"]
    return [ast.unparse(call) for call in calls if re.search(r"\.(py|sh)'", ast.unparse(call))
            and not ast.unparse(call).startswith(ours)]


def test_only_what_lies_in_verifier_runs_in_a_verifiers_container():
    inside = [path for path in MODULES if room(path) == "verifier"]
    senders = [path for path in MODULES
               if room(path) in ("tasks", "export", "checks", "bugs", "nl2repo",
                                   "datapoints", "pulls")]
    assert len(inside) > 5 and faults_in(inside, needs_more_than_python) == []
    assert faults_in(senders, sent_from_elsewhere) == []


def test_neither_the_package_nor_a_script_imports_a_script():
    names = {path.stem for path in PACKAGE if path.parent == REPO}
    assert faults_in(PACKAGE, lambda tree: imported(tree) & names) == []


def test_importing_everything_prints_nothing_writes_nothing_and_starts_no_thread(tmp_path):
    names = {*map(module_of, PACKAGE)} - {   # these need their extras
        "codedata.llm.litellm_calls", "codedata.datapoints.postgres_queue"}
    program = (f"import importlib, threading\nfor name in {names}: "
               "importlib.import_module(name)\n"
               "print(threading.active_count())")
    done = run_program(sys.executable, "-B", "-c", program, cwd=tmp_path,
                       env={"PYTHONPATH": str(REPO)})
    assert (done.stdout, done.stderr, list(tmp_path.iterdir())) == ("1\n", "", [])


def test_ctrl_c_reaches_no_program_that_was_started():
    def started(tree):
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") in ("run", "Popen"):
                is_ours = ast.unparse(call.func).startswith("subprocess.")
                if is_ours and "start_new_session" not in [one.arg for one in call.keywords]:
                    yield call.lineno
    outside = [path for path in MODULES   # of containers
               if path.name not in ("shadowed.py", "replay_scripts.py")
               and room(path) != "verifier"]
    assert faults_in(outside, started) == []
