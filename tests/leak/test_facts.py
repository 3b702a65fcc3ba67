"""Check the words that a turn shares with its pull request and not with its conversation.

BLIND is a conversation that has shown the task and nothing else, LISTED also the names of files,
READ also the code.
"""
from dataclasses import replace

import pytest
from line_tables import rows
from root import turn_of

from codedata.leak.leaked_facts import find_facts, has_fix_begun, shown_share
from codedata.records import Commit

PATCH = '''diff --git a/brook/ledger.py b/brook/ledger.py
index 1a2b3c4..5d6e7f8 100644
--- a/brook/ledger.py
+++ b/brook/ledger.py
@@ -132,7 +132,8 @@ class Ledger:
     def settle_account(self, name, amount):
         """Book the amount; the balance may be negative."""
         entry = self.entries.get(name)
-        if entry is None:
-            entry = self.open_entry(name)
+        if entry is None or entry.frozen_until > self.clock():
+            entry = self.thaw_entry(name, grace=2750)
+        # a dormant account is revived before anything is booked on it
         entry.balance += amount
         return entry.balance
'''
TEST_PATCH = '''diff --git a/tests/test_ledger.py b/tests/test_ledger.py
--- a/tests/test_ledger.py
+++ b/tests/test_ledger.py
@@ -40,1 +40,5 @@ def test_close():
     assert Ledger().close() == 0
+
+def test_settle_revives_dormant_account():
+    message = "the account of ann was revived"
+    assert ledger.settle_account("ann", 5) == 5
'''
PR = Commit(
    instance_id="rill__brook-41", repo="rill/brook", language="python", base_commit="9f8e7d6c5b",
    issue="Payments vanish", description="Revive dormant accounts before booking",
    files=["brook/ledger.py", "tests/test_ledger.py"], patch=PATCH, test_patch=TEST_PATCH)
TASK = "Payments vanish: we pay Ann 5 crowns with `brook pay ann 5`; `brook show ann` still says 0."
BLIND = [{"role": "system", "content": "You fix issues with bash."},
         {"role": "user", "content": TASK}]
LISTED = [*BLIND, {"role": "assistant", "content": "I list the files.\n\n```bash\nls -R\n```"}, {
    "role": "user",
    "content": "README.md\nbrook:\n__init__.py\ncli.py\nledger.py\n\ntests:\ntest_ledger.py"}]
CODE = "\n".join(line[1:] for line in PATCH.split("\n")[5:15] if line[:1] in (" ", "-"))
READ = [*LISTED,
        {"role": "assistant",
         "content": "Now the code.\n\n```bash\nsed -n 130,142p brook/ledger.py\n```"},
        {"role": "user", "content": CODE}]


def certain(history, thought: str, command: str = "ls") -> list[tuple[str, str]]:
    turn = turn_of(command, thought)
    found = find_facts(history, turn, PR)
    assert all(turn.startswith(one.text, one.start) for one in found if one.kind != "code")
    return [(one.kind, one.text) for one in found if one.certain]


@pytest.mark.parametrize("thought, command, kind, text", rows("""
I open it.           | cat brook/ledger.py   | path | brook/ledger.py
I look at settle_account next. | git grep -n settle | name | settle_account
I run one test.      | pytest -k test_settle_revives_dormant_account\
 | name | test_settle_revives_dormant_account
These lines matter.  | sed -n 131,139p brook/ledger.py | line | 131,139p
I search for it.     | grep -rn 'entry = self.open_entry(name)' .\
 | code | entry = self.open_entry(name)
I mend it.           | sed -i 's/if entry is None:/if not entry:/' brook/*.py\
 | anchor | if entry is None:
"""))
def test_what_only_the_pull_request_has_is_certain_before_it_was_shown(
        thought, command, kind, text):
    assert (kind, text) in certain(BLIND, thought, command)


@pytest.mark.parametrize("history, thought, command", [
    (LISTED, "I open the ledger that was listed.",
     "cat brook/ledger.py; sed -n 1,80p tests/test_ledger.py"),
    (READ, "settle_account opens an entry for a new name; open_entry is next.",
     "grep -n open_entry brook/ledger.py"),
    (READ, "I mend the condition.",
     "sed -i 's/if entry is None:/if entry is None or entry.frozen:/' brook/ledger.py"),
    (BLIND, "I write a test of my own.",
     "cat > test_pay.py <<'E'\ndef test_pay_ann():\n    assert 5\nE\npytest -q"),
    (BLIND, "README first.",
     "cat README.md setup.py; git log --oneline | head -3; ls tests brook/__init__.py"),
    (BLIND, "A note of mine.", "echo notes > ledger.py && cat ledger.py"),
])
def test_what_was_shown_or_is_the_turn_s_own_is_not(history, thought, command):
    assert certain(history, thought, command) == []


