"""Write the content of documents without a model, and print content as Markdown.

A function is described by its signature, its docstring and its facts (facts.py), never by lines of
its body or guesses about the body. The document may not suffice to rewrite the body.
"""
from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from posixpath import basename, dirname

from codedata.code.calls import LANGUAGE
from codedata.code.entities import read_sources
from codedata.errors import Excluded
from codedata.nl2repo.facts import facts_about, shown_facts
from codedata.nl2repo.sources import readme_of
from codedata.nl2repo.strip import python_tree
from codedata.records import Analysis, Object, RecordedFact, RepoMeta
from codedata.texts import fenced, squeezed, storable, toml_of

Definition = ast.FunctionDef | ast.AsyncFunctionDef
INNER = Definition | ast.ClassDef
NOTHING = ast.Module([], [])
BOUND = ("self", "cls")    # parameters that no caller passes
MAX_DOCSTRING = 20_000     # characters of a docstring in a document
PATH_TOP = re.compile("[^/:]+")   # the first part of a path or of a function's id
MAX_ASSIGNMENT = 300       # characters; longer ones are not shown
WORD = re.compile(r"\w+")
FORMS = toml_of(__package__, "forms.toml")   # the fields of content, in the order of Markdown
FUNCTION, PROJECT, PUBLIC = FORMS["function"], FORMS["project"], FORMS["public"]


# sources -----------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Codebase:
    """Hold the Python sources of a project, and its resolved calls."""

    name: str
    texts: dict[str, str]           # by path
    tests: set[str]                 # paths of the test files
    entities: dict[str, Object]     # by id, as in analysis/
    callees: dict[str, list[str]]   # {caller's id: callees' ids}, without callees in tests
    readme: str

    @classmethod
    def of(cls, name: str, folder: Path, analysis: Analysis) -> Codebase:
        """Return the project in a folder, with the resolved edges of its analysis."""
        files = [file for file in read_sources(folder).files if file.language == LANGUAGE]
        tests = {file.path for file in files if file.is_test}
        entities = {one["id"]: one for one in analysis.entities}
        callees: dict[str, list[str]] = {}
        for edge in analysis.edges:
            is_call = edge["certainty"] == "resolved" and edge["kind"] != "ref"
            if is_call and edge["callee"].partition("::")[0] not in tests:
                callees.setdefault(edge["caller"], []).append(edge["callee"])
        texts = {file.path: file.text.decode(errors="replace") for file in files}
        return cls(name, texts, tests, entities, callees, readme_of(folder))

    @cached_property
    def modules(self) -> dict[str, ast.Module]:
        """Return {path: syntax tree} of the files that are not tests."""
        return {path: python_tree(text) for path, text in self.texts.items()
                if path not in self.tests}

    @cached_property
    def functions(self) -> dict[str, Function]:
        """Return the functions of the modules, by id."""
        nodes = {(path, one.lineno): one for path, tree in self.modules.items()
                 for one in ast.walk(tree) if isinstance(one, Definition)}
        return {id: Function(self, id, place[0], nodes[place])
                for id, one in self.entities.items()
                if (place := (one["path"], one["line"])) in nodes}

    @cached_property
    def names(self) -> dict[str, dict[str, dict]]:
        """Return {path: {name: {signature, text}}}: the names that a module defines or imports
        relatively, and the attributes of its classes; for a package, also its imports from modules
        of the project."""
        own = frozenset(self.module_name(path).partition(".")[0] for path in self.modules)
        return {path: _names(tree, "", own if path.endswith("__init__.py") else ())
                for path, tree in self.modules.items()}

    def module_name(self, path: str) -> str:
        """Return the name under which a file is imported."""
        folder, name = dirname(path), basename(path).removesuffix(".py")
        parts = [] if name == "__init__" else [name]
        while folder and f"{folder}/__init__.py" in self.texts:
            parts.insert(0, basename(folder))
            folder = dirname(folder)
        return ".".join(parts)

    def function(self, id: str) -> Function:
        """Return the function with this id. Raise Excluded if there is none."""
        if id not in self.functions:
            raise Excluded("it is not in the sources, or Python's parser refuses them.", id)
        return self.functions[id]


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below a node in source order, but not the nodes inside inner functions and
    classes."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, INNER):
            yield from own_nodes(child)


