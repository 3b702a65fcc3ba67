"""Find the possible values of the expressions in Python files, and so which functions call each
other.

A value is a kind and an object of that kind:

    module · class · function       a scope
    instance                        of a class, or of one of its subclasses
    method · override · guess       a method bound to an object; a subclass's override of it; a
                                    method of that name in an unknown class
    property · static · classmethod   a function in a class, by its decorator
    super                           a class; its attributes are looked up in its bases only
    external                        something that the repository does not define

An expression without values is unknown. The order of statements does not matter. Each expression
is evaluated once a round; a cycle uses the values of the previous round. The arguments of a call
become values of the parameters. A file that Python's parser refuses has no calls.
"""
from __future__ import annotations

import ast
import builtins
import os
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from codedata.code.entities import Entity, SourceFile
from codedata.code.operators.syntax import compiling

Values = tuple[tuple[str, object], ...]
N_ROUNDS = 2
MAX_BOUND = 60       # expressions to keep for one variable
MAX_VALUES = 40      # values of one expression
MAX_DEPTH = 60       # length of a chain of dependent expressions, or of base classes
MAX_OVERRIDES = 8    # overrides of a method
MAX_SUBCLASSES = 200
MAX_GUESSES = 6      # methods of one name

DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
# fields of the names and of the value that a node binds to them
BINDINGS = {ast.Assign: ("targets", "value"), ast.AnnAssign: ("target", "value"),
            ast.NamedExpr: ("target", "value"), ast.For: ("target", "iter"),
            ast.AsyncFor: ("target", "iter"), ast.comprehension: ("target", "iter"),
            ast.withitem: ("optional_vars", "context_expr")}
BUILT_IN = frozenset(dir(builtins))
# methods of Python's own types: their names do not identify a class
COMMON_METHODS = frozenset(name for kind in (str, bytes, list, dict, set, int, type(sys.stdout))
                           for name in dir(kind))
# built-in functions whose results have the values of their arguments; a list has the values of its
# entries
HANDS_ON = {"iter", "list", "max", "min", "next", "reversed", "set", "sorted", "tuple"}
CALLABLE = ("function", "method", "override", "static", "classmethod", "guess")
# {decorator of a function in a class: the kind of its value}
DECORATED = {"classmethod": "classmethod", "cached_property": "property", "property": "property",
             "staticmethod": "static", "overload": "overload"}
EXTERNAL = ("external", None)


@dataclass(slots=True, eq=False)
class Scope:
    """Hold the scope of a module, a class or a function. A lambda is a function, too."""

    kind: str                # module | class | function
    id: str                  # id of the entity; "" for a lambda
    owner: str               # caller in this scope's calls; a class or lambda has its parent's
    path: str
    parent: Scope | None
    names: dict[str, list[ast.AST]] = field(default_factory=dict)   # variables and attributes; "*":
                                                                    # modules of `import *`
    params: list[str] = field(default_factory=list)
    returns: list[ast.AST] = field(default_factory=list)
    bases: list[ast.AST] = field(default_factory=list)
    nodes: list[ast.AST] = field(default_factory=list)   # calls and attributes

    @property
    def name(self) -> str:
        """Return the last part of the id."""
        return self.id.rpartition("::")[2].rpartition(".")[2].partition("@")[0]

    def bind(self, name: str, *nodes: ast.AST) -> None:
        """Add possible expressions for a variable, up to MAX_BOUND."""
        bound = self.names.setdefault(name, [])
        bound += [one for one in nodes if one not in bound][:MAX_BOUND - len(bound)]


@dataclass(eq=False)
class Known:
    """Hold the values of an expression that is not in the source."""

    values: Values


@dataclass(eq=False)
class InstanceOf:
    """Be an expression whose values are instances of the classes in an annotation."""

    annotation: ast.AST


