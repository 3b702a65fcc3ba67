"""Test that patches are made that git applies, whatever names and texts the files have."""
import subprocess

import pytest
from root import files_under, write_files

from codedata.code.patches import diff_of, hunks_of, reversed_patch, text_diff
from codedata.disk.layouts import Program


def test_a_patch_changes_modes_as_git_applies_them(tmp_path):
    old, new = {"run": b"1\n", "old": b"1\n"}, {"run": Program(b"1\n"), "new": Program(b"2\n")}
    write_files(tmp_path, old)
    for patch, there in ((diff_of(old, new), {"run", "new"}), (diff_of(new, old), set())):
        subprocess.run(["git", "apply", "-"], input=patch.encode(), cwd=tmp_path, check=True)
        assert {path.name for path in tmp_path.iterdir() if path.stat().st_mode & 0o111} == there


def test_a_patch_of_any_names_and_line_ends_is_what_git_applies(tmp_path):
    old = {"a b.py": b"one\r\ntwo\r\n", 'q"\n\t.py': b"x\n", "d\u00e9/gone": b"no end",
           ".gitattributes": b"* text eol=crlf -diff\n", "same": b"1\n"}
    new = {"a b.py": b"one\r\n2\r\n", 'q"\n\t.py': b"y\n", "new/file": b"end",
           ".gitattributes": b"", "same": b"1\n"}
    write_files(tmp_path, old)
    patch = diff_of(old, new)
    subprocess.run(["git", "apply", "-"], input=patch.encode(), cwd=tmp_path, check=True)
    assert files_under(tmp_path) == new | {"new/file": b"end"}
    assert diff_of(new, new) == ""
    hunk, = hunks_of(diff_of({"f": b"1\n2\n3\n"}, {"f": b"1\n3\n"}, n_context=0), "")
    assert (hunk.path, hunk.start, hunk.old, hunk.added) == ("f", 2, ["2"], [])


def test_a_patch_is_reversed_as_git_would_write_it():
    before = {"a.py": b"-- a\nb\n\n++ c\nd", "gone": b"x\n"}
    after = {"a.py": b"++ a\nb\n\nd\n", "new": b"y"}
    assert reversed_patch(diff_of(before, after)) == diff_of(after, before)
    with pytest.raises(ValueError, match="rename"):
        reversed_patch("diff --git a/x b/y\nrename from x\nrename to y\n")


def test_a_diff_made_without_git_has_the_lines_that_change():
    before = {"same": b"x", "x y.py": b"a\nb\nc\nd\ne"}
    diffs = [text_diff(before, before | {"x y.py": new})
             for new in (b"a\nb\nC\nd\ne", b"0\na\nc\nd\nnew\nE\n")]
    assert diffs[0] == (
        "diff --git a/x y.py b/x y.py\n--- a/x y.py\n+++ b/x y.py\n@@ -1,5 +1,5 @@\n"
        " a\n b\n-c\n+C\n d\n e\n\\ No newline at end of file\n")
    assert diffs[1].endswith("-e\n\\ No newline at end of file\n+new\n+E\n")
    assert [hunk.changed for diff in diffs for hunk in hunks_of(diff)] == [[3, 3], [0, 2, 5, 5, 5]]
