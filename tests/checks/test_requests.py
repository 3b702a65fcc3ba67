"""Check which texts of pull requests are left out, and which entries of changelogs are found."""
import pytest

from codedata.checks.requests import added_documentation, changelog_entries, request_problems
from codedata.code.patches import diff_of


@pytest.mark.parametrize(("titles", "rule"), [
    (["Herons sink in mud that is deep: https://a.org/b/c/d", "", "Chores"], "fewer than 8 words"),
    (["fix: herons sink in the mud of version 1.2",
      "Upgrade the waders to the format 1.2 of mud"], "lacks names"),
    (["Let herons `wadeSlowly` in mud\nthat is deep"], "")])
def test_a_text_is_left_out_by_the_first_rule_that_applies(titles, rule):
    for title in titles:
        found, _ = next(request_problems(title + "\n", ["wadeSlowly", "mud that is"], 8), ("", ""))
        assert rule in found and bool(rule) == bool(found)
        assert not [*request_problems(title, ["wadeSlowly"], 0)]


def test_the_entries_that_a_patch_adds_to_changelogs_are_found_without_headings_and_edits():
    old = b"1.0\n---\n\n* Herons wade through the mud.\n* Storks eat frogs of the reeds.\n"
    new = (b"1.1 (2024-05-01)\n---\n\nBug fixes:\n\n* Herons no longer sink\n  in mud.\n"
           b"* Tidy up.\n\n" + old.replace(b"the reeds", b"green reeds"))
    patch = diff_of({"CHANGES.rst": old, "mud.py": b""}, {
        "CHANGES.rst": new, "newsfragments/7.fix.md": b"Herons fly over the mud.\n",
        "mud.py": b"'Herons wade in changelogs.'\n", "docs/mud.md": b"Herons wade in the mud.\n"})
    assert changelog_entries(patch) == (
        "* Herons no longer sink\n  in mud.\nHerons fly over the mud.")
    assert added_documentation(patch, ["reeds", "in the mud"]) == "Herons wade in the mud."
    assert added_documentation(patch, ["changelogs", "Her"]) == added_documentation(patch, []) == ""
    added = {"docs/a.py": b"mud = 1\n", "tests/golden/a.md": b"mud\n", "docs/a.md": b"mud\n",
             "README.md": b"mud\n" * 58}
    assert added_documentation(diff_of({}, added), ["mud"]).count("mud") == 59
    added["README.md"] += b"mud\n"
    assert added_documentation(diff_of({}, added), ["mud"]) == ""
