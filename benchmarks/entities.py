"""Compare the entities that codedata/code/entities.py finds with those that each language's own
parser sees: by file, full name and first line.

  python benchmarks/entities.py --cache DIR                  # one pinned project a language
  python benchmarks/entities.py --cache DIR --language go
  python benchmarks/entities.py --cache DIR --language python --folder SRC
  python benchmarks/entities.py --cache DIR --record         # answers for the samples of the tests

Truth is `ast` of this Python, the TypeScript compiler for JavaScript and TypeScript, go/parser for
Go; it needs pip, npm, and for Go apt-get and go (package golang-go). One JSON line on stdout.
"""
import argparse
import ast
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from measure import PROJECT, machine, parser_of

TYPESCRIPT = "typescript@5.9.3"
PROJECTS = {   # what is fetched by which client, and what it unpacks to
    "python": (["pip", "download", "--no-deps", "--no-binary", ":all:", "click==8.5.1"],
               ["tar", "xf", "click-8.5.1.tar.gz"]),
    "javascript": (["npm", "pack", "mocha@11.7.1"], ["tar", "xf", "mocha-11.7.1.tgz"]),
    "typescript": (["npm", "pack", "rxjs@7.8.1"], ["tar", "xf", "rxjs-7.8.1.tgz"]),
    "go": (["apt-get", "download", "golang-github-spf13-cobra-dev=1.6.1-1"],
           ["dpkg-deb", "-x", "golang-github-spf13-cobra-dev_1.6.1-1_all.deb", "."])}
# what of a package is not written by hand: bundles, and what was compiled from other files of it
LEFT_OUT = {"javascript": "*/mocha*.js", "typescript": "*/dist/*"}
SAMPLES = PROJECT / "tests" / "code" / "definitions"
Definitions = dict[str, set[tuple[str, int]]]   # {path: {(name, line)}}


def main() -> None:
    args = parser().parse_args()
    sys.path.insert(0, str(PROJECT))
    if args.record:
        record(args.cache)
        return
    report = {"benchmark": "entities", **machine(), "languages": {}}
    for language in [args.language] if args.language else PROJECTS:
        folder = args.folder or fetched(language, args.cache)
        report["languages"][language] = figures(language, folder, args.cache)
        print(language, report["languages"][language], file=sys.stderr)
    print(json.dumps(report))


def parser() -> argparse.ArgumentParser:
    p = parser_of(__doc__)
    p.add_argument("--cache", type=Path, required=True, help="folder for what is downloaded")
    p.add_argument("--language", choices=PROJECTS, help="this one alone")
    p.add_argument("--folder", type=Path, help="sources to read instead of the pinned project")
    p.add_argument("--record", action="store_true",
                   help="write what the compilers say of the samples")
    return p


def fetched(language: str, cache: Path) -> Path:
    """Return the folder of the pinned project, downloaded where it is not there yet."""
    folder = cache / language
    if not folder.exists():
        folder.mkdir(parents=True)
        for command in PROJECTS[language]:
            subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)
    return folder


def figures(language: str, folder: Path, cache: Path) -> dict:
    """Return precision, recall and the CPU time over the files that both can parse."""
    from codedata.code.entities import all_entities, read_sources, tree_of
    sources = read_sources(folder)
    sources.files[:] = [one for one in sources.files if one.language == language
                        and not fnmatchcase(one.path, LEFT_OUT.get(language, ""))]
    lines = sum(one.text.count(b"\n") for one in sources.files)
    start = time.process_time()
    for one in sources.files:
        tree_of(one)
    parsing = time.process_time() - start
    start = time.process_time()
    entities, faults = all_entities(sources)
    whole = time.process_time() - start
    found = {path: {(one.name, one.line) for one in several}
             for path, several in entities.items()}
    return {"lines": lines, **compared(found, truth(language, folder, list(found), cache)),
            "parse_ms_a_kloc": round(parsing / lines * 1e6, 2),
            "entities_ms_a_kloc": round((whole - parsing) / lines * 1e6, 2), "faults": faults}


def compared(found: Definitions, true: Definitions) -> dict:
    """Return precision and recall, and up to ten differences."""
    ours = {(path, *one) for path, several in found.items() if path in true for one in several}
    theirs = {(path, *one) for path, several in true.items() for one in several}
    return {"files": len(true), "definitions": len(theirs),
            "precision": round(len(ours & theirs) / len(ours), 4),
            "recall": round(len(ours & theirs) / len(theirs), 4),
            "differences": sorted(ours ^ theirs)[:10]}


# truth -------------------------------------------------------------------------------------------

def truth(language: str, folder: Path, paths: list[str], cache: Path) -> Definitions:
    """Return what the language's own parser sees in the files that it can parse."""
    if language == "python":
        return python_truth(folder, paths)
    here = Path(__file__).resolve().parent
    command = ["node", str(here / "entities_truth.js")]
    environment = dict(os.environ)
    if language == "go":
        command = ["go", "run", str(here / "entities_truth.go"), "--"]
        environment |= {"GOFLAGS": "-mod=mod", "GO111MODULE": "off"}
    else:
        environment["NODE_PATH"] = str(typescript(cache))
    done = subprocess.run([*command, *paths], cwd=folder, env=environment, check=True,
                          capture_output=True)
    return {path: {(name, line) for name, line in several}
            for path, several in json.loads(done.stdout).items()}


def typescript(cache: Path) -> Path:
    """Return a folder of modules with the compiler in it."""
    folder = cache / "compiler"
    if not (folder / "node_modules" / "typescript").exists():
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", folder,
                        TYPESCRIPT], check=True, stdout=sys.stderr)
    return folder.resolve() / "node_modules"


def python_truth(folder: Path, paths: list[str]) -> Definitions:
    """Return what `ast` sees."""
    out = {}
    for path in paths:
        try:
            out[path] = set(definitions(ast.parse((folder / path).read_bytes())))
        except SyntaxError as error:
            print(f"{path}: {error}", file=sys.stderr)
    return out


def definitions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield (name, line) of the classes and functions in a tree."""
    left = [(tree, "")]
    while left:
        node, around = left.pop()
        for child in ast.iter_child_nodes(node):
            inside = around
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                yield around + child.name, child.lineno
                inside = f"{around}{child.name}."
            left.append((child, inside))


def record(cache: Path) -> None:
    """Write what the compilers see in the samples into answers.json beside them."""
    answers = {}
    for language, suffixes in {"javascript": ["js"], "typescript": ["ts", "tsx"],
                               "go": ["go"]}.items():
        paths = [f"sample.{suffix}" for suffix in suffixes]
        for path, several in truth(language, SAMPLES, paths, cache).items():
            answers[path] = [f"{line} {name}" for name, line in sorted(
                several, key=lambda one: (one[1], one[0]))]
    text = json.dumps(answers, indent=1, sort_keys=True, ensure_ascii=False)
    (SAMPLES / "answers.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
