"""Write the content of documents without a model, and print content as Markdown.

What a function does is told from its syntax tree, its docstring and the call graph: names, kinds of
statements and short literals, never a line of its body. Nothing of a project is run here. It is not
guaranteed that the facts suffice to write the body again.
"""
from __future__ import annotations

import ast
import builtins
import doctest
import re
import warnings
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from posixpath import basename, dirname

from codedata.bounded import inside, read_bounded
from codedata.code.calls import LANGUAGE
from codedata.code.entities import INSTALL, Entity, SourceFile, all_entities, read_sources
from codedata.errors import Excluded, Trouble
from codedata.records import Analysis, RepoMeta, storable

Definition = ast.FunctionDef | ast.AsyncFunctionDef
INNER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
MAX_README_BYTES = 200_000
MAX_DOCSTRING = 20_000     # characters that are parsed
MAX_PURPOSE = 3_000        # characters of prose that are taken from a docstring
MAX_NAMES = 12             # that one sentence lists
MAX_LITERAL = 30           # characters of a text: what is shorter than a run that counts as quoted
MAX_LITERALS = 20
MAX_EXAMPLES, MAX_EXAMPLE = 6, 2_000   # of a document, and characters of one
PLAIN = (0, 1, -1, None, True, False, "", ...)   # literals that tell nothing
FENCE = re.compile(r"^(`{3,}|~{3,})[^\n]*\n(.*?)^\1[`~]*[ \t]*$", re.DOTALL | re.MULTILINE)
BLANK_LINE = re.compile(r"^[ \t]*<BLANKLINE>[ \t]*$", re.MULTILINE)


# the project -------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Project:
    """Hold the Python sources of a project, and which function calls which for sure."""

    name: str
    files: dict[str, SourceFile]
    entities: dict[str, Entity]
    callees: dict[str, list[str]]
    readme: str = ""

    @classmethod
    def of(cls, name: str, folder: Path, analysis: Analysis) -> Project:
        """Return the project in a folder, with the resolved edges of its analysis."""
        sources = read_sources(folder)
        entities = all_entities(sources)[0]
        callees: dict[str, list[str]] = {}
        for edge in analysis.edges:
            if edge["certainty"] == "resolved" and edge["kind"] != "ref":
                callees.setdefault(edge["caller"], []).append(edge["callee"])
        files = {file.path: file for file in sources.files if file.language == LANGUAGE}
        by_id = {one.id: one for path in files for one in entities[path]}
        return cls(name, files, by_id, callees, _readme(folder))

    @cached_property
    def modules(self) -> dict[str, Module]:
        """Return the modules that are no tests and can be parsed, by path."""
        found = {}
        for path, file in self.files.items():
            if not file.is_test:
                try:
                    found[path] = Module.of(path, self.module_name(path), file)
                except Excluded:
                    continue   # an analysis names the fault
        return found

    def module_name(self, path: str) -> str:
        """Return the name under which a file is imported."""
        folder, name = dirname(path), basename(path).removesuffix(".py")
        parts = [] if name == "__init__" else [name]
        while folder and f"{folder}/__init__.py" in self.files:
            parts.insert(0, basename(folder))
            folder = dirname(folder)
        return ".".join(parts)

    def function(self, id: str) -> Function:
        """Return a function of the project. Raise Excluded where it cannot be read."""
        entity = self.entities.get(id)
        if entity is None or entity.kind == "class":
            raise Excluded("its source is not there, or not in Python.", id)
        text = self.files[entity.path].text
        before = text[:entity.start].rpartition(b"\n")[2].decode(errors="replace")
        own = text[entity.start:entity.end].decode(errors="replace")
        tree = parsed(f"if 1:\n{before}{own}" if before else own, id)
        node = next((one for one in ast.walk(tree) if isinstance(one, Definition)), None)
        if node is None:
            raise Excluded("is no function for Python's parser.", id)
        return Function(self, entity, node, own)


