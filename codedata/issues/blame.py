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

from codedata.suites.replayed_scripts import Outcome, ReplayJob

FOREIGN = sys.stdlib_module_names | {"pytest"}    # modules that are not the project's
OF_MODULE = re.compile(r"^(?:[a-z_]\w*\.)+(?=[A-Z])")
# an expression for the nearest public class of a value that the script does not define itself
CLASS = """(lambda one: next(
    f'{kind.__module__}:{kind.__qualname__}' for kind in
    (one if isinstance(one, type) else type(one)).__mro__
    if kind.__module__ != '__main__' and kind.__name__[0] != '_'))(%s)"""
Run = Callable[[list[ReplayJob]], Sequence[Sequence[Outcome | None]]]


def blamed(script: Outcome, run: Run) -> tuple[str, bool]:
    """Return (the name of the differing part or "", whether the script's last line calls
    or reads that part). `run` returns the outcomes of jobs in each of the two trees."""
    code = [one for one in (*script.lines, script.last) if one]
    places = [*_places(code)]
    kinds, values = (run([ReplayJob(code[:n], form % text) for n, text, _ in places])
                     for form in (CLASS, "%s"))
    names = {}   # {expression in the script: the project's name of it or of its class}
    for node in ast.walk(ast.parse("\n".join(code))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name: alias.name for alias in node.names
                      if _is_own(getattr(node, "module", "") or alias.name)}
    for (_, text, node), kind, *outcomes in zip(places, *kinds, *values, strict=True):
        pairs = (kind, outcomes[0]), outcomes[1:]
        if any(right and wrong and right.shown != wrong.shown for right, wrong in pairs):
            found = [_name(one, names) for one in ast.walk(node)]
            return OF_MODULE.sub("", next(filter(None, found), "")), (
                ast.unparse(node) == code[-1] and found[0] != "")
        if kind and kind.kind == "value":
            module, name = kind.text.strip("'").split(":")
            if _is_own(module):
                names[text] = name
    return "", False


def _is_own(module: str) -> bool:
    """Return whether a module may be the project's."""
    return module.partition(".")[0] not in FOREIGN


def _places(code: Sequence[str]) -> Iterator[tuple[int, str, ast.AST]]:
    """Yield (number of lines to run before, expression or "", the code to blame if its outcome
    differs), in the order of the script."""
    for n, line in enumerate(code):
        nodes = [*ast.walk(ast.parse(line))]
        for node in reversed(nodes):
            if isinstance(node, ast.expr) and not isinstance(node, ast.Constant | ast.Name):
                yield n, ast.unparse(node), node
        for name in ("", *sorted({one.id for one in nodes if isinstance(one, ast.Name)})):
            yield n + 1, name, nodes[0]


def _name(node: ast.AST, names: Mapping[str, str]) -> str:
    """Return the project's name for the function, class or attribute that an expression uses; ""
    for none."""
    text = ast.unparse(node)
    if text in names:
        return names[text]
    match node:
        case ast.Call(function):
            return _name(function, names)
        case ast.Attribute(owner, name):
            of = _name(owner, names)
            return f"{of}.{name}" if of else ""
    return ""
