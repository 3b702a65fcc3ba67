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
from itertools import chain, islice, product, zip_longest
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
FRAMEWORK = {"pytest", "unittest", "nose", "hypothesis", "self", "cls", "super", "request",
             "monkeypatch", "capsys", "capfd", "caplog", "recwarn", "mocker", "__file__"}
RAISES = ("raises", "assertRaises", "assertRaisesRegex")
WARNS = ("warns", "deprecated_call", "assertWarns", "assertWarnsRegex", "catch_warnings")
CAUGHT = "[f'{one.category.__name__}: {one.message}' for one in caught]"
CATCH = """import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
"""
FOLDER = "import pathlib\nimport tempfile\nfolder = pathlib.Path(tempfile.mkdtemp())"
FOLDERS = dict.fromkeys(("tmp_path", "tmpdir"), ast.Name("folder", ast.Load()))
IMPORT = re.compile(r"import |from .* import ")
COMPARED = {"equal": ast.Eq, "equals": ast.Eq, "notequal": ast.NotEq, "in": ast.In}
ASKS = ("len", "isinstance", "type", "approx", "hash", "id")   # of a value that says more
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
    return [ReplayJob([([*lines], last)]) for lines, last in dict.fromkeys(scripts)]


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
                rows = self._value(rows)
                is_named = any(one.arg == "ids" for one in node.keywords)
                names = [*map(str.strip, names.value.split(","))] if isinstance(
                    names, ast.Constant) else [one.value for one in names.elts]
                sides.append([row for n, one in enumerate(getattr(rows, "elts", []))
                              if (row := _row(names, n, one, "" if is_named else self._label))])
        for row in product(*sides):
            yield {key: value for one in row for key, value in one.items()}

    def _value(self, node: ast.expr) -> ast.expr:
        """Return the value of a name that the file gives it, or the expression itself."""
        for _ in range(MAX_DEPTH):
            given = self._names.get(node.id) if isinstance(node, ast.Name) else None
            node = given.value if isinstance(given, ast.Assign | ast.AnnAssign) else node
        return node

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
                yield from ((before, one) for one in _compared(node.test))
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
                yield [*before, node], None
                before.append(node)

    def _helper(self, node: ast.expr) -> list[ast.stmt]:
        """Return the body, with the arguments filled in, of a helper that asserts; [] for other
        calls."""
        function = self._names.get(node.func.id) if isinstance(node, ast.Call) and isinstance(
            node.func, ast.Name) else None
        is_helper = isinstance(function, ast.FunctionDef) and (
            node.func.id.startswith("super_") or any(map(_asserts, ast.walk(function))))
        if not is_helper or any(isinstance(one, ast.Starred) for one in node.args):
            return []
        args = function.args
        names = [one.arg for one in (*args.args, *args.kwonlyargs)]
        values = dict(zip(reversed([one.arg for one in args.args]), reversed(args.defaults),
                          strict=False))
        values |= {one.arg: default for one, default in zip(
            args.kwonlyargs, args.kw_defaults, strict=True) if default}
        values |= dict(zip(names, node.args, strict=False))
        values |= {one.arg: one.value for one in node.keywords if one.arg}
        return _filled(function.body, values)

    def _in_block(self, node: ast.stmt, before: list[ast.stmt], depth: int) -> Iterator[tuple]:
        """Yield what a compound statement with assertions may tell."""
        if isinstance(node, ast.If):
            known = _is_true(node.test)
            for is_taken, body in ((True, node.body), (False, node.orelse)):
                if known in (is_taken, None):
                    yield from self._told(body, before if known is not None else [*before], depth)
            return
        if isinstance(node, ast.Try):
            yield from self._told(node.body, before, depth)
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
        if word in WARNS or word == "subTest":
            yield from self._told(node.body, before, depth)
            return
        if isinstance(node, ast.For):
            rows = self._value(node.iter)
            if isinstance(rows, ast.List | ast.Tuple) and len(rows.elts) <= MAX_UNROLLED:
                for row in rows.elts:
                    bound = _bound_to(node.target, row)
                    yield from self._told(_filled(node.body, bound) if bound is not None else [
                        ast.Assign([node.target], row), *node.body], before, depth)
                return
        yield from self._wrapped(node, before, depth)

    def _wrapped(self, node: ast.stmt, before: list[ast.stmt], depth: int) -> Iterator[tuple]:
        """Yield what the body of a block tells, in the block."""
        start, name = "", "result"
        keep = "result = 0"
        if not isinstance(node, ast.With):
            start, keep, name = "results = []", "results.append(0)", "results"
        for inner, last in self._told(node.body, [], depth):
            block = copy.copy(node)
            block.body, end = inner or [ast.Pass()], None
            if last:
                stored = ast.parse(keep).body[0]
                if isinstance(stored, ast.Assign):
                    stored.value = last
                else:
                    stored.value.args = [last]
                block.body, end = [*inner, stored], ast.Name(name, ast.Load())
            yield [*before, *ast.parse(start).body, block], end
        block = copy.copy(node)
        block.body = _without_assertions(node.body)
        before.append(block)

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
        names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
        nodes = [node, *(self._names[name] for name in names & self._names.keys())]
        imported = {part for one in nodes if isinstance(one, ast.Import | ast.ImportFrom)
                    for part in _modules(one)}
        return not FRAMEWORK.isdisjoint(names | imported)


# files -------------------------------------------------------------------------------------------

def _names_in(path: str, files: Mapping[str, str], depth: int = 0) -> Names:
    """Return what the top level of a file of tests defines, and the files of tests that it imports
    from."""
    names: Names = {}
    for node in ast.parse(files[path]).body:
        other = _imported_file(node, path, files)
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