def _names(tree: ast.AST, prefix: str, own: Collection[str] = ()) -> dict[str, dict]:
    """Return {name: {signature, text}} of all names bound by a module or class and its classes. A
    short assignment is the signature of its name. `own` are the top modules of the project."""
    names = {f"{prefix}{name}": {"signature": f"{prefix}{name}", "text": ""}
             for name in bound_names(tree, own)}
    for one in tree.body:
        code = ast.unparse(one) if isinstance(one, ast.Assign | ast.AnnAssign) else ""
        name = prefix + re.split(" =|:", code)[0]
        if name in names and len(code) <= MAX_ASSIGNMENT:
            names[name]["signature"] = prefix + code
    for one in own_nodes(tree):
        if isinstance(one, INNER):
            name = f"{prefix}{one.name}"
            head = head_of(one, one.decorator_list, name).replace("\n", " ").removeprefix("def ")
            names[name] = {"signature": head, "text": first_line(ast.get_docstring(one))}
        if isinstance(one, ast.ClassDef):
            names[name]["text"] = squeezed(ast.get_docstring(one) or "")
            names |= _names(one, f"{name}.")
    return names


def bound_names(tree: ast.AST, own: Collection[str] = ()) -> set[str]:
    """Return the names that definitions, assignments, relative imports and imports from `own`
    modules bind. For a class, also return the attributes that its methods set on self."""
    names, inner = set(), {"*"}
    for node in own_nodes(tree):
        if isinstance(node, ast.comprehension):
            inner |= {*WORD.findall(ast.unparse(node.target))}
        if isinstance(node, INNER):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.ImportFrom) and (
                node.level or node.module.partition(".")[0] in own):
            names |= {one.asname or one.name for one in node.names}
    if isinstance(tree, ast.ClassDef):
        names |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)
                  and isinstance(node.ctx, ast.Store) and getattr(node.value, "id", "") == "self"}
    return names - inner


def first_line(text: str | None) -> str:
    """Return the first paragraph of a text as one line, "" for None."""
    return squeezed((text or "").strip().split("\n\n")[0])


# a function --------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Function:
    """Hold a function of a project with its syntax tree."""

    project: Codebase
    id: str
    path: str
    node: Definition

    @cached_property
    def docstring(self) -> str:
        """Return the docstring, without its indentation."""
        return ast.get_docstring(self.node) or ""

    @cached_property
    def body(self) -> ast.Module:
        """Return the statements after the docstring."""
        return ast.Module(self.node.body[1 if self.docstring else 0:], [])

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Return the nodes of the body in source order, without the nodes inside inner functions
        and classes."""
        return [*own_nodes(self.body)]

    @cached_property
    def parameters(self) -> list[dict]:
        """Return the parameters in the form of a content, without self or cls."""
        args = self.node.args
        plain = args.posonlyargs + args.args
        defaults = [None] * (len(plain) - len(args.defaults)) + args.defaults
        rows = [*zip(plain, defaults, strict=True), (args.vararg, None),
                *zip(args.kwonlyargs, args.kw_defaults, strict=True), (args.kwarg, None)]
        stars = {args.vararg: "*", args.kwarg: "**"}
        return [{"name": f"{stars.get(one, '')}{one.arg}", "annotation": unparsed(one.annotation),
                 "default": unparsed(default)}
                for one, default in rows if one and one.arg not in BOUND]

    @cached_property
    def raised(self) -> dict[str, bool]:
        """Return {exception: whether one of its raise statements is outside of `try` blocks with
        handlers, so that the function cannot catch it}; "" is an unknown class.
        """
        tried = {one for block in self.nodes if isinstance(block, ast.Try) and block.handlers
                 for one in own_nodes(ast.Module(block.body, []))}
        raises = [one for one in self.nodes if isinstance(one, ast.Raise)]
        return {_exception(one.exc): one not in tried
                for one in sorted(raises, key=lambda one: one not in tried)}


def _exception(node: ast.expr | None) -> str:
    """Return the name of an exception's class; "" for something else, such as a variable."""
    node = getattr(node, "func", node)
    name = getattr(node, "id", "") or getattr(node, "attr", "")
    return name if name[:1].isupper() else ""


def head_of(node: ast.AST, decorators: Iterable[ast.expr] = (), name: str = "") -> str:
    """Return the normalised signature of a definition, with another `name` if one is given."""
    bare = copy(node)
    bare.name, bare.body, bare.decorator_list = name or node.name, [ast.Pass()], [*decorators]
    return ast.unparse(bare).removesuffix(":\n    pass")


def unparsed(node: ast.AST | None) -> str | None:
    """Return the normalised source of a node."""
    return node and ast.unparse(node)


# its content -------------------------------------------------------------------------------------

def function_content(function: Function, facts: Sequence[RecordedFact] = ()) -> dict:
    """Return the content of a function's document: its signature, its whole docstring, what it
    raises, and facts as examples."""
    shown = shown_facts(function.id, facts_about(function.id, facts))
    return storable({
        "signature": head_of(function.node, function.node.decorator_list),
        "purpose": function.docstring[:MAX_DOCSTRING],
        "parameters": [{**one, "text": ""} for one in function.parameters],
        "returns": {"annotation": unparsed(function.node.returns), "text": ""},
        "raises": [{"exception": one, "when": ""}
                   for one, leaves in function.raised.items() if one and leaves],
        "side_effects": [], "algorithm": [],
        "examples": [{"code": _session(one["code"]), "output": one["told"]} for one in shown]})


