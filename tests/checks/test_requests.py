"""Check which texts of pull requests are left out, and which names and changelog entries are found
in patches."""
import pytest

from codedata.checks.requests import changelog_entries, names_brought, request_problems
from codedata.code.patches import diff_of

PYTHON = ("class Heron:\n    def wade(self, depth_cm):\n        pass\n", """\
MUD = 7
def local():
    pass


class Heron:
    'Sink in deep mud.'
    max_depth_cm = 9

    def wade(self, depth_cm, slowly=False):
        self.legs = 2
        raise MudError(f"{depth_cm} cm of mud is too deep, for now")


class MudError(Exception):
    pass
""", "from heron import Heron\n", """\
from heron import MUD, Heron, MudError, absent


def local():
    return Heron().wade(MUD, local(), slowly=True).legs


class Stork(Heron):
    max_depth_cm = 12


def test_mud():
    'Sink in deep mud.'
    with pytest.raises(MudError, match="mud is too deep"):
        "Sink in deep", "a text with depths"
""")
TYPESCRIPT = ("export function wade(depth: number) {}\n", """\
export interface Options { slowly?: boolean }
export const MUD = `too deep in ${mud}`
const inside = 1
export function wade(depth: number, { slowly }: Options = {}) {}
wade.legs = 2
""", "import { wade } from './heron'\n", """\
import { wade, MUD } from './heron'
const inside = 2
wade(MUD, { slowly: true }, "too deep in mud", wade.legs)
""")
RUBY = ("", "raise 'the mud is deep' # don't wade in it, isn't it\n", "",
        "expect 'the mud is' # don't wade in it, isn't it\n")
RUST = ("", 'bail!("{}: mud is not dynamic, for now", "\\"a text\\" is");\n', "", """\
assert_eq!(error(), `Error: the mud is not
dynamic`, "mud is not dynamic"); // a text is
""")
GO = ("package heron\n", """\
package heron

const Mud = 7
type Heron struct { Legs int }
func (h Heron) wade(depth int) error {
\tinside := errors.New("the mud is too deep")
\treturn inside
}
""", "package heron\n", """\
package heron

func TestWade(t *testing.T) {
\tvar Legs int
\tinside := Heron{}.wade(Mud)
\tcheck(t, inside, "mud is too")
}
""")


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


@pytest.mark.parametrize(("suffix", "texts", "names"), [
    ("py", PYTHON, {"MUD", "MudError", "legs", "slowly", "Heron", "wade", "mud is too",
                   "is too deep", "max_depth_cm"}),
    ("ts", TYPESCRIPT, {"MUD", "slowly", "wade", "legs", "too deep in"}),
    ("rs", RUST, {"mud is not", "is not dynamic"}),
    ("rb", RUBY, {"the mud is"}),
    ("go", GO, {"Mud", "Heron", "wade", "mud is too"})])
def test_names_that_a_request_brings_and_its_tests_use_are_found(suffix, texts, names):
    old, new, old_tests, tests = map(str.encode, texts)
    gold = diff_of({f"heron.{suffix}": old}, {f"heron.{suffix}": new})
    test = f"test/heron.test.{suffix}"
    assert names_brought(gold, diff_of({test: old_tests}, {test: tests})) == names


def test_names_of_new_modules_and_in_examples_of_a_text_are_found():
    call = b"a = f(\n" + b"    1,\n" * 9 + b")\n"
    gold = diff_of({"old.py": call}, {"old.py": call + b"\n\nclass Reed:\n    pass\n",
                                      "reeds/marsh.py": b"MUD = 1\nMIRE = 2\n"})
    example = (b"Herons:\n\n    >>> from reeds import marsh, old\n    >>> marsh.MUD\n    1\n"
               b"    >>> old.Reed()\n    >>> MIRE.real")
    assert names_brought(gold, diff_of({}, {"tests/marsh.doctest": example})) == {
        "marsh", "MUD", "Reed", "MIRE"}


def test_the_entries_that_a_patch_adds_to_changelogs_are_found_without_headings():
    old = b"1.0\n---\n\n* Herons wade through the mud.\n"
    new = (b"1.1 (2024-05-01)\n---\n\nBug fixes:\n\n* Herons no longer sink\n  in mud.\n"
           b"* Tidy up.\n\n" + old)
    patch = diff_of({"CHANGES.rst": old, "mud.py": b""}, {
        "CHANGES.rst": new, "newsfragments/7.fix.md": b"Herons fly over the mud.\n",
        "mud.py": b"'Herons wade in changelogs.'\n", "docs/mud.md": b"Herons wade in the mud.\n"})
    assert changelog_entries(patch) == (
        "* Herons no longer sink\n  in mud.\nHerons fly over the mud.")
