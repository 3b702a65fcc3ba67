"""Turn failing tests of Python into scripts that a user could write: the statements of the test
with what they need from its files.

Fixtures, parameters, setUp() and helpers that assert are filled in. What an assertion compares
becomes the last expression of a script; each other statement becomes the last of one that may end
in an error. Nothing runs here, and what is filled in may be wrong: a script counts only where it is
run and shows the bug. No script has a name of the test framework.
"""
from __future__ import annotations

import ast
import copy
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice, product, zip_longest
from pathlib import PurePosixPath

from codedata.suites.recorded_calls import UNTOLD, ReplayJob
from codedata.suites.test_results import place_of

Names = dict[str, ast.stmt]   # what defines a name
MAX_TESTS = 40             # that are read
MAX_ROWS = 6               # sets of parameters that a test's id may mean
MAX_UNROLLED = 20          # turns of a loop
MAX_SCRIPTS = 60           # of a test
MAX_DEPTH = 6              # of helpers that call helpers
MAX_LINE = 90              # characters of an expression that is put in the place of a name
FRAMEWORK = {"pytest", "unittest", "monkeypatch", "capsys", "caplog", "recwarn", "mocker"}
RAISES = ("raises", "assertRaises", "assertRaisesRegex")
WARNS = ("warns", "deprecated_call", "assertWarns", "assertWarnsRegex", "catch_warnings")
CAUGHT = "[f'{one.category.__name__}: {one.message}' for one in caught]"
CATCH = """import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
"""
FOLDER = "import pathlib\nimport tempfile\nfolder = pathlib.Path(tempfile.mkdtemp())"
FOLDERS = dict.fromkeys(("tmp_path", "tmpdir"), ast.Name("folder", ast.Load()))
FOREIGN = re.compile(r"(?:import|from) (?:pytest|nose|hypothesis|unittest(?!\.mock|.*mock))")
IMPORT = re.compile(r"import |from .* import ")
SHOWN = ast.Call | ast.Compare | ast.Name | ast.Attribute | ast.Subscript | ast.BinOp | ast.UnaryOp
BLOCKS = ast.With | ast.For | ast.If | ast.Try | ast.While


def jobs_of_tests(tests: Collection[str], files: Mapping[str, str]) -> list[ReplayJob]:
    """Return the jobs of the scripts that tests (ids of pytest) are turned into; the tests take
    turns. `files` are the texts of the files of tests, by path."""
    found = []
    for test in islice(tests, MAX_TESTS):
        path, name = place_of(test, files)
        with suppress(SyntaxError, ValueError, RecursionError, LookupError):
            found.append([*islice(_Test(test, path, name, files).scripts(), MAX_SCRIPTS)])
    scripts = [one for turn in zip_longest(*found) for one in turn if one]
    return [ReplayJob([*lines], last) for lines, last in dict.fromkeys(scripts)]


def tidied(lines: Sequence[str], last: str) -> tuple[list[str], str]:
    """Return a script with one import of each module, whose last expression has, instead of a name
    that the line before gives to a value, this value."""
    lines = [*lines]
    while lines and last:
        node, end = ast.parse(lines[-1]).body[-1], ast.parse(last, mode="eval")
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            break
        is_scope = any(isinstance(one, ast.comprehension | ast.Lambda) for one in ast.walk(end))
        name = node.targets[0].id
        new = ast.unparse(_Filled({name: node.value}).visit(end))
        if is_scope or _loaded(ast.parse(last)).count(name) != 1 or len(new) > MAX_LINE:
            break
        lines, last = lines[:-1], new
    imported: dict[str, list[str]] = {}   # by what stands before the names
    for line in filter(IMPORT.match, lines):
        start, _, name = line.rpartition(" import ")
        imported.setdefault(f"{start} import " if start else line, []).append(name)
    imports = [f"{start}{', '.join(names)}" if start.endswith(" import ") else start
               for start, names in imported.items()]
    return [*imports, *(line for line in lines if not IMPORT.match(line))], last