def parsed(text: str | bytes, where: str) -> ast.Module:
    """Return the syntax tree of a source, which is not run. Raise Excluded where there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")   # of odd escapes in somebody's strings
            tree = ast.parse(text)
            ast.unparse(tree)   # as deep as whatever is asked of it later
            return tree
    except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
        raise Excluded(f"cannot be parsed: {type(e).__name__}: {e}", where) from e


def _readme(folder: Path) -> str:
    for path in sorted(folder.glob("[Rr][Ee][Aa][Dd][Mm][Ee]*")):
        try:
            text = read_bounded(inside(folder, path), MAX_README_BYTES)
        except OSError:   # a folder, a link out, far too long
            continue
        return storable(text.decode(errors="replace").replace("\0", ""))
    return ""


@dataclass(frozen=True)
class Module:
    """Hold a module with the names that it binds."""

    path: str
    name: str
    tree: ast.Module
    bound: frozenset[str]

    @classmethod
    def of(cls, path: str, name: str, file: SourceFile) -> Module:
        """Return the module of a file. Raise Excluded where it cannot be parsed."""
        tree = parsed(file.text, path)
        return cls(path, name, tree, frozenset(_bound(tree)))

    @cached_property
    def title(self) -> str:
        """Return the first line of the docstring."""
        return first_line(ast.get_docstring(self.tree) or "")


def _bound(tree: ast.AST) -> Iterator[str]:
    """Yield the names that statements bind, inner functions and classes as one name each."""
    for node in own_nodes(tree):
        if isinstance(node, INNER):
            yield node.name
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below one in their order, without what is in functions and classes there."""
    left = [*ast.iter_child_nodes(node)][::-1]
    while left:
        one = left.pop()
        yield one
        if not isinstance(one, INNER):
            left += [*ast.iter_child_nodes(one)][::-1]


def first_line(text: str) -> str:
    """Return the first paragraph of a text in one line."""
    return " ".join(text.strip().split("\n\n")[0].split())


# facts of a function -----------------------------------------------------------------------------

@dataclass(frozen=True)
class Raise:
    """Hold a statement that raises: the exception's name ("" where it cannot be told), whether it
    leaves the function for sure, and what decides on it."""

    exception: str
    leaves: bool
    when: str


@dataclass(frozen=True)
class Function:
    """Hold a function of a project with its syntax tree."""

    project: Project
    entity: Entity
    node: Definition
    source: str

    @cached_property
    def docstring(self) -> str:
        """Return the docstring, without its indentation."""
        return ast.get_docstring(self.node) or ""

    @cached_property
    def body(self) -> list[ast.stmt]:
        """Return the statements below the docstring."""
        return self.node.body[1 if self.docstring else 0:]

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Return the nodes of the body in their order, without inner functions."""
        return [one for stmt in self.body for one in (stmt, *(
            () if isinstance(stmt, INNER) else own_nodes(stmt)))]

    @property
    def is_method(self) -> bool:
        """Return whether it is called with an instance or a class first."""
        return self.entity.kind == "method" and "staticmethod" not in self.entity.decorators

    @cached_property
    def signature(self) -> str:
        """Return decorators and signature as they stand in the source."""
        head = self.entity.signature
        try:
            parsed(f"{head}: ...", self.entity.id)
        except Excluded:   # it is cut, as it is very long
            bare = copy(self.node)
            bare.body, bare.decorator_list = [ast.Pass()], []
            head = ast.unparse(bare).removesuffix(":\n    pass")
        return "\n".join([*(f"@{one}" for one in self.entity.decorators), head])

    @cached_property
    def callees(self) -> list[str]:
        """Return the ids of what it calls for sure, in the order in which their names appear."""
        names = [one.id if isinstance(one, ast.Name) else one.attr for one in self.nodes
                 if isinstance(one, ast.Name | ast.Attribute)]
        return sorted(self.project.callees.get(self.entity.id, []), key=lambda id: min(
            [names.index(part) for part in id.split("::")[1].split("@")[0].split(".")[-2:]
             if part in names], default=len(names)))

    @cached_property
    def raises(self) -> list[Raise]:
        """Return what its raise statements raise."""
        parents = {child: one for one in [self.node, *self.nodes]
                   for child in ast.iter_child_nodes(one)}
        return [_raise(one, parents) for one in self.nodes if isinstance(one, ast.Raise)]


def parameters_of(node: Definition, is_method: bool) -> list[dict]:
    """Return the parameters of a function as a document has them, without self or cls."""
    args = node.args
    named = [*((one, "positional-only") for one in args.posonlyargs),
             *((one, "") for one in args.args)]
    rows = [*zip(named, [None] * (len(named) - len(args.defaults)) + args.defaults, strict=True)]
    rows = rows[1:] if is_method and rows else rows
    rows += [((args.vararg, "var-positional"), None)] if args.vararg else []
    rows += [((one, "keyword-only"), default)
             for one, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    rows += [((args.kwarg, "var-keyword"), None)] if args.kwarg else []
    return [{"name": one.arg, **({"kind": kind} if kind else {}),
             "annotation": _unparsed(one.annotation), "default": _unparsed(default)}
            for (one, kind), default in rows]


def _unparsed(node: ast.AST | None) -> str | None:
    return None if node is None else ast.unparse(node)


def _raise(node: ast.Raise, parents: dict[ast.AST, ast.AST]) -> Raise:
    """Return what a statement raises, by the statements around it."""
    handlers, caught, decides = [], set(), ""
    child = node
    while (parent := parents.get(child)) is not None:
        if isinstance(parent, ast.ExceptHandler):
            handlers.append(parent)
        elif isinstance(parent, ast.Try) and child in parent.body:
            caught |= {name for one in parent.handlers for name in _caught(one)}
        elif isinstance(parent, ast.If | ast.While | ast.Match) and not decides:
            decides = _listed(_names(getattr(parent, "test", None) or parent.subject))
        child = parent
    given = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    name = ast.unparse(given).rpartition(".")[2] if given else ""
    if handlers and name in ("", handlers[0].name):   # the same again
        name = next(iter(_caught(handlers[0])), "")
    if not name.isidentifier() or (name[:1].islower() and not hasattr(builtins, name)):
        name = ""
    is_caught = bool(caught & {name, "Exception", "BaseException"})
    reasons = [f"a check of {decides} decides on it"] if decides else []
    if handlers and _caught(handlers[0]):
        reasons.append(f"{_listed(_caught(handlers[0]))} was caught before")
    is_again = bool(handlers) and name in _caught(handlers[0])
    return Raise(name, not is_caught and not is_again, " and ".join(reasons))


def _caught(handler: ast.ExceptHandler) -> list[str]:
    """Return the names of the exceptions that a handler catches."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return [ast.unparse(one).rpartition(".")[2] for one in kinds if one] or ["BaseException"]


