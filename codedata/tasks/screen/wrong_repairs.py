"""Write wrong repairs of a bug into one changed file of Python: the right statements run for noted
values alone, once, or without a later step; else the wrong ones. The variable CODEDATA_WAY says
which repair it is (suites/programs/seen_values.py).
"""
from __future__ import annotations

import ast
from dataclasses import dataclass

from codedata.suites.source import Files
from codedata.texts import text_of

WAY, NOTE = "CODEDATA_WAY", "note"   # the variable; its value with which values are noted
MAX_NAMES, MAX_DROPPED = 3, 2
BLOCKS = ("body", "orelse", "finalbody")
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
LOOP = (ast.For, ast.AsyncFor, ast.While)


@dataclass(frozen=True)
class Repairs:
    """Hold a file with all wrong repairs of a bug."""

    path: str
    text: bytes
    ways: list[str]      # that pass the tests whose values are noted
    unsure: list[str]    # that the tests may notice
    lines: range         # of the function in the right file


@dataclass(frozen=True)
class _Place:
    """Hold where two versions of a function differ: statements of a block of the right one."""

    function: ast.stmt
    block: list[ast.stmt]
    start: int
    end: int
    wrong: list[ast.stmt]
    is_in_loop: bool


def wrong_repairs(right: Files, wrong: Files) -> Repairs | None:
    """Return the wrong repairs of a change of one file, None if it is not within one function of
    Python."""
    path = min(right)
    if len(right) != 1 or [*wrong] != [path] or not path.endswith(".py"):
        return None
    try:
        tree = ast.parse(right[path])
        place = _place(tree.body, ast.parse(wrong[path]).body)
        if place is None:
            return None
        lines = range(place.function.lineno, place.function.end_lineno + 1)
        ways, unsure = _change(place)
        _, helper = ast.parse(text_of("codedata.suites.programs", "seen_values.py")).body
        tree.body.insert(next(i for i, one in enumerate(tree.body) if not _is_first(one)), helper)
        text = ast.unparse(tree)
        compile(text, path, "exec")
    except (SyntaxError, ValueError, RecursionError):
        return None
    return Repairs(path, text.encode(), ways, unsure, lines)


def _place(right: list[ast.stmt], wrong: list[ast.stmt], function: ast.stmt | None = None,
           is_in_loop: bool = False) -> _Place | None:
    """Return the smallest place that differs, None if it is in no function."""
    ours, theirs = [*map(ast.dump, right)], [*map(ast.dump, wrong)]
    n = min(len(ours), len(theirs))
    start = next((i for i in range(n) if ours[i] != theirs[i]), n)
    left = range(n - start)
    n_after = next((i for i in left if ours[-1 - i] != theirs[-1 - i]), len(left))
    end, other = len(right) - n_after, wrong[start:len(wrong) - n_after]
    if end - start == len(other) == 1 and type(right[start]) is type(other[0]):
        node = right[start]
        fields = [name for name, value in ast.iter_fields(node)
                  if _dumped(value) != _dumped(getattr(other[0], name))]
        if len(fields) == 1 and fields[0] in BLOCKS:
            blocks = (getattr(one, fields[0]) for one in (node, other[0]))
            is_function = isinstance(node, FUNCTION)
            inner = isinstance(node, LOOP) or (is_in_loop and not is_function)
            if found := _place(*blocks, node if is_function else function, inner):
                return found
    return function and _Place(function, right, start, end, other, is_in_loop)


def _is_first(node: ast.stmt) -> bool:
    """Return whether a statement has to stay at the start of its file."""
    return isinstance(node, ast.Expr) or getattr(node, "module", "") == "__future__"


def _dumped(value) -> str:
    several = value if isinstance(value, list) else [value]
    return "".join(ast.dump(one) if isinstance(one, ast.AST) else repr(one) for one in several)


def _change(place: _Place) -> tuple[list[str], list[str]]:
    """Put both versions into the block. Return the ways that it knows."""
    block, right = place.block, place.block[place.start:place.end]
    local = _local_names(place.function)
    nodes = [node for one in _differing(right, place.wrong, local) for node in ast.walk(one)]
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    names = [*dict.fromkeys(
        ast.unparse(node) for node in nodes if isinstance(node, ast.Name | ast.Attribute)
        and isinstance(node.ctx, ast.Load) and id(node) not in called
        and getattr(getattr(node, "value", node), "id", "") in local)]
    names = names or [node.arg for node in ast.walk(place.function.args)
                      if isinstance(node, ast.arg)]
    dropped = []
    for at in range(place.end, min(len(block), place.end + MAX_DROPPED)):
        if not isinstance(block[at], ast.Return):
            dropped.append(f"drop {at - place.end}")
            test = f"__import__('os').environ.get('CODEDATA_WAY') != {dropped[-1]!r}"
            block[at] = ast.If(_expression(test), [block[at]], [])
    test = _expression(f"codedata_is_right({names!r}, locals())")
    count = ast.parse("codedata_n = locals().get('codedata_n', 0) + 1").body
    first = ["first"] if place.is_in_loop else []
    block[place.start:place.end] = [*(count if first else []), ast.If(
        test, right or [ast.Pass()], place.wrong)]
    return ["all", *names[:MAX_NAMES]], [*first, *dropped]


def _local_names(function: ast.stmt) -> set[str]:
    """Return the names that have values in a function's frame: not those of a comprehension."""
    nodes = [*ast.walk(function)]
    inner = [node.target for node in nodes if isinstance(node, ast.comprehension)]
    inner += [node.args for node in nodes if isinstance(node, ast.Lambda)]
    of_inner = {id(node) for one in inner for node in ast.walk(one)}
    return {getattr(node, "arg", "") or node.id for node in nodes if id(node) not in of_inner
            and (isinstance(node, ast.arg)
                 or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)))}


def _differing(right: list, wrong: list, local: set[str]) -> list[ast.AST]:
    """Return the smallest parts with a local name in which two lists of nodes differ."""
    if len(right) == len(wrong) == 1 and type(right[0]) is type(wrong[0]):
        fields = [(one, other) for (_, one), (_, other) in zip(
            ast.iter_fields(right[0]), ast.iter_fields(wrong[0]), strict=True)
            if _dumped(one) != _dumped(other)]
        if len(fields) == 1:
            one, other = (several if isinstance(several, list) else [several]
                          for several in fields[0])
            pairs = [pair for pair in zip(one, other, strict=False) if _dumped(pair[0]) != _dumped(
                pair[1])] if len(one) == len(other) else []
            if len(pairs) == 1 and all(isinstance(node, ast.AST) for node in pairs[0]):
                parts = _differing(*([node] for node in pairs[0]), local)
                if any(getattr(node, "id", "") in local
                       for part in parts for node in ast.walk(part)):
                    return parts
    return [*right, *wrong]


def _expression(code: str) -> ast.expr:
    return ast.parse(code, mode="eval").body