class _Test:
    """Make the scripts of a test."""

    def __init__(self, test: str, path: str, name: str, files: Mapping[str, str]):
        self._label = test.partition("[")[2][:-1]
        self._names: Names = {}
        for folder in reversed(PurePosixPath(path).parents):
            if str(folder / "conftest.py") in files:
                self._names |= _names_in(str(folder / "conftest.py"), files)
        self._names |= _names_in(path, files)
        *owners, name = name.split(".")
        decorators = []
        for owner in owners:
            node = self._names[owner]
            decorators += node.decorator_list
            self._names |= _names_of_class(node, self._names)
        self._node = self._names[name]
        self._decorators = [*decorators, *self._node.decorator_list]

    def scripts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield (lines, last expression or "") for what can be told of the test."""
        for row in islice(self._rows(), MAX_ROWS):
            start = []
            for name in ("setUpClass", "setup_class", "setUp", "setup_method"):
                start += self._given_by(name)
            for name, node in self._names.items():
                if "autouse=True" in _decorated(node):
                    start += self._given_by(name)
            for arg in self._node.args.args:
                if arg.arg not in row:
                    start += self._given_by(arg.arg)
            body = _filled([*start, *_filled(self._node.body, row)], FOLDERS)
            for before, last in self._told(body, [], 0):
                yield from self._script(before, last)

    def _rows(self) -> Iterator[dict[str, ast.expr]]:
        """Yield the sets of parameters, by name, that the test's id may mean."""
        sides = []
        for node in self._decorators:
            if isinstance(node, ast.Call) and _word(node.func) == "parametrize":
                names, rows = node.args[:2]
                if not isinstance(names, ast.Constant):
                    names = ast.Constant(",".join(one.value for one in names.elts))
                target = ast.parse(names.value.strip(" ,"), mode="eval").body
                is_named = any(one.arg == "ids" for one in node.keywords)
                sides.append([row for n, one in enumerate(
                    getattr(self._value(rows), "elts", []))
                    if (row := _row(target, n, one, "" if is_named else self._label))])
        for row in product(*sides):
            yield {key: value for one in row for key, value in one.items()}

    def _value(self, node: ast.expr) -> ast.expr:
        """Return the value of a name that the file gives it, or the expression itself."""
        given = self._names.get(node.id) if isinstance(node, ast.Name) else None
        return given.value if isinstance(given, ast.Assign | ast.AnnAssign) else node

    def _given_by(self, name: str) -> list[ast.stmt]:
        """Return the statements of a fixture or a method that prepares tests, up to its yield."""
        if name in FOLDERS:
            return ast.parse(FOLDER).body
        node = self._names.get(name)
        if not isinstance(node, ast.FunctionDef):
            return []
        given = []
        if "fixture" in _decorated(node):
            for arg in node.args.args:
                given += self._given_by(arg.arg)
        return [*given, *_up_to_yield(copy.deepcopy(node.body), name)]

    def _told(self, body: list[ast.stmt], before: list[ast.stmt], depth: int
              ) -> Iterator[tuple[list[ast.stmt], ast.expr | None]]:
        """Yield (statements, last expression or None) for each thing that a body may tell, and add
        to `before` what later statements may need."""
        for node in body:
            value = getattr(node, "value", None)
            if isinstance(node, ast.Return):
                if value:
                    yield from self._told([ast.Expr(value)], before, depth)
                return
            if isinstance(node, ast.Assert):
                yield from ((before, one) for one in _shown(node.test))
            elif isinstance(node, ast.Expr) and isinstance(value, ast.Constant):
                continue
            elif isinstance(node, ast.Expr) and _is_assertion(value):
                yield from ((before, one) for one in _asserted(value))
            elif isinstance(node, ast.Expr) and (inner := self._helper(value)) and (
                    depth < MAX_DEPTH):
                yield from self._told(inner, before, depth + 1)
            elif isinstance(node, BLOCKS) and any(map(_asserts, ast.walk(node))):
                yield from self._in_block(node, before, depth)
            else:
                if isinstance(node, ast.Expr):
                    yield before, value
                if _loaded(node):
                    yield [*before, node], None
                before.append(node)

    def _helper(self, node: ast.expr) -> list[ast.stmt]:
        """Return the body, with the arguments filled in, of a helper that asserts; [] for other
        calls."""
        function = self._names.get(node.func.id) if isinstance(node, ast.Call) and isinstance(
            node.func, ast.Name) else None
        is_helper = isinstance(function, ast.FunctionDef) and (
            node.func.id.startswith("super_") or any(map(_asserts, ast.walk(function))))
        if not is_helper:
            return []
        args = [one.arg for one in function.args.args]
        defaults = function.args.defaults
        values = dict(zip(args[len(args) - len(defaults):], defaults, strict=True))
        values |= dict(zip(args, node.args, strict=False))
        values |= {one.arg: one.value for one in node.keywords if one.arg}
        return _filled(function.body, values)

    def _in_block(self, node: ast.stmt, before: list[ast.stmt], depth: int) -> Iterator[tuple]:
        """Yield what a compound statement with assertions may tell."""
        if isinstance(node, ast.If | ast.Try):   # running tells which branch is right
            for body in (node.body, node.orelse):
                yield from self._told(body, [*before], depth)
            before.append(_without_assertions([node])[0])
            return
        word = _word(node.items[0].context_expr) if isinstance(node, ast.With) else ""
        if word in RAISES:
            yield from self._told(node.body, [*before], depth)
            before.append(ast.Try(_without_assertions(node.body), [ast.ExceptHandler(
                ast.Name("Exception", ast.Load()), None, [ast.Pass()])], [], []))
            return
        if word in WARNS:
            catch = ast.parse(f"{CATCH}    pass").body
            catch[1].body[1:] = _without_assertions(node.body)
            yield [*before, *catch], ast.parse(CAUGHT, mode="eval").body
        if word in (*WARNS, "subTest"):
            yield from self._told(node.body, before, depth)
            return
        if word:
            yield from self._wrapped(node, before, depth)
        rows = getattr(self._value(node.iter), "elts", []) if isinstance(node, ast.For) else []
        for row in rows[:MAX_UNROLLED]:
            values = _bound_to(node.target, row)
            yield from self._told(_filled(node.body, values), before, depth)

    def _wrapped(self, node: ast.With, before: list[ast.stmt], depth: int) -> Iterator[tuple]:
        """Yield what the body of a block tells, in the block."""
        for inner, last in self._told(node.body, [], depth):
            end = [ast.Assign([ast.Name("result", ast.Store())], last)] if last else []
            yield ([*before, ast.With(node.items, [*inner, *end])],
                   ast.Name("result", ast.Load()) if last else None)
        before.append(_without_assertions([node])[0])

    def _script(self, before: list[ast.stmt], last: ast.expr | None
                ) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield the script of statements, with the definitions that they need; nothing if it needs
        the test framework."""
        end = last or before[-1]
        if self._is_foreign(end):
            return
        kept = [node for node in before if not self._is_foreign(node)]
        needed: dict[int, ast.stmt] = {}
        left: list[ast.AST] = [*kept, end]
        while left:
            for name in _loaded(left.pop()):
                node = self._names.get(name)
                if node and id(node) not in needed:
                    needed[id(node)] = node
                    left.append(node)
        order = [*map(id, self._names.values())]
        first = sorted(needed.values(), key=lambda node: order.index(id(node)))
        kept = [*(node for node in first if not self._is_foreign(node)), *kept]
        lines, text = [*map(_text, kept)], _text(last) if last else ""
        imports = dict.fromkeys(filter(IMPORT.match, lines))
        yield (*imports, *(line for line in lines if line not in imports)), text

    def _is_foreign(self, node: ast.AST) -> bool:
        """Return whether a statement names the test framework."""
        nodes = [*ast.walk(node)]
        names = {one.id for one in nodes if isinstance(one, ast.Name)}
        nodes += [self._names[name] for name in names & self._names.keys()]
        return not FRAMEWORK.isdisjoint(names) or any(
            FOREIGN.match(_text(one)) for one in nodes
            if isinstance(one, ast.Import | ast.ImportFrom))


# files -------------------------------------------------------------------------------------------

def _names_in(path: str, files: Mapping[str, str], depth: int = 0) -> Names:
    """Return what the top level of a file of tests defines, and the files of tests that it imports
    from."""
    names: Names = {}
    for node in ast.parse(files[path]).body:
        other = _imported_file(node, files)
        if other and depth < MAX_DEPTH:
            names |= _names_in(other, files, depth + 1)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                one = copy.copy(node)
                one.names = [alias]
                names[alias.asname or alias.name.partition(".")[0]] = one
        else:
            names |= dict.fromkeys(_bound(node), node)
    return names


def _imported_file(node: ast.stmt, files: Mapping[str, str]) -> str:
    """Return the path of the file of tests from which a statement imports, "" for others."""
    if not isinstance(node, ast.ImportFrom):
        return ""
    name = f"/{(node.module or '__init__').replace('.', '/')}.py"
    return next((path for path in files if f"/{path}".endswith(name)), "")


def _names_of_class(node: ast.ClassDef, names: Names) -> Names:
    """Return what a class of tests and its bases define, as statements that stand outside of it. A
    method that is overridden has "super_" before its name."""
    found: Names = {}
    for base in node.bases:
        owner = names.get(_word(base))
        if isinstance(owner, ast.ClassDef) and owner is not node:
            found |= _names_of_class(owner, names)
    for one in copy.deepcopy(node.body):
        one = _Unselfed().visit(one)
        if isinstance(one, ast.FunctionDef):
            is_static = "staticmethod" in _decorated(one)
            one.args.args = one.args.args[not is_static:]
            one.decorator_list = [at for at in one.decorator_list
                                  if _word(at) not in ("staticmethod", "classmethod")]
            if one.name in found:
                found[f"super_{one.name}"] = found[one.name]
        found |= dict.fromkeys(_bound(one), one)
    return found


def _bound(node: ast.stmt) -> set[str]:
    """Return the names that a statement binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    return {alias.asname or alias.name.partition(".")[0] for one in ast.walk(node)
            if isinstance(one, ast.Import | ast.ImportFrom) for alias in one.names} | {
        one.id for one in ast.walk(node)
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}