def _names(*nodes: ast.AST) -> list[str]:
    """Return the names and attributes that stand in expressions, each once, in their order; what
    is called is none."""
    found: dict[str, None] = {}
    for node in nodes:
        skipped = set()
        for one in (node, *own_nodes(node)):
            if isinstance(one, ast.Call):
                skipped.add(one.func)
            dotted = _dotted(one)
            if dotted and one not in skipped:
                found[dotted] = None
            if dotted or one in skipped:
                skipped |= {getattr(one, "value", None)}
    return [*found]


def _dotted(node: ast.AST) -> str:
    """Return a name, or an attribute of one, as it is written; "" for anything else."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _listed(names: Iterable[str]) -> str:
    """Return names in a sentence."""
    names = [f"`{name}`" for name in dict.fromkeys(names)]
    more = [f"{len(names) - MAX_NAMES} more"] if len(names) > MAX_NAMES else []
    *first, last = [*names[:MAX_NAMES], *more] or [""]
    return f"{', '.join(first)} and {last}" if first else last


# what a function does, in sentences --------------------------------------------------------------

def _steps(function: Function) -> list[str]:
    """Return a sentence for each statement of a body that does more than compute."""
    own = {id.rpartition("::")[2].split("@")[0].rpartition(".")[2]: id.rpartition("::")[2]
           for id in function.callees}
    params = {one["name"] for one in parameters_of(function.node, function.is_method)}
    steps = [step for stmt in function.body if (step := _step(stmt, own, params))]
    return [*steps, *_whole(function)]


def _step(stmt: ast.stmt, own: dict[str, str], params: set[str]) -> str:
    if isinstance(stmt, INNER):
        return f"Defines `{stmt.name}` inside, for its own use."
    nodes = [stmt, *own_nodes(stmt)]
    deeds = [*_calls(nodes, own), *_ends(nodes)]
    head = _head(stmt)
    if head or deeds:
        text = f"{head}: {'; '.join(deeds) or 'computes'}" if head else "; ".join(deeds)
        return f"{text[0].upper()}{text[1:]}."
    return ""


def _head(stmt: ast.stmt) -> str:
    """Return how a compound statement begins, "" for a simple one."""
    if isinstance(stmt, ast.If | ast.While | ast.Match):
        word = "as long as a check of {} holds" if isinstance(stmt, ast.While) else "depending on {}"
        return word.format(_listed(_names(getattr(stmt, "test", None) or stmt.subject)) or "a check")
    if isinstance(stmt, ast.For | ast.AsyncFor):
        return f"in a loop over {_listed(_names(stmt.iter)) or 'what a call gives'}"
    if isinstance(stmt, ast.With | ast.AsyncWith):
        what = _listed(_names(*(one.context_expr for one in stmt.items)))
        return f"within a context of {what or 'a call'}"
    if isinstance(stmt, ast.Try):
        caught = _listed(name for one in stmt.handlers for name in _caught(one))
        return f"catching {caught}" if caught else "cleaning up whatever happens"
    return ""


def _calls(nodes: list[ast.AST], own: dict[str, str]) -> list[str]:
    """Return in words what is called: of the project by its full name, others as written."""
    ours, others = {}, {}
    for one in nodes:
        if isinstance(one, ast.Call):
            name = _dotted(one.func) or getattr(one.func, "attr", "")
            last = name.rpartition(".")[2]
            if last in own:
                ours[own[last]] = None
            elif name:
                others[name if _dotted(one.func) else f".{name}"] = None
    return [f"calls {_listed(some)}{of}" for some, of in (
        (ours, " of this project"), (others, "")) if some]


def _ends(nodes: list[ast.AST]) -> list[str]:
    """Return in words how statements leave, or what they give away."""
    kinds = {type(one) for one in nodes}
    out = []
    if {ast.For, ast.AsyncFor, ast.While} & {type(one) for one in nodes[1:]}:
        out.append("loops")
    out += [word for kind, word in ((ast.Break, "may end the loop early"), (
        ast.Continue, "skips some"), (ast.Yield, "yields values"), (
        ast.YieldFrom, "yields from another iterator"), (ast.Await, "awaits")) if kind in kinds]
    if raised := [one for one in nodes if isinstance(one, ast.Raise)]:
        out.append(f"may raise, see above ({len(raised)} places)" if raised[1:] else "may raise")
    returns = [one.value for one in nodes if isinstance(one, ast.Return)]
    if returns:
        fixed = [ast.unparse(one) for one in returns
                 if isinstance(one, ast.Constant) and len(ast.unparse(one)) <= MAX_LITERAL]
        names = [name for one in returns if one and not isinstance(one, ast.Constant)
                 for name in _names(one)]
        what = _listed([*fixed, *names])
        out.append(f"returns {'something made of ' if names else ''}{what}" if what else "returns")
    return out


def _whole(function: Function) -> list[str]:
    """Return what is to be said of a body as a whole."""
    out = []
    if function.entity.id in function.callees:
        out.append("Calls itself.")
    literals = sorted({ast.unparse(one) for one in function.nodes if isinstance(one, ast.Constant)
                       and not any(one.value is some or one.value == some for some in PLAIN)
                       and len(ast.unparse(one)) <= MAX_LITERAL})
    if literals:
        out.append("Literals in it, in the order of the alphabet: "
                   + ", ".join(map(_code, literals[:MAX_LITERALS])) + ".")
    return out


def _side_effects(function: Function) -> list[str]:
    """Return what a body changes beside its own variables."""
    args = function.node.args
    params = {one.arg for one in (*args.posonlyargs, *args.args, *args.kwonlyargs)}
    attributes, items = {}, {}
    for one in function.nodes:
        is_changed = not isinstance(getattr(one, "ctx", ast.Load()), ast.Load)
        if is_changed and isinstance(one, ast.Attribute):
            attributes[ast.unparse(one)] = None
        elif is_changed and isinstance(one, ast.Subscript) and (name := _dotted(one.value)):
            if name.partition(".")[0] in params:
                items[name] = None
    outer = [name for one in function.nodes if isinstance(one, ast.Global | ast.Nonlocal)
             for name in one.names]
    called = {one.func.id for one in function.nodes
              if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)}
    said = [("Sets {}.", attributes), ("Changes items of {} in place.", items),
            ("Binds {} outside of itself.", outer)]
    return [*(text.format(_listed(names)) for text, names in said if names),
            *(f"Calls `{name}`." for name in ("print", "open", "input") if name in called)]


# a function's document ---------------------------------------------------------------------------

def function_content(function: Function) -> dict:
    """Return the content of a function's document. Its examples are those that the docstring and
    README have: whether they print what they say is not looked at."""
    prose, examples = _split(function.docstring)
    described = _described(prose)
    texts = {one.arg_name.lstrip("*"): one.description or "" for one in described.params}
    when = {(one.type_name or "").rpartition(".")[2]: one.description or ""
            for one in described.raises}
    raises = {}
    for one in function.raises:
        if one.exception and one.leaves:
            raises.setdefault(one.exception, []).append(one.when)
    returns = described.returns or (described.many_returns and described.many_returns[0])
    return {
        "signature": function.signature,
        "purpose": _purpose(function, described),
        "parameters": [{**one, "text": _line(texts.get(one["name"], ""))}
                       for one in parameters_of(function.node, function.is_method)],
        "returns": {"annotation": _unparsed(function.node.returns),
                    "text": _line(returns.description if returns else "") or _returned(function)},
        "raises": [{"exception": name, "when": _line(when.get(name, "")) or "; or ".join(
            dict.fromkeys(filter(None, reasons)))} for name, reasons in raises.items()],
        "side_effects": _side_effects(function),
        "algorithm": _steps(function),
        "examples": _self_contained([*examples, *_of_readme(function)], function)}


def _described(prose: str):
    """Return what a docstring says, by docstring-parser. Raise Trouble where that is missing."""
    try:
        import docstring_parser
    except ImportError as e:
        raise Trouble("docstring-parser is not installed", todo=f"Install it: {INSTALL}") from e
    try:
        return docstring_parser.parse(prose[:MAX_DOCSTRING])
    except docstring_parser.ParseError:
        return docstring_parser.Docstring()


def _purpose(function: Function, described) -> str:
    said = "\n\n".join(filter(None, [described.short_description, described.long_description]))
    if said.strip():
        return storable(said.strip()[:MAX_PURPOSE])
    entity = function.entity
    owner = function.project.entities.get(entity.parent)
    module = function.project.module_name(entity.path)
    place = f"of class `{owner.name}` in `{module}`" if owner else f"of `{module}`"
    about = f" The class: {first_line(owner.docstring)}" if owner and owner.docstring else ""
    return f"`{entity.name}` is a {entity.kind} {place}, without a docstring.{about}"


def _returned(function: Function) -> str:
    kinds = {type(one) for one in function.nodes}
    if kinds & {ast.Yield, ast.YieldFrom}:
        return "An iterator: it is a generator."
    values = [one.value for one in function.nodes if isinstance(one, ast.Return) and one.value]
    return "" if values else "Nothing."


def _line(text: str | None) -> str:
    return storable(" ".join((text or "").split()))


# examples ----------------------------------------------------------------------------------------

def _split(text: str) -> tuple[str, list[dict]]:
    """Return (the prose of a text, its doctest sessions as examples)."""
    try:
        parts = doctest.DocTestParser().parse(text.expandtabs())
    except ValueError:   # what it takes for a session is none
        return text, []
    sessions: list[list[doctest.Example]] = [[]]
    for part in parts:
        if isinstance(part, str) and part.strip() and sessions[-1]:
            sessions.append([])
        elif isinstance(part, doctest.Example):
            sessions[-1].append(part)
    prose = "\n".join(part for part in parts if isinstance(part, str))
    return prose, [{"code": "".join(one.source for one in session).rstrip("\n"),
                    "output": BLANK_LINE.sub("", "".join(map(_printed, session))).rstrip("\n")}
                   for session in sessions if session]


def _printed(example: doctest.Example) -> str:
    """Return what an example prints: of a traceback the last line."""
    if example.exc_msg is None:
        return example.want
    return example.exc_msg


def _of_readme(function: Function) -> list[dict]:
    name = function.entity.name.rpartition(".")[2]
    return [one for one in readme_examples(function.project.readme)
            if re.search(rf"\b{re.escape(name)}\b", one["code"])]


def readme_examples(text: str) -> list[dict]:
    """Return the sessions of a README, in fenced blocks and outside of them."""
    blocks = [match[2] for match in FENCE.finditer(text)]
    return [example for block in [*blocks, FENCE.sub("\n\n", text)]
            for example in _split(block)[1]]


def _self_contained(examples: list[dict], function: Function) -> list[dict]:
    """Return examples with what they need before them: imports from the function's module, and the
    statements of earlier ones that print nothing and bind what they use."""
    module = function.project.modules.get(function.entity.path)
    out, before = [], []
    for example in examples[:50]:
        try:
            tree = parsed(example["code"], "an example")
        except Excluded:
            continue
        code = example["code"]
        for bound, text in reversed(before):
            if bound & _used(parsed(code, "")):
                code = f"{text}\n{code}"
        before += [({*_bound(ast.Module([stmt], []))}, ast.unparse(stmt)) for stmt in tree.body
                   if not isinstance(stmt, ast.Expr)]
        needed = sorted(_used(parsed(code, "")) & module.bound) if module else []
        if needed and module.name:
            code = f"from {module.name} import {', '.join(needed)}\n{code}"
        if len(code) + len(example["output"]) <= MAX_EXAMPLE and example["output"]:
            out.append({"code": code, "output": example["output"]})
    return out[:MAX_EXAMPLES]


def _used(tree: ast.Module) -> set[str]:
    """Return the names that code uses and does not bind itself."""
    used = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name)}
    return used - {*_bound(tree)}


# the project's document --------------------------------------------------------------------------

def project_content(project: Project, meta: RepoMeta, needed: Iterable[str] = ()) -> dict:
    """Return the content of a project's document. Private names are listed where they are
    `needed`."""
    modules = project.modules
    titles = {path: module.title for path, module in modules.items()}
    title = meta.summary or titles.get(min(modules, key=lambda path: path.count("/"), default=""))
    return {
        "summary": _line(title) or f"`{project.name}` is a project in Python.",
        "layout": [{"path": path, "text": text} for path, text in titles.items()],
        "concepts": [{"name": one.name, "path": one.path, "text": first_line(one.docstring)}
                     for one in project.entities.values()
                     if one.kind == "class" and one.path in modules and one.name[:1] != "_"],
        "data_flow": _data_flow(project),
        "dependencies": meta.dependencies,
        "conventions": _conventions(project),
        "tests": _tests(project),
        "examples": [one for one in readme_examples(project.readme)
                     if one["output"]][:MAX_EXAMPLES],
        "api": public_api(project, {*needed})}


def public_api(project: Project, needed: set[str]) -> list[dict]:
    """Return the public names of each module with their signatures: functions, classes with what
    they have, constants."""
    out = []
    for path, module in project.modules.items():
        entities = [one for one in project.entities.values() if one.path == path and all(
            is_public(part) or part in needed for part in one.name.split("."))]
        defined = {one.name for one in entities}
        constants = [{"name": one, "signature": one, "text": ""}
                     for one in sorted(_constants(module.tree.body) - defined)
                     if is_public(one) or one in needed]
        rows = [{"name": one.name, "signature": " ".join(one.signature.split()),
                 "text": first_line(one.docstring)} for one in entities
                if one.parent == "" or project.entities[one.parent].kind == "class"]
        rows += [{"name": f"{one.name}.{name}", "signature": f"{one.name}.{name}", "text": ""}
                 for one in entities if one.kind == "class"
                 for name in sorted(attributes_of(project, one) - {
                     inner.rpartition(".")[2] for inner in defined})
                 if is_public(name) or name in needed]
        if rows or constants:
            out.append({"module": module.name, "path": path, "names": [*constants, *rows]})
    return out


def is_public(name: str) -> bool:
    """Return whether a name does not begin with an underscore, or is one of the language."""
    return name[:1] != "_" or name[:2] == name[-2:] == "__"


def _constants(body: list[ast.stmt]) -> set[str]:
    return {one.id for stmt in body if not isinstance(stmt, INNER)
            for one in (stmt, *own_nodes(stmt))
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}


def attributes_of(project: Project, entity: Entity) -> set[str]:
    """Return the attributes that a class binds in its body, or its methods set on self."""
    tree = project.modules[entity.path].tree
    node = next((one for one in ast.walk(tree) if isinstance(one, ast.ClassDef)
                 and one.lineno == entity.line), None)
    if node is None:
        return set()
    of_self = {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)
               and isinstance(one.ctx, ast.Store) and _dotted(one).startswith("self.")}
    return of_self | _constants(node.body)


def _data_flow(project: Project) -> list[str]:
    calls: dict[tuple[str, str], set[str]] = {}
    for caller, callees in project.callees.items():
        for id in callees:
            places = caller.partition("::")[0], id.partition("::")[0]
            if places[0] != places[1] and {*places} <= project.modules.keys():
                calls.setdefault(places, set()).add(id.rpartition("::")[2].split("@")[0])
    return [f"`{caller}` calls {_listed(sorted(names))} of `{callee}`."
            for (caller, callee), names in sorted(calls.items())]


def _conventions(project: Project) -> list[str]:
    raised = {}
    for path, module in project.modules.items():
        for one in ast.walk(module.tree):
            bases = [ast.unparse(base) for base in getattr(one, "bases", ())]
            if any(base in raised or _is_exception(base) for base in bases):
                raised[one.name] = f"`{one.name}` in `{path}`, a {_listed(bases)}"
    return [f"It has exceptions of its own: {'; '.join(raised.values())}."] if raised else []


def _is_exception(name: str) -> bool:
    kind = getattr(builtins, name, None)
    return isinstance(kind, type) and issubclass(kind, BaseException)


def _tests(project: Project) -> list[str]:
    files = [file for file in project.files.values() if file.is_test]
    folders = sorted({f"{dirname(file.path) or '.'}/" for file in files})
    runners = [name for name in ("pytest", "unittest", "hypothesis")
               if any(re.search(rf"\bimport {name}\b|\bfrom {name}\b".encode(), file.text)
                      for file in files)]
    if not files:
        return []
    uses = f", and they use {_listed(runners)}" if runners else ""
    return [f"{len(files)} files of tests lie in {_listed(folders)}{uses}."]


# Markdown ----------------------------------------------------------------------------------------

def function_text(id: str, content: dict) -> str:
    """Return the Markdown of a function's document."""
    path, _, name = id.partition("::")
    returns = content["returns"]
    return _markdown([
        f"## `{name}` in `{path}`", _fenced(content["signature"], "python"), content["purpose"],
        *_section("Parameters", [_parameter(one) for one in content["parameters"]]),
        *_section("Returns", [": ".join(filter(None, [
            _code(returns["annotation"]), returns["text"]]))]),
        *_section("Raises", [f"`{one['exception']}`: {one['when'] or 'see the algorithm'}"
                             for one in content["raises"]]),
        *_section("Side effects", content["side_effects"]),
        *_section("Algorithm", content["algorithm"], "1."),
        *_examples(content["examples"])])


