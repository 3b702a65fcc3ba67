"""Find the names of a project that its graded tests use: names that they import, and attributes in
the lines that they ran. Names that are only built while a test runs are not found."""
import ast
import re
from collections.abc import Iterable, Iterator, Mapping

from codedata.nl2repo.documents import WORD, Codebase
from codedata.nl2repo.strip import python_tree
from codedata.records import Coverage
from codedata.suites.contexts import lines_by_test, mask_of, masks_of
from codedata.verifier.junit import restored_name

OF_THE_LANGUAGE = re.compile(r"__\w+__")


def names_by_patch(tests: Mapping[str, Iterable[str]], project: Codebase,
                   coverage: Coverage) -> dict[str, list[str]]:
    """Return {id of a patch: the sorted names that its FAIL_TO_PASS tests use}; `tests` are these
    tests by id of the patch. A name counts, private or not, if a source that is not a test defines
    it; names of the language, such as `__init__`, do not count."""
    defined = {name.rpartition(".")[2] for names in project.names.values() for name in names}
    lines = {test["name"]: masks for test, masks in
             zip(coverage.tests, lines_by_test(coverage), strict=True)}
    outside = masks_of(coverage.import_lines)
    uses = {path: [*_uses_in(project.texts[path])] for path in project.tests}
    return {id: sorted(
        name for name in defined & {
            name for test in failing for path, mask in lines.get(restored_name(test), {}).items()
            for line_mask, name in uses.get(path, ())
            if line_mask & (mask | outside.get(path, 0))}
        if not OF_THE_LANGUAGE.fullmatch(name)) for id, failing in tests.items()}


def _uses_in(text: str) -> Iterator[tuple[int, str]]:
    """Yield (mask of lines, name) for each attribute in a source, and (-1, name) for each name that
    the source imports from a module, which counts in every line."""
    for one in ast.walk(python_tree(text)):
        if isinstance(one, ast.ImportFrom):
            yield from ((-1, alias.name) for alias in one.names)
        elif isinstance(one, ast.Attribute):
            yield mask_of([one.lineno, one.end_lineno]), one.attr


def missing(names: Iterable[str], text: str) -> list[str]:
    """Return the names that a text does not have as words."""
    words = {*WORD.findall(text)}
    return [name for name in names if name not in words]