class _Unselfed(ast.NodeTransformer):
    """Name the attributes of the test's object without it."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
            return ast.Name(node.attr, node.ctx)
        if isinstance(node.value, ast.Call) and _word(node.value.func) == "super":
            return ast.Name(f"super_{node.attr}", node.ctx)
        return node


# statements --------------------------------------------------------------------------------------

class _Filled(ast.NodeTransformer):
    """Put expressions in the place of names."""

    def __init__(self, values: Mapping[str, ast.expr]):
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        is_read = isinstance(node.ctx, ast.Load) and node.id in self._values
        return copy.deepcopy(self._values[node.id]) if is_read else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        """Leave out docstrings and types, which often tell of tests."""
        self.generic_visit(node)
        node.returns = None
        for one in (*node.args.args, *node.args.kwonlyargs):
            one.annotation = None
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.stmt:
        return ast.Global(node.names)


def _filled(body: list[ast.stmt], values: Mapping[str, ast.expr]) -> list[ast.stmt]:
    """Return statements with values for names: in their place, or by assignments before them if a
    name is bound again, or a value that may change is used more than once."""
    uses = [node for one in body for node in ast.walk(one) if isinstance(node, ast.Name)]
    direct, given = {}, []
    for name, value in values.items():
        of_name = [node for node in uses if node.id == name]
        is_bound = any(not isinstance(node.ctx, ast.Load) for node in of_name)
        is_plain = isinstance(value, ast.Constant | ast.Name | ast.UnaryOp)
        if is_bound or (len(of_name) > 1 and not is_plain):
            given.append(ast.Assign([ast.Name(name, ast.Store())], value))
        else:
            direct[name] = value
    return [*given, *(_Filled(direct).visit(copy.deepcopy(one)) for one in body)]


def _up_to_yield(body: list[ast.stmt], name: str) -> list[ast.stmt]:
    """Return the statements of a fixture, the last of which gives its value the fixture's name."""
    found = []
    for node in body:
        is_yield = isinstance(node, ast.Expr) and isinstance(node.value, ast.Yield)
        value = node.value.value if is_yield else getattr(node, "value", None)
        if is_yield or isinstance(node, ast.Return):
            bind = [ast.Assign([ast.Name(name, ast.Store())], value)] if value else []
            return [*found, *bind]
        found.append(node)
    return found


