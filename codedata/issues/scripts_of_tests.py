"""Turn failing tests of Python into scripts that a user could write: the statements of the test
with the definitions that they need from its files.

Fixtures, parameters, setUp() and helpers that assert are filled in. One script per assertion,
ending in the compared expression; one per other statement, ending in it. Nothing is run here, and
the filled-in values may be wrong: a script counts only if running it shows the bug. No script names
the test framework.
"""
from __future__ import annotations

import ast
import copy
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from doctest import DocTestParser
from functools import cache
from itertools import chain, islice, product, zip_longest
from pathlib import PurePosixPath
from textwrap import indent

from codedata.code.call_values import BUILT_IN
from codedata.code.entities import Sources
from codedata.suites.replayed_scripts import UNTOLD, ReplayJob
from codedata.suites.test_results import place_of
from codedata.tasks.prove.hidden_tests import COPY

Names = dict[str, ast.stmt]   # {name: the statement that defines it}
MAX_ROWS = 6               # sets of parameters tried for a test's id
MAX_UNROLLED = 20          # turns of a loop
MAX_SCRIPTS = 60           # scripts per test
MAX_DEPTH = 6              # nested calls of helpers
MAX_LINE, MAX_SHORT = 90, 20   # characters of an expression after substitution; of a literal
FRAMEWORK = re.compile(r"\b(?:pytest|nose|hypothesis|unittest(?!\.mock| import mock)|monkeypatch|"
                       r"capsys|caplog|recwarn|mocker)\b")
PARAMETER = "request.param"   # a fixture's parameter
EXAMPLES = "test"          # the function whose body is a doctest's examples
SET_UP = ("setUpClass", "setup_class", "setUp", "setup_method")
RAISES = ("raises", "assertRaises", "assertRaisesRegex")
WARNS = ("warns", "deprecated_call", "assertWarns", "assertWarnsRegex", "catch_warnings")
CAUGHT = "[f'{one.category.__name__}: {one.message}' for one in caught]"
CATCH = """import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
"""
FOLDER = """@pytest.fixture
def fixture():
    import pathlib
    import tempfile
    return pathlib.Path(tempfile.mkdtemp())
"""
KNOWN = {name: ast.parse(FOLDER).body[0] for name in ("tmp_path", "tmpdir")} | {
    "os": ast.parse("import os").body[0]}   # names that every test may use
# {call of pytest's `monkeypatch`: a statement that does the same with its arguments}
PATCHES = {"setenv": "os.environ[{0}] = {1}", "delenv": "os.environ.pop({0}, None)",
           "setattr": "setattr({0}, {1}, {2})", "setitem": "{0}[{1}] = {2}",
           "chdir": "os.chdir({0})"}
COPIED = re.compile(rf"((?:src\.)?([\w.]*)){COPY}(\w+)\.txt.*")
SHOWN = ast.Call | ast.Compare | ast.Name | ast.Attribute | ast.Subscript | ast.BinOp | ast.UnaryOp
BLOCKS = ast.With | ast.For | ast.If | ast.Try
IMPORTS = ast.Import | ast.ImportFrom


def texts_of(sources: Sources) -> list[dict[str, str]]:
    """Return [test files, other files] of a project, each {path: text}, for jobs_of_tests()."""
    return [{file.path: file.text.decode(errors="replace") for file in sources.files
             if file.is_test == is_test} for is_test in (True, False)]


