"""Find which names of a project its graded tests touch: what they import, and the attributes in
lines that they ran. Names that only a program makes at run time are not found."""
from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from codedata.code.contexts import lines_by_test, mask_of, masks_of
from codedata.code.junit import restored_name
from codedata.errors import Excluded
from codedata.nl2repo.documents import (
    Codebase,
    attributes_of,
    bound_names,
    exported_names,
    parsed,
)
from codedata.records import Coverage, StripPatch

OF_THE_LANGUAGE = re.compile(r"__\w+__")


def names_by_patch(patches: Iterable[StripPatch], project: Codebase,
                   coverage: Coverage) -> dict[str, list[str]]:
    """Return {id of a patch: names that the tests touch which it makes fail}, sorted. A name counts
    where a source that is no test defines it, a private one, too."""
    defined = defined_names(project)
    lines = {test["name"]: masks for test, masks in
             zip(coverage.tests, lines_by_test(coverage), strict=True)}
    outside = masks_of(coverage.import_lines)
    touched = {path: [*_touched(project, path)] for path, file in project.files.items()
               if file.is_test}
    out = {}
    for patch in patches:
        names: set[str] = set()
        for test in patch.proof["FAIL_TO_PASS"] if patch.proof else ():
            masks = lines.get(restored_name(test), {})
            for path in touched.keys() & masks.keys():
                ran = masks[path] | outside.get(path, 0)
                names |= {name for mask, name in touched[path] if mask & ran}
        out[patch.id] = sorted(names & defined)
    return out


def defined_names(project: Codebase) -> set[str]:
    """Return the names of functions, classes, methods and attributes, and of what modules bind, in
    sources that are no tests; none that the language gives a meaning."""
    names = {name for tree in project.modules.values()
             for name in bound_names(tree, imported=False) | exported_names(project, tree)}
    for one in project.entities.values():
        if one.path in project.modules:
            names.add(one.name.rpartition(".")[2])
            names |= attributes_of(project, one) if one.kind == "class" else set()
    return {name for name in names if not OF_THE_LANGUAGE.fullmatch(name)}


def _touched(project: Codebase, path: str) -> Iterator[tuple[int, str]]:
    """Yield (mask of the lines of its statement, name) of what a file imports from the project,
    anywhere in it, and of its attributes."""
    try:
        tree = parsed(project.files[path].text, path)
    except Excluded:
        return
    for name in exported_names(project, ast.Module([*ast.walk(tree)], [])):
        yield -1, name
    for statement in ast.walk(tree):
        if isinstance(statement, ast.stmt):
            own = [one for one in _own(statement) if hasattr(one, "lineno")]
            last = max((one.end_lineno for one in own), default=statement.lineno)
            mask = mask_of([statement.lineno, last])
            yield from ((mask, one.attr) for one in own if isinstance(one, ast.Attribute))


def _own(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yield the nodes of a statement without those of the statements in it."""
    left = [*ast.iter_child_nodes(statement)]
    while left:
        one = left.pop()
        if not isinstance(one, ast.stmt):
            yield one
            left += ast.iter_child_nodes(one)


def missing(names: Iterable[str], text: str) -> list[str]:
    """Return the names that do not stand in a text as words."""
    words = {*re.findall(r"\w+", text)}
    return [name for name in names if name not in words]
