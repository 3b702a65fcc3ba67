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
from codedata.code.entities import (
    INSTALL,
    MAX_TEXT,
    Entity,
    SourceFile,
    all_entities,
    read_sources,
)
from codedata.errors import Excluded, Trouble
from codedata.records import Analysis, RepoMeta, storable

Definition = ast.FunctionDef | ast.AsyncFunctionDef
NOTHING = ast.Module([], [])
INNER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
MAX_README_BYTES = 200_000
MAX_DOCSTRING = 20_000     # characters that are parsed
MAX_PURPOSE = 3_000        # characters that are taken from a docstring
MAX_NAMES = 12             # that one sentence lists
MAX_LITERAL = 30           # characters: what is shorter than a run that counts as quoted
MAX_LITERALS = 20
MAX_EXAMPLES, MAX_EXAMPLE = 6, 2_000   # of a document, and characters of one
FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
BLANK_LINE = re.compile(r"^[ \t]*<BLANKLINE>[ \t]*$", re.MULTILINE)
OPTION = re.compile(r"# ?doctest:.*")
TEXT, MAYBE = "a text", "a text or null"
EXAMPLES = [{"code": TEXT, "output": TEXT}]
# what content holds, in the order of print; a list holds what its one entry says
FUNCTION: dict = {
    "signature": TEXT, "purpose": TEXT,
    "parameters": [{"name": TEXT, "annotation": MAYBE, "default": MAYBE, "text": TEXT}],
    "returns": {"annotation": MAYBE, "text": TEXT}, "raises": [{"exception": TEXT, "when": TEXT}],
    "side_effects": [TEXT], "algorithm": [TEXT], "examples": EXAMPLES}
PROJECT: dict = {
    "summary": TEXT, "layout": [{"path": TEXT, "text": TEXT}],
    "concepts": [{"name": TEXT, "path": TEXT, "text": TEXT}], "data_flow": [TEXT],
    "dependencies": [TEXT], "conventions": [TEXT], "tests": [TEXT], "examples": EXAMPLES}
PUBLIC = {"signature": TEXT, "text": TEXT}   # of a name, in the list that a program adds


# sources -----------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Codebase:
    """Hold the Python sources of a project, and which function calls which for sure."""

    name: str
    files: dict[str, SourceFile]
    entities: dict[str, Entity]
    callees: dict[str, list[str]]
    readme: str = ""

    @classmethod
    def of(cls, name: str, folder: Path, analysis: Analysis) -> Codebase:
        """Return the project in a folder, with the resolved edges of its analysis."""
        sources = read_sources(folder)
        entities = all_entities(sources)[0]
        files = {file.path: file for file in sources.files if file.language == LANGUAGE}
        by_id = {one.id: one for path in files for one in entities[path]}
        shown = {id for id, one in by_id.items() if not files[one.path].is_test}
        callees: dict[str, list[str]] = {}
        for edge in analysis.edges:
            is_sure = edge["certainty"] == "resolved" and edge["kind"] != "ref"
            if is_sure and edge["callee"] in shown:   # a test may hand over functions of its own
                callees.setdefault(edge["caller"], []).append(edge["callee"])
        return cls(name, files, by_id, callees, _readme(folder))

    @cached_property
    def modules(self) -> dict[str, ast.Module]:
        """Return the trees of the modules that are no tests and can be parsed, by path."""
        found = {}
        for path, file in self.files.items():
            if not file.is_test:
                try:
                    found[path] = parsed(file.text, path)
                except Excluded:
                    continue   # an analysis names the fault
        return found

    @cached_property
    def classes(self) -> dict[tuple[str, int], ast.ClassDef]:
        """Return the classes of the modules, by path and line."""
        return {(path, one.lineno): one for path, tree in self.modules.items()
                for one in ast.walk(tree) if isinstance(one, ast.ClassDef)}

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
        indent = text[:entity.start].rpartition(b"\n")[2].decode(errors="replace")
        own = indent + text[entity.start:entity.end].decode(errors="replace")
        source = f"if 1:\n{own}" if indent else own
        node = next((one for one in ast.walk(parsed(source, id)) if isinstance(one, Definition)),
                    None)
        if node is None:
            raise Excluded("is no function for Python's parser.", id)
        return Function(self, entity, node, source)


def _readme(folder: Path) -> str:
    for path in sorted(folder.glob("[Rr][Ee][Aa][Dd][Mm][Ee]*")):
        try:
            text = read_bounded(inside(folder, path), MAX_README_BYTES).decode(errors="replace")
            return storable(text.replace("\0", ""))
        except OSError:   # a folder, a link out, far too long
            continue
    return ""