def call_in(scope: Scope, kind: str, function: ast.AST, *args: ast.AST) -> ast.Call:
    """Return a call that is not in the source, and add it to a scope."""
    call = ast.Call(function, [*args], [])
    call.scope, call.edge = scope, kind
    scope.nodes.append(call)
    return call


# reading -----------------------------------------------------------------------------------------

def scopes_of(file: SourceFile, entities: list[Entity]) -> list[Scope]:
    """Return the scopes of a file; the first is its module."""
    ids = {entity.line: entity.id for entity in entities}
    name = f"{file.path}::<module>"
    scopes = [Scope("module", name, name, file.path, None)]
    try:
        with compiling():
            tree = ast.parse(file.text)
    except SyntaxError:
        return scopes
    todo = deque([(tree, scopes[0])])
    while todo:
        node, scope = todo.popleft()
        if hasattr(node, "lineno"):   # others, as operators, are shared by the trees of all files
            node.scope = scope
        if isinstance(node, DEFINITION):
            # pop(): a lambda in the line of a `def` is another function
            inner = _define(node, scope, ids.pop(node.lineno, ""))
            scopes.append(inner)
            body = node.body if isinstance(node.body, list) else [node.body]
            todo += [(one, inner) for one in body]
            todo += [(one, scope) for one in ast.iter_child_nodes(node) if one not in body]
        elif not (isinstance(node, ast.If) and getattr(
                getattr(node.test, "left", None), "id", "") == "__name__"):
            _bind(node, scope)
            todo += [(one, scope) for one in ast.iter_child_nodes(node)]
    return scopes


def _define(node: ast.AST, scope: Scope, ident: str) -> Scope:
    """Bind the name of a class or function; return its scope."""
    kind = "class" if isinstance(node, ast.ClassDef) else "function"
    inner = Scope(kind, ident, ident if kind == "function" and ident else scope.owner, scope.path,
                  scope)
    value = Known(((kind, inner),))
    if isinstance(node, ast.Lambda):
        inner.returns.append(node.body)
        node.known = value
    if kind == "class":
        inner.bases = node.bases
    else:
        _parameters(node, scope, inner)
    for decorator in reversed(getattr(node, "decorator_list", ())):
        word = getattr(decorator, "attr", getattr(decorator, "id", ""))
        if word in DECORATED and kind == "function":
            value = Known(((DECORATED[word], inner),))
        else:
            value = call_in(scope, "decorator", decorator, value)
    if not isinstance(node, ast.Lambda):
        scope.bind(node.name, value)
    return inner


def _parameters(node: ast.AST, scope: Scope, inner: Scope) -> None:
    """Bind the parameters of a function in `scope`. The first one of a method is its object."""
    args, words = node.args, {getattr(one, "id", "") for one in getattr(node, "decorator_list", ())}
    plain = args.posonlyargs + args.args
    if plain and scope.kind == "class" and "staticmethod" not in words:
        kind = "class" if "classmethod" in words else "instance"
        inner.bind(plain[0].arg, Known(((kind, scope),)))
    for one in filter(None, [*plain, *args.kwonlyargs, args.vararg, args.kwarg]):
        inner.bind(one.arg, *[InstanceOf(one.annotation)] if one.annotation else [])
    with_default = plain[len(plain) - len(args.defaults):] + args.kwonlyargs
    for one, default in zip(with_default, args.defaults + args.kw_defaults, strict=True):
        inner.bind(one.arg, *[default] if default else [])
    inner.params = [one.arg for one in [*plain, *args.kwonlyargs]]


