"""Check the variants of golds, and their order."""
import re
import subprocess
from collections import Counter
from functools import cache

import pytest
from conftest import REPO
from line_tables import toml_beside

from codedata.audit.gold_programs import encoded, ends_at_once, ends_before
from codedata.code.gold_variants import (
    MAX_VARIANTS,
    Variant,
    clusters_of,
    language_or_family,
    pattern_edits,
    variants_of,
)
from codedata.code.operators.syntax import code_of
from codedata.texts import toml_of

LINES = toml_beside(__file__, "line_edits.toml")
SOURCE = (REPO / "codedata/texts.py").read_bytes()


@cache
def variants_of_source() -> list[Variant]:
    return variants_of({}, {"a.py": SOURCE}, "s")


def changed_lines(family: str, line: str) -> dict[str, set[str]]:
    """Return {operator: the lines that it makes of one}."""
    lines: dict[str, set[str]] = {}
    text = line.encode()
    for operator, start, end, new in pattern_edits(family, text, {1}):
        lines.setdefault(operator, set()).add((text[:start] + new + text[end:]).decode())
    return lines


@pytest.mark.parametrize("case", LINES["changes"], ids=lambda case: case["line"])
def test_a_pattern_changes_a_line(case):
    assert changed_lines(case["family"], case["line"])[case["operator"]] == {*case["made"]}


@pytest.mark.parametrize("case", LINES["leaves"], ids=lambda case: case["line"])
def test_what_means_the_same_or_was_not_asked_for_is_left_alone(case):
    assert changed_lines(case["family"], case["line"]).keys() == {*case["operators"]}


def test_each_pattern_belongs_to_a_family_and_has_what_replaces_a_match():
    tables = toml_of("codedata.code", "generic.toml")
    for operator in tables["operators"]:
        assert operator["families"] and {*operator["families"]} <= tables["families"].keys()
        n_groups = re.compile(operator["pattern"]).groups
        assert operator["to"] and all(int(group) <= n_groups for to in operator["to"]
                                      for group in re.findall(r"\\(\d)", str(to)))


def test_a_language_is_known_by_the_name_or_by_the_first_line():
    texts = {"a.py": b"", "bin/x": b"#!/usr/bin/env python3\n", "bin/y": b"#!/bin/bash -e\n",
             "a.sql": b"", "a.c": b"", "b": b"\n#!/bin/sh", "c.md": b"", "z": b"#!/bin/node\n"}
    assert [language_or_family(*item) for item in texts.items()] == [
        "python", "python", "shell", "sql", "code", "text", "prose", "javascript"]


def test_only_lines_that_the_gold_changes_have_variants():
    old = b"a = b < 1\n\n\nc = d < 2\ne = f < 3"
    new = b"a = b < 1\nx = y < 7\n\n\nc = d < 5\ne = f < 3"
    for path, before in (("m.py", old), ("bin/m", old), ("m.js", old)):
        variants = variants_of({path: before}, {path: new}, "s")
        assert {one.line for one in variants} == {2, 5}
        for one in variants:
            lines = zip(one.text.split(b"\n"), new.split(b"\n"), strict=True)
            assert [a == b for a, b in lines].count(False) == 1
            assert one.path == path and one.text not in (old, new)
    assert {one.line for one in variants_of({}, {"m.py": new}, "s")} == {1, 2, 5, 6}
    assert variants_of({"m.py": new}, {"m.py": new}, "s") == []


def test_a_removed_statement_is_in_its_own_line_and_the_file_before_the_gold_is_no_variant():
    before, after = b"def f():\n    g()\n", b"def f():\n    g()\n    h()\n    i()\n"
    variants = variants_of({"m.py": before}, {"m.py": after}, "s")
    one = after.replace(b"    h()\n", b"")
    assert [found.line for found in variants if found.text == one] == [3]
    assert one not in [found.text for found in variants_of({"m.py": one}, {"m.py": after}, "s")]


def test_variants_compile_and_no_two_are_equal():
    variants = variants_of_source()
    codes = {code_of(one.text) for one in variants} | {code_of(SOURCE)}
    assert len(codes) == len(variants) + 1 == MAX_VARIANTS + 1
    assert code_of(b"\n\nx = 1") == code_of(b"x = (1)") != code_of(b"x = 1.0")


def test_lines_and_operators_take_turns():
    variants = variants_of_source()
    first = variants[:60]
    n_lines = len({one.line for one in variants})
    assert len({one.line for one in first}) > 0.9 * min(n_lines, 60)
    assert len({one.operator for one in first}) > 30
    assert max(Counter((one.line, one.operator) for one in variants).values()) <= 2


def test_the_order_is_that_of_the_seed():
    files = {"a.py": b"a = b < 1\nc = d < 2\ne = f and g\n", "b.sh": b"[ $n -lt 3 ] && f -x\n"}
    orders = [variants_of({}, files, seed) for seed in ("s", "s", "other")]
    assert orders[0] == orders[1] != orders[2]
    assert {*orders[0]} == {*orders[2]}


def test_files_that_cannot_be_read_have_no_variants():
    assert variants_of({}, {"a.py": b"def f(:\n", "b": b"\0 1 < 2", "c.sh": b"exit 0\n" * 200_000,
                            "d.py": b"", "e.md": b"1 < 2"}, "s") == []
    assert variants_of({"a.sh": b"\xff"}, {"a.sh": b"exit 0\n"}, "s")


def test_neighbours_are_one_cluster():
    variants = [Variant(path, line, "", b"") for path, line in (
        ("b", 9), ("a", 5), ("a", 1), ("a", 3), ("a", 8), ("b", 8))]
    assert [[(one.path, one.line) for one in cluster] for cluster in clusters_of(variants)] == [
        [("a", 1), ("a", 3), ("a", 5)], [("a", 8)], [("b", 8), ("b", 9)]]
    unrun = {("a", 5), ("a", 8), ("b", 8)}
    assert [[one.line for one in cluster] for cluster in clusters_of(variants, unrun)] == [
        [1, 3], [5, 8], [8], [9]]


@pytest.mark.parametrize("case", LINES["ends"])
def test_a_program_ends_before_a_statement(case):
    made = ends_before(case["path"], case["text"].encode(), case["line"])
    assert made == (case["made"].encode() if "made" in case else None)


PYTHON = """#!/usr/bin/env python3
'''Say who it is.'''
from __future__ import annotations
import sys
class A: pass
print(__doc__, A.__module__, __name__, sys.argv[1:], sys.stdin.read())
"""
SHELL = """#!/bin/{}
n=$#; read -r line
f() {{ printf '%s|%s|%s\\n' "$n" "$1" "$line"; }}
f "$@"
cat <<'END'
it's $n
END
exit 3
"""


@pytest.mark.parametrize("path, text", [
    ("a.py", PYTHON), ("a", SHELL.format("bash")), ("a.sh", SHELL.format("sh"))])
def test_an_encoded_program_does_the_same_and_one_that_ends_at_once_does_nothing(tmp_path, path,
                                                                                   text):
    def run(program: bytes):
        (tmp_path / path).write_bytes(program)
        (tmp_path / path).chmod(0o755)
        done = subprocess.run([tmp_path / path, "a b"], input=b"one\ntwo\n", capture_output=True)
        return done.returncode, done.stdout

    plain = run(text.encode())
    assert plain[1] and run(encoded(path, text.encode())) == plain
    assert b"it's" not in encoded(path, text.encode())
    assert run(ends_at_once(path, text.encode()))[1] == b""