def parsed(text: str | bytes, where: str) -> ast.Module:
    """Return the syntax tree of a source, which is not run. Raise Excluded where there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")   # of odd escapes in somebody's strings
            tree = ast.parse(text)
            ast.unparse(tree)   # goes as deep as whatever is asked of it later
            return tree
    except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
        raise Excluded(f"cannot be parsed: {type(e).__name__}: {e}", where) from e


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below one in their order, without what is in functions and classes there."""
    left = [*ast.iter_child_nodes(node)][::-1]
    while left:
        one = left.pop()
        yield one
        if not isinstance(one, INNER):
            left += [*ast.iter_child_nodes(one)][::-1]


def bound_names(tree: ast.AST, imported: bool = True) -> set[str]:
    """Return the names that statements bind, `imported` ones perhaps among them."""
    found = set()
    for node in own_nodes(tree):
        if isinstance(node, INNER):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias) and imported:
            found.add(node.asname or node.name.partition(".")[0])
    return found


def first_line(text: str | None) -> str:
    """Return the first paragraph of a text in one line."""
    return storable(" ".join((text or "").strip().split("\n\n")[0].split()))


# facts of a function -----------------------------------------------------------------------------

@dataclass(frozen=True)
class Raise:
    """Hold what a statement raises: the exception ("" where it cannot be told), whether it leaves
    the function for sure, and what decides on it."""

    exception: str
    leaves: bool
    when: str


@dataclass(frozen=True)
class Function:
    """Hold a function of a project with its syntax tree, of which the positions count in `source`.
    """

    project: Codebase
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
        """Return the nodes of the body in their order, without those of inner functions."""
        return [*own_nodes(ast.Module(self.body, []))]

    @cached_property
    def parameters(self) -> list[dict]:
        """Return the parameters as content has them, without self or cls."""
        is_bound = self.entity.kind == "method" and "staticmethod" not in self.entity.decorators
        return parameters_of(self.node)[1 if is_bound else 0:]

    @cached_property
    def callees(self) -> list[str]:
        """Return the names of what it calls for sure, in the order in which they appear."""
        names = [getattr(one, "id", "") or getattr(one, "attr", "") for one in self.nodes]
        found = {}
        for id in self.project.callees.get(self.entity.id, []):
            full = id.rpartition("::")[2].partition("@")[0]
            called = full.removesuffix(".__init__").rpartition(".")[2]
            found[full] = names.index(called) if called in names else len(names)
        return sorted(found, key=found.get)

    @cached_property
    def raises(self) -> list[Raise]:
        """Return what its raise statements raise."""
        parents = {child: one for one in [self.node, *self.nodes]
                   for child in ast.iter_child_nodes(one)}
        return [_raise(one, parents) for one in self.nodes if isinstance(one, ast.Raise)]


