"""Check the names and texts that are found in tests and gold patches, and how they are told."""
import pytest

from codedata.checks.demands import lacking, names_brought, values_brought, with_demands
from codedata.code.entities import SourceFile
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
        raise MudError(f"{depth_cm} cm of mud is "
                       "too deep, for now")


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


@pytest.mark.parametrize(("suffix", "texts", "names"), [
    ("py", PYTHON, {"MUD", "MudError", "legs", "slowly", "Heron", "wade", "mud is too",
                   "is too deep", "max_depth_cm"}),
    ("ts", TYPESCRIPT, {"MUD", "slowly", "wade", "legs", "too deep in",
                       "too deep in mud"}),
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


def test_texts_that_come_of_a_new_format_are_found():
    old = b"def wade(n, mud):\n    fail('the mud is %s' % mud)\n    fail(f'no {mud} is deep')\n"
    gold = diff_of({"heron.py": old, "reed.py": b""}, {
        "heron.py": old.replace(b"the mud", b"this mud").replace(b"    fail(f", b"    f(f"),
        "reed.py": b"'<Reed deep={}, {!r:>3}>'.format(n, mud)\n'%(n)s'\n",
        "marsh.ts": b"`${n} rushes ${n} reeds`, `${n} frogs`"})
    texts = ["the mud is wet", "this mud is wet", "this mud is w", "no sea is deep",
             "<Reed deep=1, 'x'>", "7 rushes 8 reeds", "7 frogs", "7"]
    tests = diff_of({}, {"test_heron.py": f"check({', '.join(map(repr, texts))})".encode()})
    assert names_brought(gold, tests) == {
        "this mud is", "this mud is w", "<Reed deep=1, 'x'>", "7 rushes 8 reeds"}


def test_a_text_is_told_the_demands_that_it_lacks_as_the_tests_use_them():
    tests = {"test_heron.py": b"""\
from birds.heron import Heron, MudError as Error
import birds.reeds

def test_wade():
    "Herons fly as is too deep."
    heron = Heron(deep=3)
    assert heron.wade(7, slowly=True).legs == 2 and heron.wade(7)
    with pytest.raises(Error, match="is too   deep, sorry"):
        Heron("x").fly("no-mud")
""", "marsh.test.ts": b"import { Marsh } from './marsh'\nnew Marsh({ wet: true })\n"}
    names = ["Heron", "MudError", "Marsh", "fly", "is too deep", "legs", "no-mud", "reeds",
             "said", "slowly", "wet"]
    assert with_demands("It is said.\n", names, tests) == """\
It is said.

The tests use these names and texts, which the code does not have yet:

- `from birds.heron import Heron`
- `Heron(…)`
- `from birds.heron import MudError`
- `Marsh`
- `Heron(…).fly(…)`
- `"is too deep, sorry"`
- `heron.wade(7, slowly=True).legs`
- `"no-mud"`
- `reeds`
- `heron.wade(7, slowly=True)`
- `wet`
"""
    assert with_demands("It is said.", ["said"], tests) == "It is said."


def test_names_that_the_code_had_before_are_no_demands():
    gold = diff_of({}, {"heron.py": b"def wade(mud): raise Mud('The water is deep', 'no-mud')\n"})
    tests = diff_of({}, {"test_h.py": b"f(wade(mud=Mud()), 'The water is deep', 'no-mud', 'is')"})
    found = [lacking(names_brought(gold, tests), [SourceFile("heron.py", "python", had, False)])
             for had in (b"", b"waders wade_on", b"to wade; The water is; no-mud")]
    every = ["The water is", "The water is deep", "mud", "no-mud", "wade", "water is deep"]
    assert found == [every, every, ["The water is deep", "water is deep"]]


def test_a_name_that_the_code_only_uses_is_still_a_demand():
    gold = diff_of({}, {"heron.py": b"def wade(): pass\ndef fly(): pass\ndef dive(): pass\n"})
    tests = diff_of({}, {"test_heron.py": b"h.wade(h.fly(h.dive()))"})
    had = b"from birds import f as fly\nfile.wade()  # wade\nbird.n, bird.dive = 'a', 1\n"
    assert lacking(names_brought(gold, tests),
                   [SourceFile("bird.py", "python", had, False)]) == ["wade"]
    had = b"const fly = () => 2\nfunction* dive() {}\nwade()\n"
    assert lacking(["dive", "fly", "wade"],
                   [SourceFile("bird.js", "javascript", had, False)]) == ["wade"]


def test_words_that_the_gold_and_the_tests_share_are_values():
    gold = diff_of({}, {"heron.py": "BIRDS = ['सारस', 'mud bird', 'x']".encode()})
    tests = diff_of({}, {"test_heron.py": "check('सारस, a bird', 'x', 'tern')".encode()})
    values = values_brought(gold, tests)
    assert values == {"सारस", "bird"}
    base = SourceFile("bird.py", "python", b"A = 'a bird'\n", False)
    assert lacking(values, [base]) == ["सारस"]
