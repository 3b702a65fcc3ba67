"""Read a Python file into scopes and their expressions, from which calls are resolved.

An expression is an operation on other expressions of its file (calls_python.toml). Each scope keeps
an expression once: `self.x` is one object however often a function uses it. Code that is nested
deeper than MAX_DEPTH is read separately, which bounds the recursion. The order of statements does
not matter.
"""
from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from sys import intern
from typing import TYPE_CHECKING

from codedata.code.entities import Entity, SourceFile, tree_of
from codedata.texts import toml_of

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_DEPTH = 60        # levels of nested nodes
MAX_BOUND = 60        # expressions to keep for one variable
TABLES = toml_of(__package__, "calls_python.toml")
STRING = re.compile(r"""\w*["']+([A-Za-z_]\w*)["']+""")   # a string that is a name

Value = tuple[str, object]   # a kind (see call_values.py), and an object of that kind


@dataclass(slots=True, eq=False)
class Expr:
    """Hold an expression: an operation, and its operands."""

    op: str
    parts: tuple
    scope: Scope
    values: tuple[Value, ...] = ()   # the possible values known so far
    round: int = 0                   # the resolver's round that found them


@dataclass(slots=True, eq=False)
class Scope:
    """Hold the scope of a module, a class or a function. A lambda is a function, too."""

    kind: str                # module | class | function
    id: str                  # id of the entity; "" for a lambda
    owner: str               # caller in this scope's calls; a class or lambda has its parent's
    path: str
    parent: Scope | None
    names: dict[str, list[Expr]] = field(default_factory=dict)   # variables and attributes; "*":
                                                                 # modules of `from x import *`
    params: list[str] = field(default_factory=list)
    returns: list[Expr] = field(default_factory=list)
    bases: list[Expr] = field(default_factory=list)
    exprs: dict[tuple, Expr] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the last part of the id."""
        return self.id.rpartition("::")[2].rpartition(".")[2].partition("@")[0]

    def bind(self, name: str, expr: Expr) -> None:
        """Add a possible expression for a variable, up to MAX_BOUND."""
        bound = self.names.setdefault(name, [])
        if len(bound) < MAX_BOUND and expr not in bound:
            bound.append(expr)

    def finding(self, name: str) -> Scope | None:
        """Return the scope that defines a name used here, or None."""
        scope: Scope | None = self
        while scope and (name not in scope.names or (scope.kind == "class" and scope is not self)):
            scope = scope.parent
        return scope


class FileReader:
    """Read one file in a single walk through its syntax tree. `scopes` begins with its module."""

    def __init__(self, file: SourceFile, entities: list[Entity]) -> None:
        self.file, self.text, self.depth = file, file.text, 0
        self.ids = {entity.start: entity.id for entity in entities}
        self.in_except = False
        self.operations = {kind: op for op, kinds in TABLES["operations"].items()
                           for kind in kinds}
        self.scopes: list[Scope] = []
        self.scope: Scope | None = None
        self.scope = self.open("module", f"{file.path}::<module>")
        self.unknown = self.make("any")
        self.later = [(tree_of(file).root_node, self.scope)]
        while self.later:
            node, self.scope = self.later.pop()
            self.read_in(node)

    def open(self, kind: str, ident: str) -> Scope:
        """Return a new scope inside the current one."""
        owner = self.scope.owner if self.scope and (kind == "class" or not ident) else ident
        self.scopes.append(Scope(kind, ident, owner, self.file.path, self.scope))
        return self.scopes[-1]

    def make(self, *key) -> Expr:
        """Return the current scope's expression (operation, *operands); create it if it is new."""
        exprs = self.scope.exprs
        if key not in exprs:
            exprs[key] = Expr(key[0], key[1:], self.scope)
        return exprs[key]

    def word(self, node: Node) -> str:
        """Return the text of a node."""
        return intern(self.text[node.start_byte:node.end_byte].decode(errors="replace"))

    def read(self, node: Node | None) -> Expr:
        """Read a node and all nodes inside it. Return the expression of the node."""
        if node is None:
            return self.unknown
        if self.depth > MAX_DEPTH:
            self.later.append((node, self.scope))
            return self.unknown
        self.depth += 1
        out = READERS.get(node.type, FileReader.plain)(self, node)
        self.depth -= 1
        return out

    def read_in(self, node: Node | None) -> list[Expr]:
        """Return the expressions of a node's children."""
        return [self.read(child) for child in node.named_children] if node else []

    def read_field(self, node: Node, name: str) -> Expr:
        """Return the expression of a field of a node."""
        return self.read(node.child_by_field_name(name))

    def plain(self, node: Node) -> Expr:
        """Return the expression of a node whose operation is listed in the table `operations`."""
        inner = self.read_in(node)
        op = self.operations.get(node.type)
        return self.make(op, *inner) if op else self.unknown

    def name(self, node: Node) -> Expr:
        """Return the expression of a name."""
        return self.make("name", self.word(node))

    def attribute(self, node: Node) -> Expr:
        """Return the expression of `x.name`."""
        name = node.child_by_field_name("attribute")
        return self.make("attr", self.read_field(node, "object"), self.word(name))

    def string(self, node: Node) -> Expr:
        """Return a constant; keep its text if it is a name, as in __all__."""
        self.read_in(node)
        match = STRING.fullmatch(self.word(node))
        return self.make("const", match[1]) if match else self.make("const")

    def call(self, node: Node) -> Expr:
        """Return the expression of a call."""
        function = self.read_field(node, "function")
        given = node.child_by_field_name("arguments")
        nodes = given.named_children if given and given.type == "argument_list" else [given]
        args, keywords = [], []
        for child in nodes:
            if child and child.type == "keyword_argument":
                keywords.append((self.word(child.child_by_field_name("name")),
                                 self.read_field(child, "value")))
            elif child and child.type != "comment":
                args.append(self.read(child))
        if function.parts == ("super",):
            return self.make("super", self.scope.parent or self.scope)
        return self.make("call", function, tuple(args), tuple(keywords))

    # statements

    def binding(self, node: Node) -> Expr:
        """Read an assignment, or another node that binds a name or an attribute."""
        target, source, op = TABLES["bindings"][node.type]
        value = self.read(node.child_by_field_name(source) or node.named_children[0])
        if node.parent.type == "except_clause":
            op = "some"
        left = node.child_by_field_name(target)
        self.bind(left, self.make(op, value))
        if kind := node.child_by_field_name("type"):
            self.bind(left, self.make("some", self.read(kind)))
        for name in ("body", "alternative"):
            self.read_field(node, name)
        return value

    def bind(self, target: Node | None, value: Expr) -> None:
        """Bind a value to a name or attribute; names in an unpacking get unknown values."""
        left = [(target, value)] if target else []
        while left:
            target, value = left.pop()
            if target.type in ("identifier", "dotted_name"):
                self.set(self.word(target), value)
            elif target.type == "attribute":
                self.make("store", *self.attribute(target).parts, value)
            elif target.type == "subscript":
                self.read_in(target)
            else:
                is_one = target.type in ("as_pattern_target", "parenthesized_expression")
                left += [(child, value if is_one else self.unknown)
                         for child in target.named_children]

    def set(self, name: str, value: Expr) -> None:
        """Bind a name. Skip a second binding in an `except` clause, such as the fallback for a
        failed import."""
        if not (self.in_except and name in self.scope.names):
            self.scope.bind(name, value)

    def handler(self, node: Node) -> Expr:
        """Read an except clause."""
        outside, self.in_except = self.in_except, True
        self.read_in(node)
        self.in_except = outside
        return self.unknown

    def condition(self, node: Node) -> Expr:
        """Read an `if`; skip `if __name__ == "__main__"`, whose body runs only in a script."""
        if not self.word(node.child_by_field_name("condition")).startswith("__name__ =="):
            self.read_in(node)
        return self.unknown

    def result(self, node: Node) -> Expr:
        """Read a return or a yield. Yielded values count as returned."""
        self.scope.returns += self.read_in(node)
        return self.unknown

    def imports(self, node: Node) -> Expr:
        """Bind the names that an import statement imports."""
        module = node.child_by_field_name("module_name")
        source = self.word(module) if module else ""
        for child in node.children_by_field_name("name"):
            name = self.word(child.child_by_field_name("name") or child)
            alias = child.child_by_field_name("alias")
            if not alias and not module:     # `import a.b` binds a, `import a.b as c` binds a.b
                name = name.partition(".")[0]
            self.set(self.word(alias) if alias else name,
                     self.make("import", source, name) if module else self.make("import", name, ""))
        if node.named_children[-1].type == "wildcard_import":
            self.scope.bind("*", self.make("import", source, ""))
        return self.unknown

    # definitions

    def definition(self, node: Node) -> Expr:
        """Read a class or function, with its decorators."""
        inner = node.child_by_field_name("definition") or node
        decorators = [self.read_in(child)[-1] for child in node.named_children
                      if child.type == "decorator" and child.named_children]
        scope = self.open("class" if inner.type == "class_definition" else "function",
                          self.ids.get(node.start_byte, ""))
        words = {one.parts[0] for one in decorators if one.op == "name"}
        if scope.kind == "function":
            self.parameters(inner.child_by_field_name("parameters"), scope, words)
        scope.bases = self.read_in(inner.child_by_field_name("superclasses"))
        value = self.make(scope.kind, scope)
        for decorator in reversed(decorators):
            value = self.make("decorator", decorator, (value,), ())
        if name := inner.child_by_field_name("name"):
            self.set(self.word(name), value)
        outside, self.scope = self.scope, scope
        body = self.read_field(inner, "body")
        if inner.type == "lambda":
            scope.returns.append(body)
        self.scope = outside
        return value

    def parameters(self, node: Node | None, scope: Scope, words: set) -> None:
        """Read parameters. Their defaults and annotations belong to the enclosing scope."""
        for child in node.named_children if node else ():
            name = child.child_by_field_name("name") or child
            if name.type == "typed_parameter":
                name = name.named_children[0]
            word = self.word(name).lstrip("*")
            bound = scope.names.setdefault(word, [])
            if name.type != "identifier":
                continue
            if not scope.params and self.scope.kind == "class" and "staticmethod" not in words:
                kind = "class" if "classmethod" in words else "instance"
                bound.append(self.make(kind, self.scope))
            scope.params.append(word)
            if kind := child.child_by_field_name("type"):
                bound.append(self.make("some", self.read(kind)))
            if value := child.child_by_field_name("value"):
                bound.append(self.read(value))


READERS: dict[str, Callable[[FileReader, Node], Expr]] = {
    **{kind: vars(FileReader)[name]
       for name, kinds in TABLES["readers"].items() for kind in kinds},
    **dict.fromkeys(TABLES["bindings"], FileReader.binding)}
