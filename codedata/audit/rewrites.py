"""Rewrite the Python files of a gold: keep their meaning, or change one letter of a string.

A verifier must accept a rewrite with the same meaning. If it refuses one, the tests depend on the
code's form, or the grader is wrong. If it refuses a changed string, the string's wording is part of
the task.

Not promised: the same line numbers and source, which tracebacks and inspect.getsource show. A
function that reads its own frame stays unchanged; a function whose callees read its frame does not.
"""
from __future__ import annotations

import ast
import codecs
import io
import re
import tokenize
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from difflib import SequenceMatcher
from itertools import accumulate, chain

MAX_LITERALS = 6   # literals tried per gold
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (*FUNCTIONS, ast.ClassDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp,
          ast.GeneratorExp)
FRAME_READERS = {"locals", "vars", "eval", "exec", "dir", "_getframe", "currentframe", "f_locals"}
# {node: its field with the name of a variable}
VARIABLES = {ast.Name: "id", ast.ExceptHandler: "name", ast.MatchAs: "name", ast.MatchStar: "name",
             ast.MatchMapping: "rest"}
# matches a word, but not the key of a placeholder such as "%(key)s" or "{key}"
WORD = re.compile(r"(?<![A-Za-z{])(?<!%\()[A-Za-z]{3,}")