def jobs_of_tests(tests: Collection[str], files: Mapping[str, str], sources: Mapping[str, str],
                  as_examples: bool = False) -> list[ReplayJob]:
    """Return jobs that run the scripts made from tests (pytest ids), alternating between tests.
    `files` are the test files, {path: text}; `sources` are other files, which may have doctests.
    `as_examples` leaves out scripts that end in an assertion's comparison, or print nothing."""
    found, read = [], _TestFiles(files)
    for test in tests:
        test = COPIED.sub(r"\1\3::\2\3.*", test)   # a copy has all doctests of its source
        path, name = place_of(test, files)
        with suppress(SyntaxError, ValueError, RecursionError, LookupError):
            given = read if path else _TestFiles({"": _doctest(*place_of(test, sources), sources)})
            scripts = _Test(test, path, name or EXAMPLES, given, as_examples).scripts()
            found.append([(one, function_of(test)) for one in islice(scripts, MAX_SCRIPTS)
                          if any(one)])
    made = {}   # {script: function of its first test}
    for script, function in filter(None, chain(*zip_longest(*found))):
        made.setdefault(script, function)
    return [ReplayJob([*lines], last, function) for (lines, last), function in made.items()]


def function_of(test: str) -> str:
    """Return a pytest id without parameters."""
    file, colons, name = test.rpartition("::")
    return f"{file}{colons}{name.partition('[')[0]}"


def tidied(lines: Sequence[str], last: str) -> tuple[list[str], str]:
    """Return a script with only the imports that it uses, without branches that are never taken.
    Inline needless names: aliases of other names, short literals used once, and values that the
    line before the last expression assigns and only that expression uses."""
    nodes = [node for node in _Folded().visit(ast.parse("\n".join([*lines, last]))).body
             if not isinstance(node, ast.Pass)]
    for at in reversed(range(len(nodes) - 1)):
        if _is_needless(nodes, at, bool(last)):
            filled = _Filled({nodes[at].targets[0].id: nodes[at].value})
            nodes[at:] = map(filled.visit, nodes[at + 1:])
    used = {name for node in nodes for name in _loaded(node)}
    code = "\n".join(_text(node) for node in nodes if not isinstance(node, IMPORTS))
    if not used <= BUILT_IN.union(*map(_bound, nodes)):
        used.add("*")   # `from x import *` may define the other names
    for node in nodes:
        if isinstance(node, IMPORTS):
            node.names = [one for one in node.names if _imported(one) in used]
        if isinstance(node, ast.Import):
            for one in node.names:
                if one.asname is None and one.name not in code:
                    one.name = _imported(one)
    if nodes and isinstance(nodes[-1], ast.Assign):
        nodes[-1] = ast.Expr(nodes[-1].value)
    texts = []
    for node in nodes:
        text = _text(node) if getattr(node, "names", True) else ""
        if text and not (isinstance(node, IMPORTS) and text in texts):
            texts.append(text)
    return (texts[:-1], texts[-1]) if last else (texts, "")


def _is_needless(nodes: Sequence[ast.stmt], at: int, has_last: bool) -> bool:
    """Return whether tidied() may inline this assignment."""
    match nodes[at]:
        case ast.Assign([ast.Name(name)], value):
            is_one = [one for node in nodes for one in _loaded(node)].count(name) == 1
            known = {name, getattr(value, "id", name)}
            bound = [one for node in nodes for one in known & _bound(node)]
            if len(bound) == len({*bound}) and (len(known) == 2 or (
                    is_one and not _loaded(value) and len(_text(value)) <= MAX_SHORT)):
                return True
            return (has_last and at == len(nodes) - 2 and is_one
                    and len(_text(value)) + len(_text(nodes[-1])) <= MAX_LINE)
    return False