def _session(code: list[str]) -> str:
    """Return the lines of a script such that an interactive session shows only the last value."""
    quiet = [f"_ = {line}" if [*map(type, python_tree(line).body)] == [ast.Expr] else line
             for line in code[:-1]]
    return "\n".join([*quiet, *code[-1:]])


# a project ---------------------------------------------------------------------------------------

def project_content(project: Codebase, meta: RepoMeta) -> dict:
    """Return the content of a project's document, without its public names."""
    return storable({
        "summary": meta.summary or f"{project.name} is a project in Python.",
        "layout": [{"path": path, "text": first_line(ast.get_docstring(tree))}
                   for path, tree in project.modules.items()],
        "concepts": [], "data_flow": [],
        "dependencies": [*map(_code, meta.dependencies)], "conventions": [],
        "tests": [], "examples": []})


def public_api(project: Codebase, needed: set[str]) -> list[dict]:
    """Return the names of each module with their signatures, private names only if they are in
    `needed`."""
    public = {path: [{"name": name, **row} for name, row in sorted(rows.items()) if all(
        part[:1] != "_" or part in needed or part[:2] == part[-2:] == "__"
        for part in name.split("."))] for path, rows in project.names.items()}
    return storable([{"module": project.module_name(path), "path": path, "names": names}
                     for path, names in public.items() if names])


def used_in(api: Iterable[dict], ids: Iterable[str], text: str) -> list[dict]:
    """Return the modules of a public_api() that share a top folder with a function in `ids`. Keep
    only names that occur in the text as words, and the constructors of such classes."""
    tops, words = {PATH_TOP.match(id)[0] for id in ids}, {*WORD.findall(text)}
    modules = [{**one, "names": [row for row in one["names"] if row["name"].removesuffix(
        ".__init__").rpartition(".")[2] in words]} for one in api
        if PATH_TOP.match(one["path"])[0] in tops]
    return [one for one in modules if one["names"]]


# Markdown ----------------------------------------------------------------------------------------

def document_text(project: str, subject: str, content: dict) -> str:
    """Return the Markdown of a document: of the function with the id `subject`, or of the project
    if `subject` is "". api_text() prints the project's public names."""
    path, _, name = subject.partition("::")
    parts = [f"## `{name}` in `{path}`" if subject else f"# {project}"]
    parts += [_section(key, content[key], shape)
              for key, shape in (FUNCTION if subject else PROJECT).items()]
    return "\n\n".join(filter(None, parts)) + "\n"


def api_text(api: Iterable[dict]) -> str:
    """Return the Markdown of the names of modules."""
    return "\n\n".join(f"### `{one['module']}` in `{one['path']}`\n\n"
                       f"{_items(one['names'], PUBLIC)}" for one in api) + "\n"


def _section(key: str, value, shape) -> str:
    """Return the Markdown of a field of content, "" if it is empty."""
    if key == "signature":
        return value and fenced("python", value)
    if isinstance(shape, str):
        return value
    if key == "examples":
        return "\n\n".join(f"**Example**\n\n{fenced('python', one['code'])}\n\nprints\n\n"
                           f"{fenced('text', one['output'])}" for one in value)
    rows, entry = (value, shape[0]) if isinstance(shape, list) else ([value], shape)
    if key in ("parameters", "returns") and not any(one["text"] for one in rows):
        return ""   # the signature already shows this
    items = _items(rows, entry)
    return f"**{key.replace('_', ' ').capitalize()}**\n\n{items}" if items else ""


def _items(entries: Iterable, shape) -> str:
    """Return a line for each entry: its first field, the middle fields in brackets, and its last
    field."""
    lines = []
    for entry in entries:
        if isinstance(entry, dict):
            first, *middle, last = shape
            about = [f"{key} {_code(entry[key])}" for key in middle if entry[key] is not None]
            head = _code(entry[first]) + (f" ({', '.join(about)})" if about else "")
            entry = ": ".join(filter(None, [head, entry[last]]))
        lines += [f"- {entry}".replace("\n", "\n  ")] if entry else []
    return "\n".join(lines)


def _code(text: str | None) -> str:
    """Return a text as inline code of Markdown; "" for None or an empty text."""
    if not text:
        return ""
    ticks = max(re.findall("`+", text), default="", key=len) + "`"
    return f"{ticks} {text} {ticks}" if "`" in text else f"`{text}`"