def _without_assertions(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return statements without the assertions among them and in them."""
    kept = []
    for node in body:
        if _asserts(node):
            continue
        if isinstance(node, BLOCKS):
            node = copy.copy(node)
            for part in ("body", "orelse"):
                if inner := getattr(node, part, []):
                    setattr(node, part, _without_assertions(inner))
        kept.append(node)
    return kept or [ast.Pass()]


def _row(target: ast.expr, n: int, node: ast.expr, label: str) -> dict[str, ast.expr]:
    """Return the parameters by name in an entry of parametrize(), {} if its part of a test's id
    cannot be in `label`."""
    if isinstance(node, ast.Call) and _word(node.func) == "param":
        label = "" if node.keywords else label
        node = ast.Tuple(node.args) if isinstance(target, ast.Tuple) else node.args[0]
    row = _bound_to(target, node)
    for name, value in row.items():
        if isinstance(value, ast.Constant):
            part = re.escape(str(value.value).encode("unicode_escape").decode())
            fits = re.search(rf"(?:^|-){part}(?:-|$)", label)
        else:   # pytest numbers what has no short form
            fits = not re.search(rf"(?:^|-){name}(?!{n}(?:-|$))\d", label)
        if label and not fits:
            return {}
    return row


def _bound_to(target: ast.expr, value: ast.expr) -> dict[str, ast.expr]:
    """Return what the names in a target are bound to, as far as it is to be seen."""
    if isinstance(target, ast.Name):
        return {target.id: value}
    pairs = zip(getattr(target, "elts", []), getattr(value, "elts", []), strict=False)
    return {name: part for one, inner in pairs for name, part in _bound_to(one, inner).items()}


# expressions -------------------------------------------------------------------------------------

def _word(node: ast.expr) -> str:
    """Return the last word of a name, or of what is called."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _decorated(node: ast.stmt) -> str:
    return " ".join(map(ast.unparse, getattr(node, "decorator_list", [])))


def _is_assertion(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _word(node).lower().startswith(("assert", "fail"))


def _asserts(node: ast.AST) -> bool:
    return isinstance(node, ast.Assert) or (isinstance(node, ast.Call) and (
        _is_assertion(node) or _word(node) in (*RAISES, *WARNS))) or (
        isinstance(node, ast.Expr) and _is_assertion(node.value))


def _asserted(node: ast.Call) -> list[ast.expr]:
    """Return the expressions that a call of an assertion is about."""
    word, args = _word(node), node.args
    if "_call" in word:   # of a mock
        return [ast.Attribute(node.func.value, "mock_calls", ast.Load())]
    if word in RAISES:
        at = 1 + word.endswith("Regex")
        return [ast.Call(args[at], args[at + 1:], node.keywords)] if args[at:] else []
    return _shown(ast.Compare(args[0], [ast.Eq()], args[1:2]) if args[1:] else node)


def _shown(node: ast.expr) -> list[ast.expr]:
    """Return the expressions in a condition whose values may show whether it holds."""
    called = [one.func for one in ast.walk(node) if isinstance(one, ast.Call)]
    return [one for one in ast.walk(node) if isinstance(one, SHOWN) and one not in called
            and _loaded(one) and _word(one) not in UNTOLD and not _is_assertion(one)]


def _loaded(node: ast.AST) -> list[str]:
    return [one.id for one in ast.walk(node)
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)]


def _text(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(_Filled({}).visit(node)))

