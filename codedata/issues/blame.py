"""Name the part of a project that a report is about: the first expression of its script whose
outcome differs between the two trees, or the first statement after which a name's value differs.

An expression is run after the lines before it, and inner expressions come first. Values are
compared as texts: a wrong object whose text is right is only noticed where something reads it.
"""
from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from codedata.suites.recorded_calls import Outcome, ReplayJob

FOREIGN = sys.stdlib_module_names | {"pytest"}    # modules that are not the project's
OF_MODULE = re.compile(r"^(?:[a-z_]\w*\.)+(?=[A-Z])")
# an expression for the nearest public class of a value that the script does not define itself
CLASS = """(lambda one: next(
    f'{kind.__module__}.:{kind.__qualname__}' for kind in
    (one if isinstance(one, type) else type(one)).__mro__
    if kind.__module__ != '__main__' and kind.__name__[0] != '_'))(%s)"""
Run = Callable[[list[ReplayJob]], Sequence[Sequence[Outcome | None]]]


def blamed(script: Outcome, run: Run) -> tuple[str, bool]:
    """Return (the name of the differing part or "", whether the script's last line is its call or
    reads it). `run` returns the outcomes of jobs in each of the two trees."""
    code = [one for one in (*script.lines, script.last) if one]
    places = [*_places(code)]
    kinds, values = (run([ReplayJob(code[:n], form % text) for n, text, _ in places])
                     for form in (CLASS, "%s"))
    imports, classes = _imports(code), {}
    for (_, text, node), *pairs in zip(places, zip(*kinds, strict=True),
                                       zip(*values, strict=True), strict=True):
        if any(right and wrong and right.shown != wrong.shown for right, wrong in pairs):
            found = (_name(one, imports, classes) or classes.get(ast.unparse(one), "")
                     for one in ast.walk(node))
            is_last = ast.unparse(node) == code[-1] and _name(node, imports, classes) != ""
            return OF_MODULE.sub("", next(filter(None, found), "")), is_last
        module, _, name = str(pairs[0][0] and pairs[0][0].text).strip("'").partition(".:")
        if name and module.partition(".")[0] not in FOREIGN:
            classes[text] = name
    return "", False


def _places(code: Sequence[str]) -> Iterator[tuple[int, str, ast.AST]]:
    """Yield (number of lines to run before, expression or "", the code that it tells of), in the
    order in which the script runs."""
    for n, line in enumerate(code):
        tree = ast.parse(line)
        for node in _inner_first(tree):
            yield n, ast.unparse(node), node
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        for name in ("", *sorted(names)):
            yield n + 1, name, tree


def _inner_first(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions in a piece of code that are read, except names and constants."""
    for child in ast.iter_child_nodes(node):
        yield from _inner_first(child)
    is_read = isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
    if isinstance(node, ast.expr) and is_read and not isinstance(node, ast.Constant | ast.Name):
        yield node


def _imports(code: Sequence[str]) -> dict[str, str]:
    """Return {name in a script: the project's name}."""
    nodes = [node for line in code for node in ast.walk(ast.parse(line))
             if isinstance(node, ast.Import | ast.ImportFrom)]
    return {alias.asname or alias.name.partition(".")[0]:
            alias.name if alias.asname else alias.name.partition(".")[0]
            for node in nodes for alias in node.names
            if (getattr(node, "module", "") or alias.name).partition(".")[0] not in FOREIGN}


def _name(node: ast.AST, imports: Mapping[str, str], classes: Mapping[str, str]) -> str:
    """Return the project's name of what an expression calls or reads; "" for others."""
    match node:
        case ast.Call(function):
            return _name(function, imports, classes)
        case ast.Name(name):
            return imports.get(name, "")
        case ast.Attribute(owner, name):
            of = classes.get(ast.unparse(owner), "")
            if not of and isinstance(owner, ast.Name | ast.Attribute):
                of = _name(owner, imports, classes)
            return f"{of}.{name}" if of else ""
    return ""
