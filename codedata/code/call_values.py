"""Find the possible values of expressions, and so which functions call each other.

A value is a kind and an object of that kind:

    module · class · function       a scope
    instance                        of a class, or of one of its subclasses
    method · override · guess       a method bound to an object; a subclass's override of it; a
                                    method of that name in an unknown class
    property · static · classmethod   a function in a class, by its decorator
    super                           a class; its attributes are looked up in its bases only
    external                        a dotted name that the repository does not define

An expression without values is unknown. Each expression is evaluated once a round; a cycle uses the
values of the previous round. The arguments of a call become values of the parameters.
"""
from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Iterable

from codedata.code.call_scopes import TABLES, Expr, Scope, Value

Values = tuple[Value, ...]
N_ROUNDS = 2
MAX_VALUES = 40      # values of one expression
MAX_DEPTH = 60       # length of a chain of dependent expressions, or of base classes
MAX_OVERRIDES = 8    # overrides of a method
MAX_SUBCLASSES = 200
MAX_GUESSES = 6      # methods of one name
MAX_DOTTED = 80      # characters of a name from outside of the repository

BUILT_IN = frozenset(dir(builtins))
# methods of Python's own types: their names do not identify a class
COMMON_METHODS = frozenset(name for kind in (str, bytes, list, dict, set, int, type(sys.stdout))
                           for name in dir(kind))
# functions that do not call their arguments: most built-ins, and two of functools
KEEPS = BUILT_IN - {"map", "filter", "sorted", "min", "max"} | {
    "functools.wraps", "functools.update_wrapper"}
# built-in functions whose results have the values of their first argument; a list has the values
# of its entries
HANDS_ON = {"iter", "list", "max", "min", "next", "reversed", "set", "sorted", "tuple"}
CALLABLE = ("function", "method", "override", "static", "classmethod", "guess")


