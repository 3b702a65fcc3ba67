"""Choose the tests that may notice a change of a source, by the lines that each test ran according
to coverage/."""
from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache, reduce
from operator import or_
from pathlib import PurePosixPath

from codedata.code.entities import SourceFile, entities_of, tree_of
from codedata.code.patches import Edit
from codedata.records import Coverage
from codedata.suites.contexts import lines_by_test, mask_of, masks_of

WORD = re.compile(r"\w+")


class CoveringTests:
    """Choose the tests that may notice a change, by the lines that each test ran."""

    def __init__(self, coverage: Coverage, texts: Mapping[str, str]):
        self.blind: list[str] = []          # tests that also ran unknown lines
        self._texts = texts
        self._at_import = masks_of(coverage.import_lines)
        self._ran: dict[str, tuple] = {}    # {test: ({path: mask}, number of functions)}
        self._by_function: dict[str, set[str]] = defaultdict(set)
        self._words = {path: {*WORD.findall(text)} for path, text in texts.items()}
        self._functions = lru_cache(64)(self._functions_in)
        for test, lines in zip(coverage.tests, lines_by_test(coverage), strict=True):
            name, functions = test["name"], test["functions"]
            if functions is None or test["starts"]:
                self.blind.append(name)
                continue
            self._ran[name] = lines, len(coverage.function_sets[functions])
            for k in coverage.function_sets[functions]:
                self._by_function[coverage.functions[k]].add(name)

    def tests_of(self, path: str, edit: Edit) -> tuple[list[str], bool, list[str]]:
        """Return (the tests that may notice an edit, whether it changes code that runs at import,
        the tests among them that ran the edited lines). Tests that ran these lines and little else
        come first."""
        last = edit.line + len(edit.old) - 1
        around = mask_of([edit.line, last] if edit.old else [max(1, edit.line - 1), edit.line])
        functions = self._functions(path)
        bodies = [body for _, body, _ in functions if body & around]
        inside = reduce(or_, bodies, 0)
        is_outside = around & ~inside if edit.old else not inside
        at_import = bool(is_outside or inside & self._at_import.get(path, 0))
        names = {name for id, body, whole in functions if (body if bodies else whole) & around
                 for name in self._by_function[id]}
        if at_import:
            names.update(self._users(path))

        def rank(name: str) -> tuple:
            lines, n_functions = self._ran[name]
            return not lines.get(path, 0) & around, n_functions, name

        ranked = sorted(names, key=rank)
        return ranked, at_import, [name for name in ranked if not rank(name)[0]]

    def _users(self, path: str) -> list[str]:
        """Return the tests that ran a line of a file, or of a file that may import it, directly or
        through others. A source that contains the name of a module may import it."""
        found, queue = {path}, [path]
        for one in queue:   # the loop extends it
            stem = PurePosixPath(one.removesuffix("/__init__.py")).stem
            more = [user for user, words in self._words.items()
                    if stem in words and user not in found]
            found.update(more)
            queue += more
        return [name for name, (lines, _) in self._ran.items() if found & lines.keys()]

    def _functions_in(self, path: str) -> list[tuple[str, int, int]]:
        """Return (id, lines of the body, all lines) of the functions of a file."""
        file = SourceFile(path, "python", self._texts[path].encode(), is_test=False)
        return [(one.id, mask_of(one.body_lines), mask_of([one.line, one.end_line]))
                for one in entities_of(file, tree_of(file)) if one.kind != "class"]