def parameters_of(node: Definition) -> list[dict]:
    """Return all parameters of a function as content has them."""
    args = node.args
    plain = [*((one, "positional-only") for one in args.posonlyargs),
             *((one, "") for one in args.args)]
    defaults = [None] * (len(plain) - len(args.defaults)) + args.defaults
    rows = [(*one, default) for one, default in zip(plain, defaults, strict=True)]
    rows += [(args.vararg, "variadic", None)] if args.vararg else []
    rows += [(one, "keyword-only", default)
             for one, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    rows += [(args.kwarg, "variadic keywords", None)] if args.kwarg else []
    return [{"name": one.arg, "annotation": unparsed(one.annotation),
             "default": unparsed(default), **({"kind": kind} if kind else {})}
            for one, kind, default in rows]


def unparsed(node: ast.AST | None) -> str | None:
    """Return the source of a node in one spelling."""
    return None if node is None else ast.unparse(node)


def _raise(node: ast.Raise, parents: dict[ast.AST, ast.AST]) -> Raise:
    handled, caught, reasons = [], [], []
    child = node
    while (parent := parents.get(child)) is not None:
        if isinstance(parent, ast.ExceptHandler) and not handled:
            handled = _caught([parent])
            reasons.append(f"{_listed(handled)} was caught before")
        elif isinstance(parent, ast.Try) and child in parent.body:
            caught += _caught(parent.handlers)
        elif isinstance(parent, ast.If | ast.While) and not reasons:
            reasons.append(f"a check of {_listed(_names(parent.test))} decides on it")
        child = parent
    raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    name = (unparsed(raised) or "").rpartition(".")[2]
    is_again = bool(handled) and (not name or name[0].islower())   # raise, or raise error
    if is_again:
        name = handled[0]
    is_class = name.isidentifier() and name[0].isupper()
    leaves = not (is_again or {name, "Exception", "BaseException"} & {*caught})
    return Raise(name if is_class else "", leaves, reasons[0] if reasons else "")


def _caught(handlers: Iterable[ast.ExceptHandler]) -> list[str]:
    """Return the names of the exceptions that handlers catch."""
    kinds = [kind for one in handlers
             for kind in (one.type.elts if isinstance(one.type, ast.Tuple) else [one.type])]
    return [(unparsed(kind) or "BaseException").rpartition(".")[2] for kind in kinds]


def _names(*nodes: ast.AST | None) -> list[str]:
    """Return the names that expressions read, with an attribute, in their order; what is called is
    none."""
    found, skipped = {}, set()
    for one in (one for node in nodes if node for one in (node, *own_nodes(node))):
        if isinstance(one, ast.Call) and _dotted(one.func):
            skipped |= {one.func, getattr(one.func, "value", None)}
        if _dotted(one) and one not in skipped:
            found[_dotted(one)] = None
            skipped.add(getattr(one, "value", None))
    return [*found]


def _dotted(node: ast.AST) -> str:
    """Return a name, or an attribute of one, as it is written; "" for anything else."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _listed(names: Iterable[str]) -> str:
    """Return names in a sentence."""
    listed = [f"`{name}`" for name in dict.fromkeys(names)]
    *first, last = [*listed[:MAX_NAMES], *(["others"] if len(listed) > MAX_NAMES else [])] or ["it"]
    return f"{', '.join(first)} and {last}" if first else last


# a function, in sentences ------------------------------------------------------------------------

HEADS = {ast.If: "depending on {}", ast.Match: "depending on {}", ast.While: "as long as {} say so",
         ast.For: "for each of {}", ast.AsyncFor: "for each of {}", ast.With: "within {}",
         ast.AsyncWith: "within {}", ast.Try: "if need be catching {}"}
DEEDS = {ast.For: "loops", ast.While: "loops", ast.Break: "may end the loop early",
         ast.Continue: "skips some", ast.Yield: "yields", ast.YieldFrom: "yields on",
         ast.Await: "awaits", ast.Raise: "may raise"}


def _steps(function: Function) -> list[str]:
    """Return a sentence for each statement of a body that does more than compute."""
    own = {name.rpartition(".")[2]: name for name in function.callees}
    steps = [step for stmt in function.body if (step := _step(stmt, own))]
    literals = {ast.unparse(one) for one in function.nodes if isinstance(one, ast.Constant)
                and isinstance(one.value, str | int | float) and one.value not in (0, 1, "")}
    short = sorted(one for one in literals if len(one) <= MAX_LITERAL)[:MAX_LITERALS]
    if short:
        steps.append(f"Literals in it, sorted: {', '.join(map(_code, short))}.")
    return steps


def _step(stmt: ast.stmt, own: dict[str, str]) -> str:
    if isinstance(stmt, INNER):
        return f"Defines `{stmt.name}` for its own use."
    nodes = [*own_nodes(stmt)]
    called = [_dotted(one.func) or f".{getattr(one.func, 'attr', '')}" for one in nodes
              if isinstance(one, ast.Call)]
    ours = [own[last] for name in called if (last := name.rpartition(".")[2]) in own]
    others = [name for name in called if name.rpartition(".")[2] not in own and name != "."]
    kinds = {*map(type, [stmt] if isinstance(stmt, ast.Raise) else nodes)}
    deeds = [f"calls {_listed(some)}{of}" for some, of in (
        (ours, " of this project"), (others, "")) if some]
    deeds += [deed for kind, deed in DEEDS.items() if kind in kinds]
    returned = [one.value for one in (stmt, *nodes) if isinstance(one, ast.Return)]
    if returned:
        deeds.append(f"returns {_returned(returned)}")
    about = [*_names(*(getattr(stmt, part, None) for part in ("test", "subject", "iter"))),
             *_names(*(one.context_expr for one in getattr(stmt, "items", ()))),
             *_caught(getattr(stmt, "handlers", ()))]
    head = HEADS.get(type(stmt), "").format(_listed(about))
    text = ": ".join(filter(None, [head, "; ".join(deeds)]))
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _returned(values: list[ast.expr | None]) -> str:
    fixed = [ast.unparse(one) for one in values if isinstance(one, ast.Constant)]
    names = [name for one in values if one and not isinstance(one, ast.Constant)
             for name in _names(one)]
    ways = [_listed(one for one in fixed if len(one) <= MAX_LITERAL)] if fixed else []
    ways += [f"something made of {_listed(names)}"] if names else []
    return " or ".join(ways) or "what comes of it"


def _side_effects(function: Function) -> list[str]:
    """Return what a body changes beside its own variables."""
    params = {one["name"] for one in parameters_of(function.node)}
    changed = [one for one in function.nodes
               if isinstance(getattr(one, "ctx", None), ast.Store | ast.Del)]
    attributes = [ast.unparse(one) for one in changed if isinstance(one, ast.Attribute)]
    items = [_dotted(one.value) for one in changed if isinstance(one, ast.Subscript)
             and _dotted(one.value).partition(".")[0] in params]
    outer = [name for one in function.nodes if isinstance(one, ast.Global | ast.Nonlocal)
             for name in one.names]
    said = (("Sets", attributes), ("Changes in place", items), ("Binds outside of itself", outer))
    return [f"{deed} {_listed(names)}." for deed, names in said if names]


# a function's content ----------------------------------------------------------------------------

def function_content(function: Function) -> dict:
    """Return the content of a function's document. Its examples are those that the docstring and
    README have: whether they print what they say is not looked at."""
    prose, examples = _split(function.docstring)
    said = _described(prose)
    texts = {one.arg_name.lstrip("*"): one.description for one in said.params}
    when = {(one.type_name or "").rpartition(".")[2]: one.description for one in said.raises}
    reasons: dict[str, list[str]] = {}
    for one in function.raises:
        if one.exception and one.leaves:
            reasons.setdefault(one.exception, []).append(one.when)
    name = function.entity.name.rpartition(".")[2]
    examples += [one for one in readme_examples(function.project.readme)
                 if re.search(rf"\b{re.escape(name)}\b", one["code"])]
    is_generator = any(isinstance(one, ast.Yield | ast.YieldFrom) for one in function.nodes)
    returns = (said.returns and said.returns.description) or (
        "An iterator: it is a generator." if is_generator else "")
    return {
        "signature": signature_of(function), "purpose": _purpose(function, said.description or ""),
        "parameters": [{**one, "text": first_line(texts.get(one["name"]))}
                       for one in function.parameters],
        "returns": {"annotation": unparsed(function.node.returns), "text": first_line(returns)},
        "raises": [{"exception": one, "when": first_line(when.get(one)) or "; or ".join(
            dict.fromkeys(filter(None, whens)))} for one, whens in reasons.items()],
        "side_effects": _side_effects(function), "algorithm": _steps(function),
        "examples": _self_contained(examples, function)}


def signature_of(function: Function) -> str:
    """Return decorators and signature as they stand in the source."""
    head = function.entity.signature
    if len(head.encode()) >= MAX_TEXT:   # it is cut there
        bare = copy(function.node)
        bare.body, bare.decorator_list = [ast.Pass()], []
        head = ast.unparse(bare).removesuffix(":\n    pass")
    return "\n".join([*(f"@{one}" for one in function.entity.decorators), head])


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


def _purpose(function: Function, said: str) -> str:
    if said.strip():
        return storable(re.sub(r"\n\s*\n\s*", "\n\n", said.strip()))[:MAX_PURPOSE]
    entity = function.entity
    owner = function.project.entities.get(entity.parent)
    place = owner.name if owner else function.project.module_name(entity.path)
    about = f" About that: {first_line(owner.docstring)}" if owner and owner.docstring else ""
    return f"A {entity.kind} of `{place}`, without a docstring.{about}"


def _split(text: str) -> tuple[str, list[dict]]:
    """Return (the prose of a text, its doctest sessions as examples)."""
    try:
        parts = doctest.DocTestParser().parse(text.expandtabs())
    except ValueError:   # what it takes for a session is none
        return text, []
    sessions: list[list[doctest.Example]] = [[]]
    for part in parts:
        if isinstance(part, doctest.Example):
            sessions[-1].append(part)
        elif part.strip():
            sessions.append([])
    prose = "\n".join(part for part in parts if isinstance(part, str))
    return prose, [
        {"code": "\n".join(line.rstrip() for one in some
                           for line in OPTION.sub("", one.source).splitlines()),
         "output": BLANK_LINE.sub("", "".join(one.exc_msg or one.want for one in some)).rstrip()}
        for some in sessions if some]


def readme_examples(text: str) -> list[dict]:
    """Return the sessions of a README, in fenced blocks and outside of them."""
    return [example for block in blocks_of(text) for example in _split(block)[1]]


def blocks_of(text: str) -> list[str]:
    """Return the parts of a Markdown text: prose and, at odd places, what is in fences."""
    blocks, fence = [""], ""
    for line in text.splitlines(keepends=True):
        mark = FENCE.match(line)
        if mark and mark[1].startswith(fence):
            fence = "" if fence else mark[1]
            blocks.append("")
        else:
            blocks[-1] += line
    return blocks


def _self_contained(examples: list[dict], function: Function) -> list[dict]:
    """Return examples with what they need before them: imports from the function's module, and
    statements of earlier ones that bind what they use."""
    path = function.entity.path
    module = function.project.module_name(path)
    bound = bound_names(function.project.modules.get(path, NOTHING))
    out, before = [], []
    for example in examples:
        try:
            code, tree = example["code"], parsed(example["code"], "an example")
        except Excluded:
            continue
        for names, text in reversed(before):
            if names & _used(parsed(code, "")):
                code = f"{text}\n{code}"
        before += [(bound_names(ast.Module([one], [])), ast.unparse(one)) for one in tree.body
                   if not isinstance(one, ast.Expr)]
        if needed := sorted(_used(parsed(code, "")) & bound):
            code = f"from {module} import {', '.join(needed)}\n{code}"
        if example["output"] and len(code) + len(example["output"]) <= MAX_EXAMPLE:
            out.append({"code": code, "output": example["output"]})
    return out[:MAX_EXAMPLES]


def _used(tree: ast.Module) -> set[str]:
    """Return the names that code uses and does not bind itself."""
    return {one.id for one in ast.walk(tree) if isinstance(one, ast.Name)} - bound_names(tree)


# a project's content -----------------------------------------------------------------------------

def project_content(project: Codebase, meta: RepoMeta) -> dict:
    """Return the content of a project's document, without its public names."""
    modules = {path: first_line(ast.get_docstring(tree)) for path, tree in project.modules.items()}
    top = modules.get(min(modules, key=lambda path: path.count("/"), default=""), "")
    tests = [file for file in project.files.values() if file.is_test]
    folders = {f"{dirname(file.path)}/" for file in tests}
    runners = [name for name in ("pytest", "unittest")
               if any(f"import {name}".encode() in file.text for file in tests)]
    return {
        "summary": meta.summary or top or f"`{project.name}` is a project in Python.",
        "layout": [{"path": path, "text": text} for path, text in modules.items()],
        "concepts": [{"name": one.name, "path": one.path, "text": first_line(one.docstring)}
                     for one in project.entities.values()
                     if one.kind == "class" and one.path in modules and is_public(one.name)],
        "data_flow": _data_flow(project), "dependencies": [*map(_code, meta.dependencies)],
        "conventions": _exceptions(project),
        "tests": [f"Tests lie in {_listed(sorted(folders))}, and use {_listed(runners)}."]
        if tests and runners else [],
        "examples": [*filter(lambda one: one["output"], readme_examples(project.readme))][
            :MAX_EXAMPLES]}


def public_api(project: Codebase, needed: set[str]) -> list[dict]:
    """Return the names of each module with their signatures: functions, classes with what they
    have, what else the module binds. Private ones are listed where they are `needed`."""
    out = []
    for path, tree in project.modules.items():
        rows = dict.fromkeys(bound_names(tree, imported=False) | exported_names(project, tree), "")
        heads = {}
        for one in project.entities.values():
            owner = project.entities.get(one.parent)
            if one.path == path and (owner is None or owner.kind == "class"):
                rows |= {f"{one.name}.{name}": "" for name in attributes_of(project, one)
                         if f"{one.name}.{name}" not in rows}
                rows[one.name] = first_line(one.docstring)
                head = "".join(" ".join(one.signature.split()).partition("(")[1:])
                heads[one.name] = f"{'class ' if one.kind == 'class' else ''}{one.name}{head}"
        names = [{"signature": heads.get(name, name), "text": text}
                 for name, text in sorted(rows.items())
                 if all(is_public(part) or part in needed for part in name.split("."))]
        if names:
            out.append({"module": project.module_name(path), "path": path, "names": names})
    return out


def is_public(name: str) -> bool:
    """Return whether a name does not begin with an underscore, or is one of the language."""
    return name[:1] != "_" or name[:2] == name[-2:] == "__"


def exported_names(project: Codebase, tree: ast.Module) -> set[str]:
    """Return the names that a module imports from modules of the project."""
    tops = {project.module_name(path).partition(".")[0] for path in project.modules}
    return {one.asname or one.name for node in tree.body if isinstance(node, ast.ImportFrom)
            and (node.level or (node.module or "").partition(".")[0] in tops)
            for one in node.names} - {"*"}


def attributes_of(project: Codebase, entity: Entity) -> set[str]:
    """Return the attributes that a class binds in its body, or its methods set on self."""
    node = project.classes.get((entity.path, entity.line), NOTHING)
    return bound_names(node) | {
        one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)
        and isinstance(one.ctx, ast.Store) and _dotted(one).startswith("self.")}