def _bind(node: ast.AST, scope: Scope) -> None:
    """Bind the names that a node binds, and note calls and attributes."""
    if isinstance(node, ast.Call | ast.Attribute):
        scope.nodes.append(node)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        scope.names.setdefault(node.id, [])
    if isinstance(node, ast.Return | ast.Yield | ast.YieldFrom) and node.value:
        scope.returns.append(node.value)
    if isinstance(node, ast.Import | ast.ImportFrom):
        source = "." * getattr(node, "level", 0) + (getattr(node, "module", "") or "")
        for one in node.names:
            one.scope, one.source = scope, source
            word = one.asname or (one.name if source else one.name.partition(".")[0])
            if not (source or one.asname):
                one.name = word   # `import a.b` binds a
            scope.bind(word, one)
    if fields := BINDINGS.get(type(node)):
        targets, value = (getattr(node, name) for name in fields)
        bound = [value] if value else []
        if isinstance(node, ast.AnnAssign):
            bound.append(InstanceOf(node.annotation))
        for target in targets if isinstance(targets, list) else [targets]:
            if isinstance(target, ast.Name):
                scope.bind(target.id, *bound)
            elif isinstance(target, ast.Attribute):
                target.bound = bound


# resolving ---------------------------------------------------------------------------------------

class Resolver:
    """Find the values of all expressions, round by round."""

    def __init__(self, scopes: list[Scope]) -> None:
        self.scopes = scopes
        self.modules = {_place(scope.path): scope for scope in scopes if scope.kind == "module"}
        self.edges: dict[tuple[str, str, str], str] = {}
        self.depth = 0
        self.found: dict[ast.AST, Values] = {}    # in this round
        self.before: dict[ast.AST, Values] = {}   # in the previous round
        self.orders: dict[Scope, list[Scope]] = {}
        self.subclasses: dict[Scope, list[Scope]] = {}
        self.by_end = {}   # {last parts of a path: its module}
        for place, module in sorted(self.modules.items()):
            parts = place.split("/")
            for i in range(len(parts)):
                if "/".join(parts[:i]) not in self.modules:      # skip suffixes inside a package
                    self.by_end.setdefault("/".join(parts[i:]), module)
        self.by_name = {}   # {name: methods}
        for scope in scopes:
            if scope.id and scope.kind == "function" and scope.parent.kind == "class":
                self.by_name.setdefault(scope.name, []).append(scope)

    def run(self) -> dict[tuple[str, str, str], str]:
        """Run all rounds; return {(caller, callee, kind): certainty} from the last one."""
        for _ in range(N_ROUNDS):
            self.before, self.found = self.found, {}
            self.edges.clear()
            self.orders.clear()
            self.subclasses.clear()
            for scope in self.scopes:
                for base in self.order(scope)[1:]:
                    below = self.subclasses.setdefault(base, [])
                    below += [scope] if len(below) < MAX_SUBCLASSES else []
            for scope in self.scopes:
                self.union(scope.nodes)
        return self.edges

    def emit(self, caller: Scope, callee: Scope, kind: str, certainty: str = "resolved") -> None:
        """Record an edge from the function around an expression to a callee."""
        key = caller.owner, callee.id, kind
        if callee.id and self.edges.get(key) != "resolved":
            self.edges[key] = certainty

    def values(self, node: ast.AST) -> Values:
        """Return the possible values of an expression."""
        if node not in self.found and self.depth < MAX_DEPTH:
            self.found[node] = self.before.get(node, ())   # for cycles
            self.depth += 1
            read = READERS.get(type(node), Resolver.parts)
            self.found[node] = tuple(dict.fromkeys(read(self, node)))[:MAX_VALUES]
            self.depth -= 1
        return self.found.get(node, ())

    def union(self, nodes: Iterable[ast.AST]) -> Values:
        """Return the union of the possible values of several expressions."""
        return tuple(dict.fromkeys(value for node in nodes for value in self.values(node)))

    def instances(self, node: InstanceOf) -> Values:
        """Return instances of the classes in an annotation."""
        return tuple(("instance", at) for kind, at in self.values(node.annotation)
                     if kind == "class")

    def parts(self, node: ast.AST) -> Values:
        """Return the values of all parts: a container's entries, an operator's operands."""
        return self.union(ast.iter_child_nodes(node))

    # names

    def module(self, path: str, source: str) -> Scope | None:
        """Return the module that a file imports as `source`, or None if it is external."""
        name = source.lstrip(".")
        place = name.replace(".", "/")
        n_up = len(source) - len(name)
        if n_up:
            folder = "/".join(path.split("/")[:-n_up])
            return self.modules.get(f"{folder}/{place}".strip("/"))
        if name.partition(".")[0] in sys.stdlib_module_names:
            return None
        folder = path
        while folder:     # try the nearest folder first
            folder = os.path.dirname(folder)
            found = self.modules.get(f"{folder}/{place}".strip("/"))
            if found and folder not in self.modules:
                return found
        return self.by_end.get(place)

    def imported(self, node: ast.alias) -> Values:
        """Return the values of an imported name or module."""
        module = self.module(node.scope.path, node.source or node.name)
        if not module:
            return (EXTERNAL,)
        return self.in_module(module, node.name, set()) if node.source else (("module", module),)

    def in_module(self, module: Scope, name: str, seen: set[Scope]) -> Values:
        """Return the values of a name in a module: a variable, a submodule, or from `import *`."""
        found = self.union(module.names.get(name, ()))
        inner = self.modules.get(f"{_place(module.path)}/{name}")
        if found or inner or module in seen or len(seen) > MAX_DEPTH:
            return found or ((("module", inner),) if inner else ())
        seen.add(module)
        for node in module.names.get("*", ()):
            if other := self.module(module.path, node.source):
                found += self.in_module(other, name, seen)
        return found

    def named(self, node: ast.Name) -> Values:
        """Return the values of a name at its use."""
        scope = node.scope
        while scope.kind != "module" and (
                node.id not in scope.names or (scope.kind == "class" and scope is not node.scope)):
            scope = scope.parent
        if scope.kind != "module":
            return self.union(scope.names[node.id])
        found = self.in_module(scope, node.id, set())
        return found or ((EXTERNAL,) if node.id in BUILT_IN else ())

    # classes

    def order(self, scope: Scope) -> list[Scope]:
        """Return a class and its bases, in the order of attribute lookup."""
        if scope not in self.orders:
            self.orders[scope] = [scope]      # ends cycles of bases
            last = {}
            self.depth += 1
            for kind, base in reversed(self.union(scope.bases)) if self.depth < MAX_DEPTH else ():
                for one in reversed(self.order(base)) if kind == "class" else ():
                    last.setdefault(one)
            self.depth -= 1
            last.pop(scope, None)
            self.orders[scope] = [scope, *reversed(last)][:MAX_DEPTH]
        return self.orders[scope]

    def lookup(self, classes: Iterable[Scope], name: str) -> Values:
        """Return the values of a name in the first class that has it."""
        return next((self.union(scope.names[name]) for scope in classes if name in scope.names), ())

    def found_in(self, scope: Scope, name: str) -> list[tuple[str, tuple]]:
        """Return (kind, value) for each value of an instance's attribute. The kind is "method" for
        a value from its class or a base, "override" for one from a subclass."""
        own = self.lookup(self.order(scope), name)
        below = dict.fromkeys(
            one for other in self.subclasses.get(scope, ()) if name in other.names or not own
            for one in self.lookup(self.order(other), name) if one not in own)
        return [*[("method", one) for one in own],
                *[("override", one) for one in below if len(below) <= MAX_OVERRIDES]]

    def attribute(self, node: ast.Attribute) -> Values:
        """Return the values of an attribute; bind the values that are assigned to it."""
        bases = self.values(node.value)
        for kind, at in bases if hasattr(node, "bound") else ():
            if kind in ("instance", "class", "module"):
                at.bind(node.attr, *node.bound)
        return tuple(one for base in bases for one in self.member(base, node))

    def member(self, value: tuple[str, object], node: ast.Attribute) -> Values:
        """Return the values of a value's attribute; record calls of properties."""
        kind, at = value
        if kind == "module":
            return self.in_module(at, node.attr, set())
        if kind not in ("instance", "super", "class"):
            return (EXTERNAL,) if kind == "external" else ()
        if kind == "instance":
            found = self.found_in(at, node.attr)
        else:
            order = self.order(at)[1:] if kind == "super" else self.order(at)
            found = [("method", one) for one in self.lookup(order, node.attr)]
        out = []
        for how, (what, inner) in found:
            if what == "property" and kind != "class":
                self.emit(node.scope, inner, what)
                out += self.union(inner.returns)
            else:
                is_bound = what == "classmethod" or (what == "function" and kind != "class")
                out.append((how if is_bound else what, inner))
        return tuple(out)

    # calls

    def call(self, node: ast.Call) -> Values:
        """Return the results of a call, and record it. A decorator without known results returns
        the decorated function."""
        function, is_decorator = node.func, getattr(node, "edge", "") == "decorator"
        if isinstance(function, ast.Name) and function.id == "super":
            return (("super", node.scope.parent or node.scope),)
        callees = self.values(function)
        if not callees and isinstance(function, ast.Attribute) and not self.values(function.value):
            methods = self.by_name.get(function.attr, ())
            if len(methods) <= MAX_GUESSES and function.attr not in COMMON_METHODS:
                callees = tuple(("guess", method) for method in methods)
        found = tuple(one for callee in callees for one in self.invoke(callee, node))
        known = [one for one in found if one != EXTERNAL]
        return self.union(node.args) if is_decorator and not known else found

    def invoke(self, callee: tuple[str, object], node: ast.Call) -> Values:
        """Return the results of calling a value, and record the call."""
        kind, at = callee
        edge = getattr(node, "edge", "call")
        if kind in CALLABLE:
            self.emit(node.scope, at, kind if kind == "override" else edge,
                      "guessed" if kind == "guess" else "resolved")
            params = at.params if kind in ("function", "static") else at.params[1:]
            given = dict(zip(params, node.args, strict=False))
            given.update((one.arg, one.value) for one in node.keywords if one.arg in at.params)
            for name, arg in given.items():
                if not isinstance(arg, ast.Constant):
                    at.bind(name, arg)
            return self.union([     # for a returned parameter, use this call's argument
                given.get(one.id, one) if isinstance(one, ast.Name) and one.scope is at else one
                for one in at.returns])
        if kind == "class":
            methods = [("method", method) for name in ("__new__", "__init__", "__post_init__")
                       for is_a, method in self.lookup(self.order(at), name) if is_a == "function"]
            for method in methods:
                self.invoke(method, node)
            if not methods:
                self.emit(node.scope, at, edge)
            return (("instance", at),)
        if kind == "instance":
            return tuple(one for how, (what, method) in self.found_in(at, "__call__")
                         if what == "function" for one in self.invoke((how, method), node))
        if kind == "external":
            given = self.union([*node.args, *(one.value for one in node.keywords)])
            for what, function in given if edge == "call" else ():
                if what in CALLABLE:
                    self.emit(node.scope, function, "ref")
            is_handed_on = isinstance(node.func, ast.Name) and node.func.id in HANDS_ON
            return *(given if is_handed_on else ()), EXTERNAL
        return ()


def _place(path: str) -> str:
    """Return the path of a module without its suffix; for a package, the path of its folder."""
    return path.removesuffix(".py").removesuffix("/__init__")


READERS = {ast.Name: Resolver.named, ast.Attribute: Resolver.attribute, ast.Call: Resolver.call,
           ast.alias: Resolver.imported,
           **dict.fromkeys((ast.Constant, ast.JoinedStr), lambda resolver, node: (EXTERNAL,)),
           ast.Lambda: lambda resolver, node: node.known.values,
           Known: lambda resolver, node: node.values, InstanceOf: Resolver.instances}