BINDS = """for settle_account, b in x:
with x() as settle_account:
a, (settle_account, *b) = x
    elif (settle_account := x()):
except (A, B) as settle_account:
case A(settle_account):
from x import y as settle_account
def f(\\n    a,\\n    settle_account=g(1),\\n):
f(lambda settle_account: 1)
a = [\\n    1\\n    for settle_account in x\\n]
+async def f(*settle_account):
b, settle_account := f()
f = (a, settle_account) => {
for settle_account in a b; do
let mut settle_account = 1;
} catch (Error settle_account) {
xs.map(|settle_account| 1)
python3 -c 'a; settle_account, b = 1, 2'"""
USES = """f(settle_account=1)
from x import settle_account
# for settle_account in x:
settle_account(1)"""


@pytest.mark.parametrize("code, found", [(code, text == USES) for text in (BINDS, USES)
                                         for code in text.splitlines()])
def test_a_name_that_the_turn_s_code_binds_is_its_own(code, found):
    code = code.replace("\\n", "\n")
    assert certain(BLIND, "I try it.", f"cat > x <<'E'\n{code}\nE") == [
        ("name", "settle_account")] * found


def test_a_part_of_a_longer_name_is_not_the_literal_nor_an_accessor_the_code():
    pr = replace(PR, test_patch=TEST_PATCH.replace('"ann"', '"dormant_key"'),
                 patch=PATCH.replace("        return entry.balance", "    @balance.setter"))
    for command, n in (("echo dormant_key", 1), ("echo my_dormant_keys", 0),
                       ("for dormant_key in x:", 0), ("grep -n @balance.setter x", 0)):
        found = find_facts(BLIND, turn_of(command, "I look."), pr)
        assert sum(one.certain for one in found) == n


def test_facts_that_are_hints_alone_bar_nothing():
    found = find_facts(BLIND, turn_of("ls", "An `entry` may be frozen; 'ann' is one."), PR)
    assert found and not any(one.certain for one in found)


def test_how_much_of_the_patch_was_shown():
    assert shown_share(BLIND, PR) == shown_share(LISTED, PR) == 0.0 and shown_share(READ, PR) == 1.0
    half = [*LISTED, {"role": "user", "content": "\n".join(CODE.split("\n")[:3])}]
    assert 0.3 < shown_share(half, PR) < 0.7
    own_edit = [*LISTED, {"role": "assistant",
                          "content": turn_of(f"cat > x <<'E'\n{CODE}\nE", "I copy it.")}]
    assert shown_share(own_edit, PR) == 1.0
    assert shown_share(READ, replace(PR, patch="")) == 0.0
    changelog = "".join(f"--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-An old line.\n+A new one.\n"
                        for name in ("CHANGES.rst", "docs/ledger.py", "tests/data.json"))
    assert shown_share(READ, replace(PR, patch=PATCH + changelog)) == 1.0


@pytest.mark.parametrize("command, has_begun", [
    ("sed -i 's/if entry is None:/if entry is None or entry.frozen_until > self.clock():/' "
     "brook/ledger.py", True),
    ("sed -i 's/entry is None:/not entry or entry.is_frozen:/' brook/ledger.py", False),   # wrong
    ("cat > repro.py <<'E'\nif entry is None or entry.frozen_until > self.clock():\nE", False)])
def test_the_fix_has_begun_once_the_agent_writes_a_line_of_it(command, has_begun):
    turn = {"role": "assistant", "content": turn_of(command, "I mend it.")}
    assert has_fix_begun([*READ, turn], PR) == has_begun
    shown = {"role": "user", "content": PATCH}   # by what it printed: no line is the agent's
    assert not has_fix_begun([*READ, shown, turn], PR) and not has_fix_begun([*READ, shown], PR)


def test_torn_and_endless_texts_come_to_an_end():
    for text in ("{" * 100_000, "a/" * 50_000, "s|" * 50_000, '"' * 100_001, "x_" * 50_000,
                 ".replace('" * 20_000):
        find_facts(BLIND, turn_of(text, text), PR)
        find_facts([{"role": "user", "content": text}], turn_of("ls", "x"),
                   replace(PR, patch=PATCH + text))