def _data_flow(project: Codebase) -> list[str]:
    calls: dict[tuple[str, str], set[str]] = {}
    for caller, callees in project.callees.items():
        for id in callees:
            places = caller.partition("::")[0], id.partition("::")[0]
            if places[0] != places[1] and {*places} <= project.modules.keys():
                calls.setdefault(places, set()).add(id.rpartition("::")[2].partition("@")[0])
    return [f"`{caller}` calls {_listed(sorted(names))} of `{callee}`."
            for (caller, callee), names in sorted(calls.items())]


def _exceptions(project: Codebase) -> list[str]:
    """Return a sentence for each exception that a project defines."""
    own: dict[str, str] = {}
    for path, tree in project.modules.items():
        for one in ast.walk(tree):
            bases = [ast.unparse(base) for base in getattr(one, "bases", ())]
            if any(base in own or base in BUILT_IN_EXCEPTIONS for base in bases):
                own[one.name] = f"`{one.name}` in `{path}` is an exception, a {_listed(bases)}."
    return [*own.values()]


BUILT_IN_EXCEPTIONS = {name for name, kind in vars(builtins).items()
                       if isinstance(kind, type) and issubclass(kind, BaseException)}


# Markdown ----------------------------------------------------------------------------------------

def function_text(id: str, content: dict) -> str:
    """Return the Markdown of a function's document."""
    path, _, name = id.partition("::")
    return "\n\n".join([f"## `{name}` in `{path}`", *_sections(content, FUNCTION)]) + "\n"


