"""Print the calls that another tool finds in a folder, as JSON: [path, line, path, line] of each,
and the CPU seconds. It runs in an environment that has the tool.

  python peers.py jedi|pyan3 FOLDER
"""
import ast
import json
import os
import sys
import time
from pathlib import Path


def jedi_calls(folder, files):
    """Yield (path, line) of each call, and of what jedi's goto says of it."""
    import jedi
    project = jedi.Project(folder)
    for path in files:
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        script = jedi.Script(text, path=path, project=project)
        calls = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)
                 and isinstance(node.func, (ast.Name, ast.Attribute)))
        for call in calls:
            for called in jedi_definitions(script, lines, call.func):
                yield path, call.lineno, called.module_path, called.line


def jedi_definitions(script, lines, function):
    """Return the functions and classes that the name at the end of an expression can be; none
    where jedi fails."""
    line = function.end_lineno
    column = len(lines[line - 1].encode()[:function.end_col_offset - 1].decode())
    try:
        found = script.goto(line, column, follow_imports=True)
    except Exception as error:   # jedi's own faults are of many types
        print(script.path, line, repr(error), file=sys.stderr)
        return []
    return [called for called in found if called.type in ("function", "class")]


def pyan3_calls(folder, files):
    """Yield (path, line in its body) of each function, and of what pyan3 says that it uses."""
    from pyan.analyzer import CallGraphVisitor
    found = CallGraphVisitor([str(path) for path in files], root=folder).uses_edges
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for caller, used in found.items():
        line = caller.ast_node.body[0].lineno if isinstance(caller.ast_node, definitions) else 0
        for callee in used:
            if isinstance(callee.ast_node, definitions):
                yield caller.filename, line, callee.filename, callee.ast_node.lineno


def main():
    folder = os.path.realpath(sys.argv[2])
    files = sorted(Path(folder).rglob("*.py"))
    calls = {"jedi": jedi_calls, "pyan3": pyan3_calls}[sys.argv[1]](folder, files)
    edges = sorted({(os.path.relpath(caller, folder), line, os.path.relpath(callee, folder), other)
                    for caller, line, callee, other in calls if caller and callee and other})
    print(json.dumps({"edges": edges, "cpu_s": time.process_time()}))


if __name__ == "__main__":
    main()
