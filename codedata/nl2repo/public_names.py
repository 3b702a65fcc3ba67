"""Find which names of a project its graded tests touch: what they import, and the attributes in
lines that they ran. Names that only a program makes at run time are not found."""
from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from codedata.code.contexts import lines_by_test, masks_of
from codedata.code.junit import restored_name
from codedata.errors import Excluded
from codedata.nl2repo.documents import Project, attributes_of, is_public, parsed
from codedata.records import Coverage, StripPatch

INNER = (ast.stmt, ast.ExceptHandler, ast.match_case)


def names_by_patch(patches: Iterable[StripPatch], project: Project,
                   coverage: Coverage) -> dict[str, list[str]]:
    """Return {id of a patch: names that the tests touch which it makes fail}, sorted. A name counts
    where a source that is no test defines it; of those with an underscore, all that are touched."""
    defined = defined_names(project)
    modules = {project.module_name(path).rpartition(".")[2] for path in project.modules}
    lines = {test["name"]: masks for test, masks in
             zip(coverage.tests, lines_by_test(coverage), strict=True)}
    outside = masks_of(coverage.import_lines)
    files = {path: _touched(file.text, path) for path, file in project.files.items()
             if file.is_test}
    out = {}
    for patch in patches:
        names: set[str] = set()
        for test in patch.proof["FAIL_TO_PASS"] if patch.proof else ():
            masks = lines.get(restored_name(test), {})
            for path in files.keys() & masks.keys():
                ran = masks[path] | outside.get(path, 0)
                names |= {name for mask, name in files[path] if mask & ran or not mask}
        out[patch.instance_id] = sorted(names & (defined | modules))
    return out


def defined_names(project: Project) -> set[str]:
    """Return the names of functions, classes, methods, attributes and of what modules bind, in
    sources that are no tests; none that the language gives a meaning."""
    names = {name for module in project.modules.values() for name in module.bound}
    for one in project.entities.values():
        if one.path in project.modules:
            names.add(one.name.rpartition(".")[2])
            names |= attributes_of(project, one) if one.kind == "class" else set()
    return {name for name in names if name[:2] != "__" or is_public(name) is False}


def _touched(text: bytes, path: str) -> list[tuple[int, str]]:
    """Return (mask of the lines of its statement, name) of the imports of a file, of which the mask
    is 0, and of its attributes."""
    try:
        tree = parsed(text, path)
    except Excluded:
        return []
    found = []
    for one in ast.walk(tree):
        if isinstance(one, ast.ImportFrom | ast.Import):
            names = [name for alias in one.names for name in alias.name.split(".")]
            found += [(0, name) for name in names]
        elif isinstance(one, INNER):
            parts = [*_own(one)]
            last = max((part.end_lineno for part in parts if hasattr(part, "end_lineno")),
                       default=one.lineno if hasattr(one, "lineno") else 0)
            mask = sum(1 << n for n in range(getattr(one, "lineno", last), last + 1))
            found += [(mask, part.attr) for part in parts if isinstance(part, ast.Attribute)]
    return found


def _own(statement: ast.AST) -> Iterator[ast.AST]:
    """Yield the expressions of a statement, without those of statements in it."""
    left = [*ast.iter_child_nodes(statement)]
    while left:
        one = left.pop()
        if not isinstance(one, INNER):
            yield one
            left += ast.iter_child_nodes(one)


def missing(names: Iterable[str], text: str) -> list[str]:
    """Return the names that do not stand in a text as words."""
    words = {*re.findall(r"\w+", text)}
    return [name for name in names if name not in words]