def rewrites_of(before: Mapping[str, bytes],
                after: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """Return {name of a rewrite: {path: text}}: the Python files of a gold, rewritten with the same
    meaning. Rewrite only functions with lines that the gold changed. Leave out files and rewrites
    without any change."""
    out: dict[str, dict[str, bytes]] = {}
    for path, _, changed in _python_files(before, after):
        lines = {line for span in changed for line in span or [span.start - 1]}
        for name, rewrite in REWRITES.items():
            text = _rewritten(after[path], lines, rewrite)
            if text != after[path]:
                out.setdefault(name, {})[path] = text
    return out


def literals_of(before: Mapping[str, bytes],
                after: Mapping[str, bytes]) -> list[tuple[str, int, str, bytes]]:
    """Return (path, line, string literal, the file with one letter of the literal changed) for at
    most MAX_LITERALS literals, spread evenly over the changed lines. The constant parts of an
    f-string count as literals."""
    out = [(path, *changed) for path, tree, spans in _python_files(before, after)
           for changed in _changed_literals(after[path], tree, {*chain(*spans)})]
    step = max(1, len(out) / MAX_LITERALS)
    return [out[int(i * step)] for i in range(min(len(out), MAX_LITERALS))]


def _python_files(before: Mapping[str, bytes], after: Mapping[str, bytes],
                  ) -> Iterator[tuple[str, ast.Module, list[range]]]:
    """Yield (path, tree, ranges of changed lines) of the Python files that parse. Lines count from
    1. A range is empty if lines were only removed."""
    for path, text in after.items():
        if not path.endswith(".py"):
            continue
        try:
            encoding, _ = tokenize.detect_encoding(io.BytesIO(text).readline)
            tree = _parsed(text)
            ast.dump(tree)   # fails if the code below would: it recurses about as deep
        except UNREADABLE:
            continue
        if encoding == "utf-8":   # not utf-8-sig: positions do not count a byte order mark
            old, new = before.get(path, b"").splitlines(), text.splitlines()
            codes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
            yield path, tree, [range(start + 1, end + 1)
                               for tag, _, _, start, end in codes if tag != "equal"]


def _parsed(text: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")   # hides warnings about escapes in strings
        return ast.parse(text)


# the rewrites ------------------------------------------------------------------------------------

def _rewritten(text: bytes, lines: set[int],
               rewrite: Callable[[ast.stmt, set[str]], bool]) -> bytes:
    """Rewrite each outermost function that contains one of these lines."""
    words = set(re.findall(r"\w+", text.decode()))
    rows = text.splitlines(keepends=True)
    for node in [*_outermost_functions(_parsed(text))][::-1]:
        first = min(part.lineno for part in (node, *node.decorator_list))
        if lines.isdisjoint(range(first, node.end_lineno + 1)) or FRAME_READERS & {
                getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(node)}:
            continue
        indent = rows[node.lineno - 1][:node.col_offset].decode()
        line_end = re.search(rb"[\r\n]*$", rows[node.end_lineno - 1])[0]
        try:
            if rewrite(node, words):
                rows[first - 1:node.end_lineno] = [_source(node, indent).encode() + line_end]
        except UNREADABLE:
            pass   # this function stays unchanged
    return b"".join(rows)


def _outermost_functions(node: ast.AST) -> Iterator[ast.stmt]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FUNCTIONS):
            yield child
        else:
            yield from _outermost_functions(child)


def _source(node: ast.stmt, indent: str) -> str:
    """Return the source of a function. Raise SyntaxError or ValueError if it does not parse to the
    same function, since ast.unparse is wrong for some f-strings."""
    lines = ast.unparse(node).split("\n")
    in_strings = {line for part in ast.walk(ast.parse("\n".join(lines)))
                  if isinstance(part, (ast.Constant, ast.JoinedStr))
                  for line in range(part.lineno, part.end_lineno)}
    source = "\n".join(line if i in in_strings else indent + line for i, line in enumerate(lines))
    parsed = ast.parse(f"if 1:\n{source}").body[0].body if indent else ast.parse(source).body
    if ast.dump(parsed[0]) != ast.dump(node):
        raise ValueError("its unparsed source has another meaning")
    return source


def _rename(node: ast.stmt, words: set[str]) -> bool:
    """Rename the locals of a function, also where inner functions use them. Locals of inner
    functions keep their names; so do locals with a name that is a word of a string, since code may
    look it up. Leave out a function with a class in it: names in a class body may be attributes."""
    body = ast.Module(node.body[ast.get_docstring(node) is not None:], [])
    if any(isinstance(part, ast.ClassDef) for part in ast.walk(body)):
        return False
    bound = {_variable(part) for part in _own_nodes(body)
             if not isinstance(getattr(part, "ctx", None), ast.Load)}
    names: dict[str, str] = {}
    for name in sorted(bound - _other_names(node.args, body) - {""}):
        if not name.startswith("__"):
            names[name] = _new_name(name, words.union(names.values()))
    for part in ast.walk(body):
        if _variable(part) in names:
            setattr(part, VARIABLES[type(part)], names[_variable(part)])
    return bool(names)


def _invert(node: ast.stmt, words: set[str]) -> bool:
    """Negate the condition of each `if` in a function, and swap its branches."""
    branches = [part for part in ast.walk(node) if isinstance(part, ast.If)]
    for part in branches:
        part.test = ast.UnaryOp(ast.Not(), part.test)
        part.body, part.orelse = part.orelse or [ast.Pass()], part.body
    return bool(branches)


def _extract(node: ast.stmt, words: set[str]) -> bool:
    """Assign each returned value to a new variable first."""
    name = _new_name("result_", words)
    extracted = False
    for block in _blocks(node):
        end = block[-1]   # statements after a return never run
        if isinstance(end, ast.Return) and end.value:
            block[-1:] = [ast.Assign([ast.Name(name, ast.Store())], end.value, lineno=0),
                          ast.Return(ast.Name(name, ast.Load()))]
            extracted = True
    return extracted


REWRITES = {"renamed": _rename, "inverted": _invert, "extracted": _extract,
            "reformatted": lambda node, words: True}   # ast.unparse changes the layout anyway


def _variable(node: ast.AST) -> str:
    """Return the name of the variable that a node reads or binds, or ""."""
    return getattr(node, VARIABLES.get(type(node), ""), None) or ""


def _new_name(name: str, words: set[str]) -> str:
    """Return a name that does not occur in the file."""
    while name in words:
        name += "_"
    return name


def _blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield the lists of statements in a function; the caller may change them."""
    for part in ast.walk(node):
        for block in vars(part).values():
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                yield block


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a scope, without its inner scopes."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, SCOPES):
            yield from _own_nodes(child)


def _other_names(*nodes: ast.AST) -> set[str]:
    """Return the words in parameters, definitions, imports, global and nonlocal statements, and
    strings. Leave out names of variables, attributes and keyword arguments."""
    values = [value for node in nodes for part in ast.walk(node)
              if not isinstance(part, (ast.Attribute, ast.keyword, *VARIABLES))
              for value in vars(part).values()]
    texts = [*values, *chain(*(value for value in values if isinstance(value, list)))]
    return {word for text in texts if isinstance(text, str) for word in re.findall(r"\w+", text)}


# the literals ------------------------------------------------------------------------------------

def _changed_literals(text: bytes, tree: ast.Module,
                      lines: set[int]) -> Iterator[tuple[int, str, bytes]]:
    """Yield (line, literal, text with one letter of its longest word changed) for the literals on
    these lines."""
    starts = [0, *accumulate(map(len, text.splitlines(keepends=True)))]
    for node, part in _literals(tree):
        word = max(WORD.finditer(part.value), key=lambda match: len(match[0]), default=None)
        if not word or _is_fixed(part.value):
            continue
        literal, at = part.value, word.start() + 1
        letter = "y" if literal[at] in "xX" else "x"
        part.value = literal[:at] + letter + literal[at + 1:]
        first = starts[node.lineno - 1] + node.col_offset
        last = starts[node.end_lineno - 1] + node.end_col_offset
        for found in re.finditer(word[0].encode(), text[first:last]):
            at = first + found.start() + 1
            changed = text[:at] + letter.encode() + text[at + 1:]
            line = bisect_right(starts, at)
            if line in lines and _is_source_of(changed[first:last], node):
                yield line, literal, changed
        part.value = literal


def _is_fixed(text: str) -> bool:
    """Return whether a literal has a meaning for Python, such as "nan" or "utf-8"."""
    if text.strip("+-").lower() in ("inf", "infinity", "nan"):
        return True
    try:
        return bool(re.fullmatch(r"__\w+__", text) or codecs.lookup(text))
    except (LookupError, ValueError):
        return False


def _is_source_of(text: bytes, node: ast.expr) -> bool:
    try:
        return ast.dump(ast.parse(b"(" + text + b")", mode="eval").body) == ast.dump(node)
    except SyntaxError:   # it is inside the expression of an f-string
        return False


def _literals(node: ast.AST) -> Iterator[tuple[ast.expr, ast.Constant]]:
    """Yield (string literal, constant in it) for each string that is not a docstring or a key."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.JoinedStr):
            yield from ((child, part) for part in child.values if isinstance(part, ast.Constant))
        elif not isinstance(child, ast.Constant):
            yield from _literals(child)
        elif isinstance(child.value, str) and not isinstance(node, (ast.Expr, ast.Subscript)):
            yield child, child