def _parameter(one: dict) -> str:
    about = [one.get("kind", ""), one["annotation"] and _code(one["annotation"]),
             one["default"] and f"default {_code(one['default'])}"]
    about = f" ({', '.join(filter(None, about))})" if any(about) else ""
    return f"`{one['name']}`{about}" + (f": {one['text']}" if one["text"] else "")


def project_text(name: str, content: dict) -> str:
    """Return the Markdown of a project's document."""
    api = []
    for module in content["api"]:
        api += [f"### `{module['module']}` in `{module['path']}`", _items([
            _code(one["signature"]) + (f": {one['text']}" if one["text"] else "")
            for one in module["names"]])]
    return _markdown([
        f"# {name}", content["summary"],
        *_section("Layout", [f"`{one['path']}`: {one['text']}".rstrip(": ")
                             for one in content["layout"]]),
        *_section("Concepts", [f"`{one['name']}` in `{one['path']}`: {one['text']}".rstrip(": ")
                               for one in content["concepts"]]),
        *_section("Data flow", content["data_flow"]),
        *_section("Dependencies", [*map(_code, content["dependencies"])]),
        *_section("Conventions", content["conventions"]), *_section("Tests", content["tests"]),
        *_examples(content["examples"]), *(["**Public API**", *api] if api else [])])


def _markdown(parts: Iterable[str]) -> str:
    return "\n\n".join(filter(None, parts)) + "\n"


def _section(title: str, items: list[str], mark: str = "-") -> list[str]:
    return [f"**{title}**", _items(items, mark)] if any(items) else []


def _items(items: list[str], mark: str = "-") -> str:
    return "\n".join(f"{mark} " + one.replace("\n", "\n  ") for one in items)


def _examples(examples: list[dict]) -> list[str]:
    out = ["**Examples**"] if examples else []
    for one in examples:
        out += [_fenced(one["code"], "python"), "prints", _fenced(one["output"], "text")]
    return out


def _fenced(text: str, language: str) -> str:
    longest = max([2, *(len(run) for run in re.findall("`+", text))])
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _code(text: str | None) -> str:
    """Return a text as code in a line."""
    if not text:
        return ""
    return f"`` {text} ``" if "`" in text else f"`{text}`"