def project_text(name: str, content: dict) -> str:
    """Return the Markdown of a project's document; `api` of its content are its public names."""
    api = [part for module in content.get("api", ())
           for part in (f"### `{module['module']}` in `{module['path']}`",
                        _items(module["names"], PUBLIC))]
    return "\n\n".join([f"# {name}", *_sections(content, PROJECT), *api]) + "\n"


def _sections(content: dict, form: dict) -> Iterator[str]:
    """Return the parts of content that are not empty."""
    return filter(None, (_section(key, content[key], shape) for key, shape in form.items()))


def _section(key: str, value, shape) -> str:
    if key == "signature":
        return _fenced(value, "python")
    if shape == TEXT:
        return value
    if shape is EXAMPLES:
        return "\n\n".join(f"**Example**\n\n{_fenced(one['code'], 'python')}\n\nprints\n\n"
                           f"{_fenced(one['output'], 'text')}" for one in value)
    rows, entry = (value, shape[0]) if isinstance(shape, list) else ([value], shape)
    if not any(any(one.values()) if isinstance(one, dict) else one for one in rows):
        return ""
    mark = "1." if key == "algorithm" else "-"
    return f"**{key.replace('_', ' ').capitalize()}**\n\n{_items(rows, entry, mark)}"


def _items(entries: Iterable, shape, mark: str = "-") -> str:
    """Return a line for each entry: the first of its fields, others in brackets, the last one."""
    lines = []
    for entry in entries:
        if isinstance(entry, dict):
            first, *middle, last = shape
            about = [f"{key} {_code(entry[key])}" for key in middle if entry[key] is not None]
            head = _code(entry[first]) + (f" ({', '.join(about)})" if about else "")
            entry = ": ".join(filter(None, [head, entry[last]]))
        lines.append(f"{mark} " + entry.replace("\n", "\n  "))
    return "\n".join(lines)


def _fenced(text: str, language: str) -> str:
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`{3,}", text))])
    return f"{fence}{language}\n{text}\n{fence}"


def _code(text: str | None) -> str:
    """Return a text as code in a line, "" for none."""
    return f"`` {text} ``" if "`" in (text or "") else f"`{text}`" if text else ""