class _Test:
    """Make the scripts of a test."""

    def __init__(self, test: str, path: str, name: str, files: _TestFiles, as_examples: bool):
        self._label, self._as_examples = f"-{test.partition('[')[2][:-1]}-", as_examples
        self._names: Names = {**KNOWN}
        for folder in reversed(PurePosixPath(path).parents):
            if str(folder / "conftest.py") in files.texts:
                self._names |= files.names_in(str(folder / "conftest.py"))
        self._names |= files.names_in(path)
        *owners, name = name.split(".")
        decorators = []
        for owner in owners:
            node = self._names[owner]
            decorators += node.decorator_list
            self._names |= files.names_of_class(node, self._names)
        self._node = self._names[name]
        self._body = [one for one in self._node.body if not isinstance(one, ast.FunctionDef)]
        self._names |= {one.name: one for one in self._node.body if one not in self._body}
        self._decorators = [*decorators, *self._node.decorator_list]

    def scripts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield (lines, last expression or "") for each value the test checks."""
        for row in islice(self._rows(), MAX_ROWS):
            names = [*SET_UP, *(arg.arg for arg in self._node.args.args if arg.arg not in row)]
            body = [one for name in names for one in self._given_by(name)]
            body += _filled(self._body, row)
            for before, last in self._checked(body, []):
                yield from self._script(before, last)

    def _rows(self) -> Iterator[dict[str, ast.expr]]:
        """Yield the sets of parameters, by name, that the test's id may mean: for each decorator,
        the rows that match most parts of the test's id."""
        sides = []
        for node in self._decorators:
            if isinstance(node, ast.Call) and _word(node) == "parametrize":
                names, rows = node.args[:2]
                names = ast.literal_eval(names)
                text = names if isinstance(names, str) else ",".join(names)
                target = ast.parse(text.strip(" ,"), mode="eval").body
                fits = defaultdict(list)
                for n, one in enumerate(self._elements(rows)):
                    row = _row(target, one)
                    fits[sum(f"-{_part(name, value, n)}-" in self._label
                             for name, value in row.items())].append(row)
                sides.append(fits[max(fits, default=0)])
        for row in product(*sides):
            yield {key: value for one in row for key, value in one.items()}

    def _parameter(self, fixture: ast.FunctionDef) -> list[ast.expr]:
        """Return [the fixture's parameter in the test's id, else its first]; [] if it has none."""
        given = [one.value for node in fixture.decorator_list if isinstance(node, ast.Call)
                 for one in node.keywords if one.arg == "params"]
        values = [(f"-{_part(fixture.name, value, n)}-" in self._label, value) for one in given
                  for n, value in enumerate(self._elements(one))]
        return [value for _, value in sorted(values, key=lambda one: not one[0])[:1]]

    def _elements(self, node: ast.expr) -> list[ast.expr]:
        """Return the elements of a list or tuple, or of one that the file assigns to a name."""
        given = self._names.get(node.id) if isinstance(node, ast.Name) else None
        value = given.value if isinstance(given, ast.Assign | ast.AnnAssign) else node
        return getattr(value, "elts", [])

    def _given_by(self, name: str) -> list[ast.stmt]:
        """Return the statements of a fixture or set-up method, up to its yield, or []."""
        node = self._names.get(name)
        if not isinstance(node, ast.FunctionDef):
            return []
        given = [one for arg in node.args.args for one in self._given_by(arg.arg)]
        body = [_Filled({PARAMETER: one}).visit(copy.deepcopy(part))
                for one in self._parameter(node) for part in node.body] or node.body
        return [*given, *_up_to_return(body, [ast.Name(name, ast.Store())])]

    def _checked(self, body: list[ast.stmt], before: list[ast.stmt]
                 ) -> Iterator[tuple[list[ast.stmt], ast.expr | None]]:
        """Yield (statements, last expression or None) for each value a test checks; append to
        `before` the statements that later ones may need."""
        for node in (part for one in body for part in self._unfolded(one)):
            if isinstance(node, BLOCKS) and _asserts(node):
                yield from self._in_block(node, before)
            else:
                yield from self._of_statement(node, before)

    def _of_statement(self, node: ast.stmt, before: list[ast.stmt]) -> Iterator[tuple]:
        """Yield the results of _checked() for one assertion or other statement."""
        expression = node.value if isinstance(node, ast.Expr) else node
        if _is_assertion(expression):
            yield from ((before, one) for one in _asserted(expression)
                        if not (self._as_examples and isinstance(one, ast.Compare)))
        elif not isinstance(expression, ast.Constant):
            if isinstance(node, ast.Assign | ast.Expr):
                yield before, node.value
            if _loaded(node) and not self._as_examples:
                yield [*before, node], None
            before.append(node)

    def _unfolded(self, node: ast.stmt, depth: int = 0) -> list[ast.stmt]:
        """Return a statement or, if it calls a helper that returns only at its end, the helper's
        body with the arguments filled in."""
        call = getattr(node, "value", None)
        helper = self._names.get(_text(call.func)) if isinstance(call, ast.Call) else None
        if not isinstance(helper, ast.FunctionDef) or helper.decorator_list or depth == MAX_DEPTH:
            return [node]
        body = helper.body
        if isinstance(body[-1], ast.Try):   # so that a script may show the error
            body = [*body[:-1], *body[-1].body]
        ends = [end for one in body for end in ast.walk(one)
                if isinstance(end, ast.Return | ast.Yield)]
        if ends not in ([], body[-1:]):
            return [node]
        args = [one.arg for one in helper.args.args]
        defaults = helper.args.defaults
        values = dict(zip(args[len(args) - len(defaults):], defaults, strict=True))
        values |= dict(zip(args, call.args, strict=False))
        values |= {one.arg: one.value for one in call.keywords if one.arg}
        body = _up_to_return(_filled(body, values), getattr(node, "targets", []))
        return [part for one in body for part in self._unfolded(one, depth + 1)]

    def _in_block(self, node: ast.stmt, before: list[ast.stmt]) -> Iterator[tuple]:
        """Yield the results of _checked() for a compound statement with assertions, as if its body
        had no statement around it: running the script shows whether that works."""
        rows = [{}]
        if isinstance(node, ast.If):   # also the other branch
            yield from self._checked(node.orelse, [*before])
        if isinstance(node, ast.For):
            rows = [_row(node.target, one) for one in self._elements(node.iter)[:MAX_UNROLLED]]
        elif isinstance(node, ast.With):
            word = _word(node.items[0].context_expr)
            if word in RAISES:
                yield from self._checked(node.body, [*before])
                before.append(ast.Try(node.body, [ast.ExceptHandler(
                    ast.Name("Exception", ast.Load()), None, [ast.Pass()])], [], []))
                return
            if word in WARNS:
                catch = ast.parse(f"{CATCH}    pass").body
                catch[1].body[1:] = node.body
                yield [*before, *catch], ast.parse(CAUGHT, mode="eval").body
            else:
                before += [ast.Assign([one.optional_vars], one.context_expr)
                           for one in node.items if one.optional_vars]
        for row in rows:
            yield from self._checked(_filled(node.body, row), before)

    def _script(self, before: list[ast.stmt], last: ast.expr | None
                ) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield the script of statements, with the definitions that they need; nothing if its end
        names the test framework."""
        *before, end = [*before, *(self._unfolded(ast.Expr(last)) if last else ())]
        if self._is_foreign(end):
            return
        kept = [node for node in before if not self._is_foreign(node)]
        needed = {node for name, node in self._names.items() if name.endswith("*")}
        left = [*kept, end]
        while left:
            found = {self._names[name] for name in _loaded(left.pop()) if name in self._names}
            left += found - needed
            needed |= found
        first = [node for node in sorted(needed, key=[*self._names.values()].index)
                 if not self._is_foreign(node)]
        lines = [*map(_text, sorted([*first, *kept], key=lambda node: not isinstance(
            node, IMPORTS)))]
        lines, text = tidied(lines, _text(end)) if last else tidied([*lines, _text(end)], "")
        yield tuple(lines), text

    def _is_foreign(self, node: ast.AST) -> bool:
        """Return whether a statement names the test framework."""
        known = map(self._names.get, _loaded(node))
        return any(FRAMEWORK.search(_text(one)) for one in (node, *known)
                   if one is node or isinstance(one, IMPORTS))


# files -------------------------------------------------------------------------------------------

def _doctest(path: str, name: str, sources: Mapping[str, str]) -> str:
    """Return the text of a test file whose function EXAMPLES has the examples of a docstring."""
    tree = ast.parse(sources[path])
    docs = {one.name: ast.get_docstring(one) or "" for one in ast.walk(tree)
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    docs["*"] = "\n".join(docs.values())
    examples = DocTestParser().get_examples(docs[name.rpartition(".")[2]])
    code = "".join(one.source for one in examples)
    stem = PurePosixPath(path.removesuffix("/__init__.py")).stem
    used = {one for node in tree.body for one in _bound(node)}.intersection(
        _loaded(ast.parse(code)))
    lines = [f"from {name.partition(stem)[0]}{stem} import {one}\n" for one in sorted(used)]
    return f"{''.join(lines)}def {EXAMPLES}():\n{indent(code, ' ')}"


class _TestFiles:
    """Look up the definitions in test files, {path: text}. Each file and class is read once."""

    def __init__(self, texts: Mapping[str, str]):
        self.texts = texts
        self.names_in = cache(self._names_in)
        self._of_classes: dict[ast.ClassDef, Names] = {}

    def _names_in(self, path: str, depth: int = 0) -> Names:
        """Return the definitions at the top level of a test file, and of the test files that it
        imports from. Relative imports become absolute. The key of `from x import *` is its text."""
        names: Names = {}
        for node in _Unpatched().visit(ast.parse(self.texts[path])).body:
            if isinstance(node, ast.ImportFrom) and node.level:
                package = PurePosixPath(path.removeprefix("src/")).parts[:-node.level]
                module = ".".join(filter(None, (*package, node.module)))
                node = (ast.ImportFrom(module, node.names, 0) if module
                        else ast.Import(node.names))
            other = _imported_file(node, self.texts)
            bound = _bound(node)
            if other and depth < MAX_DEPTH:
                names |= self.names_in(other, depth + 1)
            else:
                names |= dict.fromkeys([_text(node)] if "*" in bound else bound, node)
        return names

    def names_of_class(self, node: ast.ClassDef, names: Names) -> Names:
        """Return the definitions of a test class and its bases, as statements outside of a
        class."""
        if node not in self._of_classes:
            found = self._of_classes[node] = {}
            for base in node.bases:
                owner = names.get(_word(base))
                if isinstance(owner, ast.ClassDef) and owner is not node:
                    found |= self.names_of_class(owner, names)
            for one in copy.deepcopy(node.body):
                one = _Unselfed().visit(one)
                found |= dict.fromkeys(_bound(one), one)
        return self._of_classes[node]


def _imported_file(node: ast.stmt, files: Mapping[str, str]) -> str:
    """Return the path of the test file from which a statement imports; "" if there is none."""
    if not isinstance(node, ast.ImportFrom):
        return ""
    module = f"/{node.module.replace('.', '/')}"
    return next((path for path in files
                 if f"/{path}".endswith((f"{module}.py", f"{module}/__init__.py"))), "")


def _bound(node: ast.stmt) -> set[str]:
    """Return the names that a statement binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    nodes = [*ast.walk(node)]
    return {_imported(alias) for one in nodes if isinstance(one, IMPORTS) for alias in one.names
            } | {one.id for one in nodes
                 if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}


