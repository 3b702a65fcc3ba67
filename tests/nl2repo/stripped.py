"""Provide sources whose functions all run in tests, and patches of them, as nl2repo.py has them."""
from conftest import run_script
from root import ONE_RUN, filled
from setups import CA_FLAGS

from codedata.code.entities import SourceFile, Sources, all_entities
from codedata.records import Coverage, CoveredTest, RecordedFact

FLAGS = ["--workers", 2, *CA_FLAGS]
TEMPLATE = ["--writer", "template"]   # only what can be described without a model is stripped


def steps(root, words: str, *flags):
    """Run steps of nl2repo.py."""
    return run_script("nl2repo.py", root, "--steps", words, *FLAGS, *flags, timeout_s=300)


def sources_with(text: bytes = b"", **files: bytes) -> Sources:
    """Return sources of Python: m.py, and others by their names."""
    texts = {"m.py": text, **{f"{name}.py": content for name, content in files.items()}}
    return Sources([SourceFile(path, "python", content, path.startswith("test_"))
                    for path, content in sorted(texts.items()) if content])


def a_coverage(sources: Sources, untested: str = "", tests: dict[str, list[str]] | None = None,
               import_lines: dict[str, list[int]] | None = None) -> Coverage:
    """Return what tests run: {test: names of functions}; by default one test runs all functions but
    `untested`."""
    ids = [one.id for several in all_entities(sources)[0].values() for one in several
           if one.kind != "class"]
    tests = tests or {"all": [id.partition("::")[2] for id in ids]}
    sets = [[i for i, id in enumerate(ids) if id.partition("::")[2] in names
             and not id.endswith(untested or "\0")] for names in tests.values()]
    rows = [filled(CoveredTest, name=f"test_m.py::test_{name}", status=["passed"], functions=k)
            for k, name in enumerate(tests)]
    return Coverage(**filled(
        Coverage, repo="birds/wren", repo_name="wren", base_commit="c" * 40, contexts="pytest",
        measured=ONE_RUN, functions=ids, function_sets=sets, tests=rows,
        test_seconds=[0.1] * len(rows), import_lines=import_lines or {}))


def a_fact(code: list[str], told: str, of: str, lines: int = 1, **fields) -> dict:
    """Return a fact of a function, of which so many lines run."""
    return filled(RecordedFact, functions=[of], ran={of: lines}, code=code, told=told,
                  **{"kind": "value", **fields})