def _imported_file(node: ast.stmt, path: str, files: Mapping[str, str]) -> str:
    """Return the path of the file of tests from which a statement imports, "" for others."""
    if not isinstance(node, ast.ImportFrom):
        return ""
    parents = PurePosixPath(path).parents
    folders = parents[node.level - 1:node.level] if node.level else parents
    places = [str(folder / f"{(node.module or '__init__').replace('.', '/')}.py")
              for folder in folders]
    return next((one for one in places if one in files), "")


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
    imported = {alias.asname or alias.name.partition(".")[0] for one in ast.walk(node)
                if isinstance(one, ast.Import | ast.ImportFrom) for alias in one.names}
    defined = {one.name for one in ast.walk(node)
               if isinstance(one, ast.FunctionDef | ast.ClassDef)}
    return imported | defined | {one.id for one in ast.walk(node) if isinstance(one, ast.Name)
                                 and isinstance(one.ctx, ast.Store)}


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
    nodes = [node for one in body for node in ast.walk(one)]
    uses = [node for node in nodes if isinstance(node, ast.Name)]
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
        if isinstance(node, ast.With | ast.Try) and any(
                isinstance(one, ast.Yield) for one in ast.walk(node)):
            found += [ast.Assign([one.optional_vars], one.context_expr)
                      for one in getattr(node, "items", []) if one.optional_vars]
            return [*found, *_up_to_yield(node.body, name)]
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
            node.body = _without_assertions(node.body)
            node.orelse = _without_assertions(getattr(node, "orelse", []))
        kept.append(node)
    return kept or [ast.Pass()]


def _row(names: list[str], n: int, node: ast.expr, label: str) -> dict[str, ast.expr]:
    """Return the parameters by name in an entry of parametrize(), {} if its part of a test's id
    cannot be in `label`."""
    values = [node]
    if isinstance(node, ast.Call) and _word(node.func) == "param":
        values = node.args
        if any(one.arg == "id" for one in node.keywords):
            label = ""
    elif len(names) > 1:
        values = getattr(node, "elts", [])
    if len(values) != len(names):
        return {}
    for name, value in zip(names, values, strict=True):
        part = f"{name}{n}"
        if isinstance(value, ast.Constant):
            part = str(value.value).encode("unicode_escape").decode()
        elif isinstance(value, ast.Name | ast.Attribute | ast.UnaryOp):
            part = ""
        if label and not re.search(rf"(?:^|-){re.escape(part)}(?:-|$)" if part else "", label):
            return {}
    return dict(zip(names, values, strict=True))


def _bound_to(target: ast.expr, value: ast.expr) -> dict[str, ast.expr] | None:
    """Return the values of the names in the target of a loop; None if they are not to be seen."""
    if isinstance(target, ast.Name):
        return {target.id: value}
    pairs = [*zip(getattr(target, "elts", []), getattr(value, "elts", []), strict=False)]
    is_plain = pairs and all(isinstance(one, ast.Name) for one, _ in pairs)
    return {one.id: part for one, part in pairs} if is_plain else None


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
    if word.startswith("assert_") and isinstance(node.func, ast.Attribute) and "call" in word:
        return [ast.Attribute(node.func.value, "mock_calls", ast.Load())]   # of a mock
    if word in RAISES:
        at = 1 + word.endswith("Regex")
        return [ast.Call(args[at], args[at + 1:], node.keywords)] if args[at:] else []
    operator = COMPARED.get(word.lower().removeprefix("assert").strip("_"))
    whole = [ast.Compare(args[0], [operator()], [args[1]])] if operator and args[1:] else []
    return [*chain(*map(_compared, args[:2])), *whole]


def _compared(node: ast.expr) -> list[ast.expr]:
    """Return the expressions in a condition whose values show whether it holds, itself last."""
    parts = []
    if isinstance(node, ast.Compare):
        parts = [*chain(*map(_compared, (node.left, *node.comparators)))]
    elif isinstance(node, ast.BoolOp):
        parts = [*chain(*map(_compared, node.values))]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        parts = _compared(node.operand)
    elif isinstance(node, ast.Call) and _word(node) in ASKS:
        parts = _compared(node.args[0]) if node.args else []
    else:
        inner = node.func if isinstance(node, ast.Call) else node
        if isinstance(inner, ast.Attribute | ast.Subscript):   # of what is called, or of a name
            parts = _compared(inner.value)
    if isinstance(node, ast.Call) and _word(node) in UNTOLD:
        return parts
    return [*parts, *([] if isinstance(node, ast.Constant) else [node])]


def _is_true(node: ast.expr) -> bool | None:
    """Return whether a condition of literals holds; None if that is unknown."""
    if isinstance(node, ast.Constant):
        return bool(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        known = _is_true(node.operand)
        return None if known is None else not known
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        sides = [node.left, *node.comparators]
        is_same = ast.dump(sides[0]) == ast.dump(sides[1])
        is_literal = isinstance(sides[1], ast.Constant) and not isinstance(sides[0], ast.Name)
        if is_literal and isinstance(node.ops[0], ast.Is | ast.Eq):
            return is_same
        if is_literal and isinstance(node.ops[0], ast.IsNot | ast.NotEq):
            return not is_same
    return None


def _loaded(node: ast.AST) -> list[str]:
    return [one.id for one in ast.walk(node)
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)]


def _modules(node: ast.Import | ast.ImportFrom) -> set[str]:
    """Return the first words of the modules that a statement imports, without unittest.mock."""
    names = [one.name for one in node.names]
    whole = names if isinstance(node, ast.Import) else [
        f"{node.module}.{name}" for name in names]
    return {one.partition(".")[0] for one in whole if not one.startswith("unittest.mock")}


def _text(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(_Filled({}).visit(node)))