def _imported(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


class _Unpatched(ast.NodeTransformer):
    """Replace calls of `monkeypatch` by plain statements, and `import a, b` by two statements."""

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        return [ast.Import([one]) for one in node.names]

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        match node.value:
            case ast.Call(ast.Attribute(ast.Name("monkeypatch"), word), args) if word in PATCHES:
                with suppress(IndexError):
                    return ast.parse(PATCHES[word].format(*map(_text, args))).body[0]
        return node


class _Unselfed(ast.NodeTransformer):
    """Replace `self.x` by `x`."""

    def visit_arguments(self, node: ast.arguments) -> ast.arguments:
        node.args = [one for one in node.args if one.arg not in ("self", "cls")]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
            return ast.Name(node.attr, node.ctx)
        return node


# statements --------------------------------------------------------------------------------------

@dataclass
class _Filled(ast.NodeTransformer):
    """Substitute expressions for names."""

    values: Mapping[str, ast.expr]

    def visit_Name(self, node: ast.Name) -> ast.expr:
        is_read = isinstance(node.ctx, ast.Load) and node.id in self.values
        return copy.deepcopy(self.values[node.id]) if is_read else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if PARAMETER in self.values and _text(node) == PARAMETER:
            return copy.deepcopy(self.values[PARAMETER])
        return self.generic_visit(node)


class _Folded(ast.NodeTransformer):
    """Replace `if True:` and `if 1 == 1:` by its body."""

    def visit_If(self, node: ast.If | ast.IfExp) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if not isinstance(node.test, ast.Constant):
            return node
        return (node.body if node.test.value else node.orelse) or ast.Pass()

    visit_IfExp = visit_If

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        match node:
            case ast.Compare(ast.Constant(left), [ast.Eq()], [ast.Constant(right)]):
                return ast.Constant(left == right)
        return node


def _filled(body: list[ast.stmt], values: Mapping[str, ast.expr]) -> list[ast.stmt]:
    """Return statements with values for names. A value is substituted, or assigned before the
    statements if they bind its name again, or use a compound value more than once."""
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


def _up_to_return(body: list[ast.stmt], targets: list[ast.expr]) -> list[ast.stmt]:
    """Return the statements of a function up to its first return or yield; assign the value of that
    statement to `targets`."""
    for n, node in enumerate(body):
        end = node.value if isinstance(node, ast.Expr) else node
        if isinstance(end, ast.Return | ast.Yield):
            value = end.value or ast.Constant(None)
            return [*body[:n], ast.Assign(targets, value) if targets else ast.Expr(value)]
    return body


def _row(target: ast.expr, node: ast.expr) -> dict[str, ast.expr]:
    """Return {name: its expression} for a target that is assigned `node`: an expression, or an
    entry of parametrize(). Leave out names whose expressions the source does not show."""
    if _word(node) == "param":
        node = ast.Tuple(node.args) if isinstance(target, ast.Tuple) else node.args[0]
    if isinstance(target, ast.Name):
        return {target.id: node}
    pairs = zip(getattr(target, "elts", []), getattr(node, "elts", []), strict=False)
    return {name: part for one, inner in pairs for name, part in _row(one, inner).items()}


def _part(name: str, value: ast.expr, n: int) -> str:
    """Return a parameter's text in a test's id: pytest numbers values without a short form."""
    return (str(value.value).encode("unicode_escape").decode()
            if isinstance(value, ast.Constant) else f"{name}{n}")


# expressions -------------------------------------------------------------------------------------

def _word(node: ast.expr) -> str:
    """Return the last word of a name or of a called expression."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _is_assertion(node: ast.AST) -> bool:
    return isinstance(node, ast.Assert) or (
        isinstance(node, ast.Call) and _word(node).lower().startswith(("assert", "fail")))


def _asserts(node: ast.AST) -> bool:
    return any(_is_assertion(one) or (
        isinstance(one, ast.With) and _word(one.items[0].context_expr) in (*RAISES, *WARNS))
        for one in ast.walk(node))


def _asserted(node: ast.Assert | ast.Call) -> list[ast.expr]:
    """Return the expressions that an assertion compares, or the call that it expects to raise."""
    if isinstance(node, ast.Assert):
        return _shown(node.test)
    word, args = _word(node), node.args
    if word in RAISES:
        at = 1 + word.endswith("Regex")
        return [ast.Call(args[at], args[at + 1:], node.keywords)] if args[at:] else []
    return _shown(ast.Compare(args[0], [ast.Eq()], args[1:2]) if args[1:] else node)


def _shown(node: ast.expr) -> list[ast.expr]:
    """Return the expressions in a condition whose values may explain its result."""
    called = [one.func for one in ast.walk(node) if isinstance(one, ast.Call)]
    return [one for one in ast.walk(node) if isinstance(one, SHOWN) and one not in called
            and _loaded(one) and _word(one) not in UNTOLD and not _is_assertion(one)]


def _loaded(node: ast.AST) -> list[str]:
    return [one.id for one in ast.walk(node)
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)]


def _text(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(node))