class Resolver:
    """Find the values of all expressions, round by round."""

    def __init__(self, scopes: list[Scope]) -> None:
        self.scopes = scopes
        self.modules = {_place(scope.path): scope for scope in scopes if scope.kind == "module"}
        self.edges: dict[tuple[str, str, str], str] = {}
        self.round = self.depth = 0
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
        for self.round in range(1, N_ROUNDS + 1):
            self.edges.clear()
            self.orders.clear()
            self.subclasses.clear()
            for scope in self.scopes:
                for base in self.order(scope)[1:]:
                    below = self.subclasses.setdefault(base, [])
                    below += [scope] if len(below) < MAX_SUBCLASSES else []
            for scope in self.scopes:
                for expr in scope.exprs.values():
                    self.values(expr)
        return self.edges

    def emit(self, expr: Expr, callee: Scope, kind: str, certainty: str = "resolved") -> None:
        """Record an edge from the function around an expression to a callee."""
        key = expr.scope.owner, callee.id, kind
        if callee.id and self.edges.get(key) != "resolved":
            self.edges[key] = certainty

    def values(self, expr: Expr) -> Values:
        """Return the possible values of an expression."""
        if expr.round != self.round and self.depth < MAX_DEPTH:
            expr.round = self.round
            self.depth += 1
            found = list(dict.fromkeys(OPERATIONS[expr.op](self, expr)))
            self.depth -= 1
            if len(found) > MAX_VALUES:
                found.sort(key=lambda one: one[0] == "external")
            expr.values = tuple(found[:MAX_VALUES])
        return expr.values

    def union(self, exprs: Iterable[Expr]) -> Values:
        """Return the union of the possible values of several expressions."""
        return tuple(dict.fromkeys(value for expr in exprs for value in self.values(expr)))

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

    def do_import(self, expr: Expr) -> Values:
        """Return the values of an imported name or module."""
        source, name = expr.parts
        module = self.module(expr.scope.path, source)
        if not module:
            return (("external", f"{source}.{name}".strip(".")),)
        return self.in_module(module, name, set()) if name else (("module", module),)

    def in_module(self, module: Scope, name: str, seen: set[Scope]) -> Values:
        """Return the values of a name in a module: a variable, a submodule, or from `import *`."""
        found = self.union(module.names.get(name, ()))
        inner = self.modules.get(f"{_place(module.path)}/{name}")
        if found or inner or module in seen or len(seen) > MAX_DEPTH:
            return found or ((("module", inner),) if inner else ())
        seen.add(module)
        for kind, other in self.union(module.names.get("*", ())):
            if kind == "module":
                listed = [one.parts for bound in other.names.get("__all__", ())
                          for items in bound.parts if items.op == "any" for one in items.parts]
                if (name,) in listed or (not listed and name[0] != "_"):
                    found += self.in_module(other, name, seen)
        return found

    def do_name(self, expr: Expr) -> Values:
        """Return the values of a name at its use."""
        name, = expr.parts
        scope = expr.scope.finding(name)
        if scope and scope.kind != "module":
            return self.union(scope.names[name])
        found = self.in_module(self.modules[_place(expr.scope.path)], name, set())
        return found or ((("external", name),) if name in BUILT_IN and not scope else ())

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

    def found_in(self, scope: Scope, name: str) -> list[tuple[str, Value]]:
        """Return (kind, value) for each value of an instance's attribute. The kind is "method" for
        a value from its class or a base, "override" for one from a subclass."""
        own = self.lookup(self.order(scope), name)
        below = dict.fromkeys(
            one for other in self.subclasses.get(scope, ()) if name in other.names or not own
            for one in self.lookup(self.order(other), name) if one not in own)
        return [*[("method", one) for one in own],
                *[("override", one) for one in below if len(below) <= MAX_OVERRIDES]]

    def do_attr(self, expr: Expr) -> Values:
        """Return the values of an attribute."""
        base, name = expr.parts
        return tuple(one for value in self.values(base) for one in self.member(value, name, expr))

    def member(self, value: Value, name: str, expr: Expr) -> Values:
        """Return the values of a value's attribute; record calls of properties."""
        kind, at = value
        if kind == "module":
            return self.in_module(at, name, set())
        if kind not in ("instance", "super", "class"):
            return (("external", f"{at}.{name}"[-MAX_DOTTED:]),) if kind == "external" else ()
        if kind == "instance":
            found = self.found_in(at, name)
        else:
            order = self.order(at)[1:] if kind == "super" else self.order(at)
            found = [("method", one) for one in self.lookup(order, name)]
        out = []
        for how, (what, inner) in found:
            if what == "property" and kind != "class":
                self.emit(expr, inner, what)
                out += self.union(inner.returns)
            elif what == "classmethod" or (what == "function" and kind != "class"):
                out.append((how, inner))
            else:
                out.append((what, inner))
        return tuple(out)

    # calls

    def do_call(self, expr: Expr) -> Values:
        """Return the results of a call, and record it. A decorator without known results returns
        the decorated function."""
        function, args, _ = expr.parts
        callees = self.values(function)
        if not callees and function.op == "attr" and not self.values(function.parts[0]):
            name = function.parts[1]
            methods = self.by_name.get(name, ())
            if len(methods) <= MAX_GUESSES and name not in COMMON_METHODS:
                callees = tuple(("guess", method) for method in methods)
        found = tuple(one for callee in callees for one in self.invoke(callee, expr))
        if expr.op == "decorator" and not [one for one in found if one[0] != "external"]:
            return self.union(args)
        return found

    def invoke(self, callee: Value, expr: Expr) -> Values:
        """Return the results of calling a value, and record the call."""
        kind, at = callee
        _, args, keywords = expr.parts
        if kind in CALLABLE:
            self.emit(expr, at, kind if kind == "override" else expr.op,
                      "guessed" if kind == "guess" else "resolved")
            params = at.params if kind in ("function", "static") else at.params[1:]
            given = dict(zip(params, args, strict=False))
            for name, arg in (*given.items(), *keywords):
                if name in at.params and arg.op != "const":
                    at.bind(name, arg)
            return self.union([     # for a returned parameter, use this call's argument
                given.get(one.parts[0], one) if one.op == "name" and one.scope is at else one
                for one in at.returns])
        if kind == "class":
            methods = [("method", method) for name in ("__new__", "__init__", "__post_init__")
                       for is_a, method in self.lookup(self.order(at), name) if is_a == "function"]
            for method in methods:
                self.invoke(method, expr)
            if not methods:
                self.emit(expr, at, expr.op)
            return (("instance", at),)
        if kind == "instance":
            return tuple(one for how, (what, method) in self.found_in(at, "__call__")
                         if what == "function" for one in self.invoke((how, method), expr))
        if kind == "external":
            return self.external(at, expr)
        return ()

    # functions outside of the repository

    def external(self, name: str, expr: Expr) -> Values:
        """Return the known results of calling an external function."""
        _, args, keywords = expr.parts
        values = self.union(args[:1])
        if became := TABLES["decorators"].get(name):
            return tuple((became, at) for kind, at in values if kind == "function")
        if name not in KEEPS and expr.op == "call":
            for kind, at in self.union([*args, *(arg for _, arg in keywords)]):
                if kind in CALLABLE:
                    self.emit(expr, at, "ref")
        return values if name in HANDS_ON else (("external", f"{name}()"),)

    # other operations

    def do_some(self, expr: Expr) -> Values:
        """Return instances of a class."""
        return tuple(("instance", at) for kind, at in self.union(expr.parts) if kind == "class")

    def do_store(self, expr: Expr) -> Values:
        """Bind an assigned value to its attribute."""
        base, name, value = expr.parts
        for kind, at in self.values(base):
            if kind in ("instance", "class", "module"):
                at.bind(name, value)
        return ()

    def do_const(self, expr: Expr) -> Values:
        """Return an object of a built-in type."""
        return (("external", ""),)

    def do_any(self, expr: Expr) -> Values:
        """Return the values of all parts."""
        return self.union(expr.parts)

    def do_super(self, expr: Expr) -> Values:
        """Return the value (kind, *parts) of an expression that is a value itself. The kind is the
        operation's name: function, class, instance or super."""
        return ((expr.op, *expr.parts),)

    do_function = do_instance = do_class = do_super
    do_decorator = do_fixture = do_call


def _place(path: str) -> str:
    """Return the path of a module without its suffix; for a package, the path of its folder."""
    return path.removesuffix(".py").removesuffix("/__init__")


OPERATIONS = {name[3:]: do for name, do in vars(Resolver).items() if name.startswith("do_")}
