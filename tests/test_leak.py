"""The leak detector: for each rule what it must find and what it must leave alone, on a small project of its own.

The pull request PR below mends a queue. BLIND is a conversation that has shown the task and nothing else, LISTED also
the file names, READ also the code in question.
"""
from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from conftest import REPO

from codedata.checks.leak import Line, find_leaks, is_leaky, main
from codedata.checks.leak_rules import Finding
from codedata.checks.leak_text import bare_lines, fold, lists, name_parts, path_stem, path_tails, stem
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
@@ -160,3 +165,7 @@ class Ledger:
     def close(self):
         return sum(entry.balance for entry in self.entries.values())

+    def thaw_entry(self, name, grace):
+        entry = self.entries.setdefault(name, Entry())
+        entry.frozen_until = self.clock() - grace
+        return entry
'''
TEST_PATCH = '''diff --git a/tests/test_ledger.py b/tests/test_ledger.py
--- a/tests/test_ledger.py
+++ b/tests/test_ledger.py
@@ -40,1 +40,7 @@ def test_close():
     assert Ledger().close() == 0
+
+
+def test_settle_revives_dormant_account():
+    ledger = Ledger(clock=lambda: 7)
+    ledger.entries["ann"] = Entry(frozen_until=9)
+    assert ledger.settle_account("ann", 5) == 5
'''
PR = Commit(
    instance_id="rill__brook-41", repo="rill/brook", language="python",
    base_commit="9f8e7d6c5b4a39281706f5e4d3c2b1a098765432", issue="Payments vanish",
    description="Revive dormant accounts before booking\n\nFrozen entries are thawed with a grace period, so that the "
    "booking is not lost.", files=["brook/ledger.py", "tests/test_ledger.py"], patch=PATCH, test_patch=TEST_PATCH)
TASK = ("Payments vanish\n\nWe pay Ann 5 crowns with `brook pay ann 5`; `brook show ann` still says 0 the next day. "
        "For new customers it works. The README promises that no payment is lost.")
BLIND = [{"role": "system", "content": "You fix issues with bash."}, {"role": "user", "content": TASK}]
LISTED = [*BLIND, {"role": "assistant", "content": "I list the files.\n\n```bash\nls -R\n```"},
          {"role": "user", "content": "README.md\nbrook:\n__init__.py\ncli.py\nledger.py\n\ntests:\ntest_ledger.py"}]
CODE = "\n".join(line[1:] for line in PATCH.split("\n")[5:15] if line[:1] in (" ", "-"))
READ = [*LISTED, {"role": "assistant", "content": "Now the code.\n\n```bash\nsed -n 130,142p brook/ledger.py\n```"},
        {"role": "user", "content": CODE}]


def answer(thought: str, command: str = "ls") -> str:
    return f"THOUGHT: {thought}\n\n```bash\n{command}\n```"


def found(messages, text: str, pr=PR) -> dict[str, str]:
    """{text: severity} of what is found, after a look at what holds for every finding."""
    findings = find_leaks(messages, text, pr)
    for finding in findings:
        assert text[finding.start:finding.end] == finding.text and finding.text
        assert finding.severity in ("high", "medium", "low") and finding.why
        assert finding.source in ("patch", "test_patch", "files", "issue", "description", "")
    return {finding.text: finding.severity for finding in findings}


# ---- answers that bar a sample, and honest ones that look like them: (messages, thought, command)

LEAKS = {
    "a file that nobody has seen, by its lines": (BLIND, "I look there.", "sed -n '128,140p' brook/ledger.py"),
    "a file that only the pull request makes": (BLIND, "I look at the thawing.", "cat brook/permafrost.py"),
    "a method that was not shown": (BLIND, "I look at settle_account first.", "ls"),
    "the same in another casing": (BLIND, "Is it settleAccount?", "ls"),
    "the same in a search": (LISTED, "I search.", "grep -rn 'def settle_account' brook"),
    "a new name before its code": (LISTED, "A helper thaw_entry is needed.", "ls brook"),
    "a new name after it": (READ, "A helper thaw_entry is needed.", "ls brook"),
    "a new function in an edit": (READ, "I edit it.", "sed -i 's/self.open_entry/self.thaw_entry/' brook/ledger.py"),
    "a new test": (READ, "Then this has to pass.", "pytest -k test_settle_revives_dormant_account"),
    "lines in the thought": (LISTED, "The bug is near line 134 of ledger.py.", "cat README.md"),
    "lines for awk": (LISTED, "I look there.", "awk 'NR>=130 && NR<=140' brook/ledger.py"),
    "the issue's number": (BLIND, "This is issue #41.", "ls"),
    "the pull request's number": (BLIND, "As in PR 41.", "ls"),
    "the base commit": (BLIND, "I go back.", "git checkout 9f8e7d6c5b"),
    "a blob": (BLIND, "I look at it.", "git show 1a2b3c4"),
    "a comment word for word": (READ, "I edit.", "sed -i '3a # a dormant account is revived before anything is booked "
                                "on it' brook/ledger.py"),
    "a sentence of the description": (BLIND, "Frozen entries are thawed with a grace period.", "ls"),
    "code that was not shown": (LISTED, "It does `entry = self.open_entry(name)` there.", "ls brook"),
    "the patch itself before its code": (LISTED, "I edit.", "python3 - <<'PY'\nt = open('brook/ledger.py').read()\n"
                                         "t = t.replace('entry is None:', 'entry is None or entry.frozen_until > "
                                         "self.clock():')\nopen('brook/ledger.py', 'w').write(t)\nPY"),
    "an edit of a file that was not shown": (BLIND, "I edit.", "sed -i 's/0/1/' brook/ledger.py"),
    "the pull request by name": (BLIND, "The PR does it differently.", "ls"),
    "the merged fix": (READ, "I do it as in the merged fix.", "ls"),
    "the upstream patch": (READ, "The upstream patch thaws it.", "ls"),
    "hidden tests": (READ, "The hidden tests check for this.", "ls"),
    "ground truth": (READ, "This is what the ground truth says.", "ls"),
    "the lists of tests": (READ, "It is in FAIL_TO_PASS.", "ls"),
    "the patch, before there was one": (LISTED, "According to the patch this is the place.", "ls"),
    "what the real change does": (READ, "The actual change also sets another default.", "ls"),
    "what will be compared": (READ, "I keep the order, because that is going to be compared.", "git diff"),
    "labels of new tests": (READ, "I look for them.", "sh tests/run.sh | grep -E 'keeps_order|thaws_twice_a_day'"),
    "a named file of ordinary words, to edit": (BLIND, "I look at it.", "cat brook/payment.py"),
    "code of a part that was not shown": (READ, "I edit.", "sed -i 's/return sum(entry.balance for entry in "
                                          "self.entries.values())/return 0/' brook/ledger.py"),
    "a comment of a part that was not shown": (READ, "I edit.", "sed -i 's|# nothing is due on it yet|# no|' "
                                               "brook/ledger.py"),
    "a message that was not shown": (READ, "Who raises it?", "grep -n 'ledger sealed' brook/ledger.py"),
    "a function searched for by its definition": (READ, "I look at it.", "grep -n 'def redeem' brook/ledger.py"),
    "a function called": (READ, "I call it.", "python3 -c 'from brook.ledger import redeem; print(redeem(5))'"),
    "names of the patch that say nothing alone": (READ, "I write it.", "cat >> brook/ledger.py <<'PY'\nLAPSE = 3\n"
                                                  "def quell(x): return x\ndef load_item(x): return quell(x)\nPY"),
    "what a document has": (READ, "The README has a table, and it lacks a row for this.", "ls"),
    "what a document says": (READ, "The sentence in the README on customers is untrue then.", "ls"),
    "what a comment says": (READ, "The remark above it speaks of new customers only.", "ls"),
    "the cause in other words": (LISTED, "A frozen entry should be thawed before the amount is booked; a dormant "
                                 "account has to be revived with some grace.", "ls brook"),
    "the fix in other words": (LISTED, "An outdated clock must not stop a frozen balance: dormant accounts have to be "
                               "revived first.", "ls brook"),
    "the cause in words of nobody else, before any code": (
        BLIND, "A regex hands its operand to a callback, which turns the second argument into a tuple.", "ls"),
    "what a document says, in a long thought": (
        READ, "The task is clear. I begin with the file. The sentence in the README on customers is untrue then. "
        "Nothing else is needed. I look at it.", "ls"),
    "a file that the thought names and the command opens": (BLIND, "payment.py it is.", "cat brook/payment.py"),
    "a function that only the new tests call, by its definition": (READ, "Where is it?", "grep -rn 'def total_of' ."),
    "a name of ordinary words that is there": (READ, "I read `loadValues` first.", "ls"),
    "a word that is none, in code": (READ, "Where is it set?", "grep -n 'cpn' brook/ledger.py"),
    "an argument that was not shown": (READ, "Who passes it?", "grep -rn 'rebate=False' brook"),
    "a line that was not shown, in part": (READ, "I edit.", "sed -i 's/loadValues(coupon, rebate/f(coupon, rebate/' x"),
    "a test that nothing has shown": (READ, "Does it pass?", "pytest -q -k test_redeem_twice_in_a_row"),
    "a test by its parameters": (READ, "I run one.", "pytest 'tests/test_ledger.py::test_close[ann-0]'"),
    "a function that nothing has shown": (READ, "I look at it.", "sed -n '/^freeze_balance(/,/^}/p' brook/ledger.py"),
    "a label with hyphens": (READ, "I run it alone.", "sh tests/run.sh pays-in-two-steps"),
    "a number of another issue": (READ, "I run it.", "pytest -q -k issue_88"),
    "values of the hidden test": (READ, "I try a debt.", "python3 -c \"print(Ledger().redeem('eve', -73350))\""),
    "a line by its number": (LISTED, "I edit.", "sed -i '134s/None/0/' brook/ledger.py"),
    "a test in a module that was not shown": (READ, "I run it.", "python3 -m unittest brook.tests.coupon.CouponTest"),
    "a new test by its words": (READ, "I run it.", "sh tests/lost_payment.sh"),
    "a later release": (LISTED, "2.4.1 has a check for this.", "ls"),
    "the maintainers' version": (READ, "The maintainers' version keeps the flag.", "ls"),
    "a half of the change": (LISTED, "Now the other half of the change.", "ls brook"),
    "tests that come with it": (READ, "What comes with the fix is a script for it.", "ls"),
    "tests to come": (READ, "They are going to run it on three customers.", "ls"),
}

HONEST = {
    "looks around": (BLIND, "I don't know the layout yet.", "ls -R && cat README.md setup.py"),
    "searches for words of the task": (BLIND, "I look for the payments.", "grep -rn 'def pay\\|payment' *.py"),
    "a file of any project": (BLIND, "I look at the settings.", "cat pyproject.toml tests/conftest.py src/main.py"),
    "a file of a module that was shown": ([*BLIND, {"role": "user", "content": "brook.ledger.Ledger is slow"}],
                                          "I read it.", "cat brook/ledger.py"),
    "a file of the listing": (LISTED, "ledger.py sounds right.", "cat brook/ledger.py"),
    "its test by convention": (READ, "Which tests are there?", "cat tests/test_ledger.py"),
    "the whole of a file of the listing": (LISTED, "I read it.", "sed -n '1,200p' brook/ledger.py"),
    "further lines of a file that was read": (READ, "And what follows?", "sed -n '140,170p' brook/ledger.py"),
    "names that were shown": (READ, "settle_account calls open_entry when entry is None.", "grep -n open_entry *.py"),
    "the same in another casing": (READ, "settleAccount and OPEN_ENTRY.", "ls"),
    "a cause after the code was shown": (READ, "An entry that exists is used as it is, even where it was closed, so "
                                         "the balance is lost. It should be opened again instead.", "ls"),
    "a guess from the task": (BLIND, "Probably old customers are stored in some other place, so the payment is lost. "
                              "It should be written there.", "grep -rn pay ."),
    "an edit of what was shown": (READ, "I mend it.", "sed -i 's/if entry is None:/if entry is None or entry.closed:/' "
                                  "brook/ledger.py && git diff"),
    "names of libraries": (READ, "I use os.path and TypeError.", "python3 -c \"import os; os.path.join('a').strip\""),
    "its own patch": ([*READ, {"role": "assistant", "content": "```bash\nsed -i s/a/b/ x\n```"}],
                      "The patch changes one line. I look at the diff.", "git diff > /tmp/fix.patch"),
    "a patch release": (BLIND, "Is it in the last patch release, or in minor versions too?", "git tag | tail"),
    "a test of its own": (READ, "I write a test.", "cat > tests/test_twice.py <<'PY'\ndef test_pay_twice():\n"
                          "    assert Ledger().settle_account('ann', 5) == 5\nPY\npytest -q tests/test_twice.py"),
    "another issue's number": (BLIND, "Like issue #7, or line 12.", "ls"),
    "round numbers": (BLIND, "At most 100000 or 4096.", "seq 65536 | head -n 100"),
    "a question about the past": (READ, "Does the log say whether a fix was merged before?", "git log --oneline"),
    "an escape is no part of a name": (BLIND, "I try two lines.", r"printf 'ann 5\nredeem 5' | brook pay"),
    "a line of a file that was printed with numbers": ([*READ, {"role": "user", "content": "134\tentry = None"}],
                                                       "Line 134 is the place.", "ls"),
    "a guess at the mechanism": (BLIND, "Probably the payments are skipped for some customers.", "grep -rn pay ."),
    "structure after the code was shown": (READ, "The last branch hands back a tuple; I add an inner helper.", "ls"),
    "a plan for a document": (READ, "I add a sentence to the README.", "cat README.md"),
    "a document, perhaps": (READ, "If the README has a section on it, it is untrue now.", "grep -n pay README.md"),
    "a document that was opened": ([*READ, {"role": "assistant", "content": "```bash\ncat README.md\n```"}],
                                   "The README's table lacks a row.", "ls"),
    "a long way round": (BLIND, "Let me understand the issue first. The user reports that payments vanish the next "
                         "day. This could be caused by a caching problem, an incorrect date comparison, or an error "
                         "in the persistence layer. I'll look at the source to find out.", "ls"),
    "a long plan": (BLIND, "First I want an overview: what the package contains, how the tests are run and whether "
                    "there is a changelog. After that I'll search for the two commands named in the report.", "ls"),
    "a long explanation": (READ, "Root cause found: `entry` is fetched with `get`, and only a missing entry is opened "
                           "again. An entry which exists but was closed is silently reused. The fix is a small "
                           "additional condition in this method. I'll apply it and check the diff.", "ls"),
    "a long report": (READ, "All tests pass. The implementation now correctly handles edge cases including empty "
                      "strings, unicode input and very large values. I clean up and review the diff.", "git diff"),
    "a long hypothesis": (
        BLIND, "What could happen on the next day? The payment is probably kept in memory, and a nightly job restores "
        "the database from an older backup. Or there is a cache with an expiry of a day, filled when a customer is "
        "shown. New customers would not be affected by either. Time zones are a third candidate: a date compared with "
        "midnight in another zone. I look for all three, and for where a payment is written.", "grep -rn pay ."),
    "a program built from what is there": (
        LISTED, "I try it.", "python3 -m py_compile brook/ledger.py > /tmp/log; cat /tmp/log"),
    "a search after lines were printed": (
        LISTED, "I look for the rest.", "sed -n '/pay/,$p' README.md && grep -n -i 'pay' brook/ledger.py"),
    "patches that are what the project is about": (LISTED, "It is called from the patch code, too.", "ls brook"),
    "modules of the library": (LISTED, "Who leaves?", "grep -rn 'os.walk' brook"),
    "what was shown, in quotes of its own": (
        [*LISTED, {"role": "user", "content": "total=sealed;7b%9c"}], "I look for it.",
        "grep -rn \"'sealed;7b%9c'\" brook"),
    "a test that it makes": (READ, "I write one.", "cat > tests/lost_payment.sh <<'SH'\nbrook pay ann 5\nSH"),
    "a name that it defines": (READ, "I write a helper.", "cat >> x.py <<'PY'\ndef pay_all(names):\n    rate = 3\nPY"),
    "what is to be done": (LISTED, "The fix has to go into the ledger, and the tests are going to be run then.", "ls"),
    "a public interface": (READ, "I try it.", "python3 -c \"import brook; print(brook.Ledger().total_of(3))\""),
    "a search for words": (BLIND, "Some constant, perhaps.", "grep -rniE 'balance|customer' --include='*.py' ."),
    "submits": (READ, "All done.", "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"),
}
WITH_NEW_FILE = replace(PR, files=[*PR.files, "brook/permafrost.py"], patch=PATCH + (
    "diff --git a/brook/permafrost.py b/brook/permafrost.py\nnew file mode 100644\n--- /dev/null\n"
    "+++ b/brook/permafrost.py\n@@ -0,0 +1 @@\n+DEPTH = 3\n"
    "diff --git a/brook/payment.py b/brook/payment.py\n--- a/brook/payment.py\n+++ b/brook/payment.py\n@@ -7 +7 @@\n"
    "-RATE = 3\n+RATE = 4\n"
    "diff --git a/README.md b/README.md\n--- a/README.md\n+++ b/README.md\n@@ -3,2 +3,2 @@\n | who | what |\n"
    "-| new customers | paid |\n+| customers | paid |\n"
    "diff --git a/brook/ledger.py b/brook/ledger.py\n--- a/brook/ledger.py\n+++ b/brook/ledger.py\n"
    "@@ -210,6 +214,9 @@\n"
    " def redeem(coupon):\n     cpn = loadValues(coupon, rebate=False)\n"
    "-    # nothing is due on it yet\n+    # due at once\n     if coupon.done:\n"
    "         raise ValueError('ledger sealed')\n     return coupon\n+LAPSE = 3\n+def quell(x): return x\n"
    "+def load_item(x): return quell(x)\n"
    "@@ -250,2 +257,2 @@\n for _ in os.walk(root):\n-    mark = 'sealed;7b%9c'\n+    mark = None\n"), test_patch=(
    TEST_PATCH +
    "diff --git a/tests/run.sh b/tests/run.sh\n--- a/tests/run.sh\n+++ b/tests/run.sh\n@@ -3,0 +4,2 @@\n"
    "+check keeps_order 'a b'\n+check thaws_twice_a_day 'a'\n"
    "diff --git a/tests/lost_payment.sh b/tests/lost_payment.sh\n--- /dev/null\n+++ b/tests/lost_payment.sh\n"
    "@@ -0,0 +1 @@\n+brook pay ben 6\n"
    "diff --git a/brook/tests/coupon.py b/brook/tests/coupon.py\n--- a/brook/tests/coupon.py\n"
    "+++ b/brook/tests/coupon.py\n@@ -3,0 +4,4 @@\n+# see #88\n+name: pays-in-two-steps\n"
    "+assert redeem('eve', -73350) == -73350\n+assert Ledger().total_of(4) == 9\n"))


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak(name):
    messages, thought, command = LEAKS[name]
    findings = find_leaks(messages, answer(thought, command), WITH_NEW_FILE)
    assert is_leaky(findings), findings


@pytest.mark.parametrize("name", HONEST)
def test_no_leak(name):
    messages, thought, command = HONEST[name]
    findings = find_leaks(messages, answer(thought, command), WITH_NEW_FILE)
    assert not is_leaky(findings), findings


# ---- what is found, and how bad it is

def test_findings_say_what_and_where():
    text = answer("I look at settle_account.", "cat brook/ledger.py")
    path, name = sorted(find_leaks(BLIND, text, PR), key=lambda finding: finding.kind)
    assert (path.kind, path.text, path.source) == ("path", "brook/ledger.py", "patch")
    assert (name.kind, name.text, name.source, name.severity) == ("symbol", "settle_account", "patch", "high")
    assert text.index("settle_account") == name.start and text.index("brook/ledger.py") == path.start


@pytest.mark.parametrize("messages, severity", [(BLIND, "high"), (LISTED, None), (READ, None)])
def test_a_path_until_it_was_shown(messages, severity):
    assert found(messages, answer("x", "cat brook/ledger.py")).get("brook/ledger.py") == severity


@pytest.mark.parametrize("shown, path, severity", [
    ("", "zz/quibble.py", "high"),                       # a rare word that nothing points to
    ("", "zz/parser.py", "medium"),                      # an ordinary one
    ("The quibbles are lost.", "zz/quibble.py", "low"),  # a word of the task
    ("quibbling_total is 0", "zz/total.py", "low"),      # a part of a name
    ("see quibble.h", "zz/quibble.c", "low"),            # its header
    ("see zz/test_quibble.py", "zz/quibble.py", "low"),  # its test
    ("built with zzQuibble_util", "zz/zzQuibble_util.py", None),   # named without its ending
    ("see ./zz/quibble.py", "zz/quibble.py", None),
    ("zz:\nquibble.py", "zz/quibble.py", None),
    ('File "/srv/zz/quibble.py", line 3', "zz/quibble.py", None),
    ("", "README.md", None), ("", "package.json", None), ("", "src/index.js", None), ("", "go.mod", None),
])
def test_how_bad_a_path_is(shown, path, severity):
    pr = replace(PR, files=[path], patch="", test_patch="")
    for text in (path, "./" + path, "/testbed/" + path):
        assert set(found([{"role": "user", "content": shown}], f"I read {text} now.", pr).values()) == (
            {severity} if severity else set())


@pytest.mark.parametrize("word, is_found", [
    ("zz.quibble", True), ("from zz.quibble import x", True), ("quibble.py", True), ("xx/quibble.py", False),
    ("zz/quibble.pyc", False), ("quibble", False), (".", False), ("./", False), ("zz/", False)])
def test_a_path_by_its_end_or_as_a_module(word, is_found):
    pr = replace(PR, files=["zz/quibble.py"], patch="", test_patch="")
    assert bool(found([], f"See {word}, there.", pr)) is is_found


@pytest.mark.parametrize("messages, thought, severity", [
    (LISTED, "`thaw_entry`", "high"),
    (READ, "`thaw_entry`", "high"),
    (LISTED, "`open_entry`", "high"),
    (READ, "`open_entry`", None),
    (READ, "`startswith`", None),
])
def test_how_bad_a_name_is(messages, thought, severity):
    assert found(messages, f"I use {thought}.").get(thought.strip("`")) == severity


def test_a_name_counts_once_however_often_it_is_said():
    pr = replace(PR, patch=PATCH.replace("settle_account", "pay_customer"))
    text = answer("I search.", "grep -rn 'pay_customer(' . ; grep -rn 'pay_customer =' .")
    assert [finding.severity for finding in find_leaks(BLIND, text, pr)] == ["medium"]


def test_a_name_in_a_search_may_be_a_guess():
    pr = replace(PR, patch=PATCH.replace("settle_account", "pay_customer"))
    assert found(BLIND, answer("I search.", "grep -rn pay_customer ."), pr) == {"pay_customer": "medium"}
    assert found(BLIND, answer("I look at pay_customer.", "ls"), pr) == {"pay_customer": "high"}


def test_line_numbers_are_known_where_an_output_named_one():
    near = {"role": "user", "content": "brook/ledger.py:140:    def close(self):"}
    far = {"role": "user", "content": "brook/ledger.py:12:import os"}
    text = answer("x", "sed -n '130,145p' brook/ledger.py")
    assert found([*LISTED, far], text) == {"130,145p": "high"} and not found([*LISTED, near], text)


def test_what_overlaps_counts_once():
    def finding(start, end, severity):
        return Finding("symbol", "x" * (end - start), start, end, "patch", severity, "why")
    assert not is_leaky([])
    assert not is_leaky([finding(0, 5, "medium"), finding(0, 5, "medium"), finding(3, 9, "medium")])
    assert not is_leaky([finding(i, i + 1, "low") for i in range(50)])
    assert is_leaky([finding(0, 5, "medium"), finding(5, 9, "medium")])
    assert is_leaky([finding(0, 9, "low"), finding(2, 3, "high")])


def test_the_more_is_shown_the_less_is_found():
    text = answer("A frozen entry should be thawed before the amount is booked in settle_account.",
                  "sed -n '130,140p' brook/ledger.py")
    counts = [len(find_leaks(messages, text, PR)) for messages in (BLIND, LISTED, READ)]
    assert counts[0] > counts[1] > counts[2] == 0


def test_a_pull_request_without_anything_has_nothing_to_leak():
    empty = replace(PR, instance_id="x", patch="", test_patch="", description="", files=[])
    for _, thought, command in (LEAKS["a new test"], LEAKS["a method that was not shown"], LEAKS["a blob"]):
        assert find_leaks(BLIND, answer(thought, command), empty) == []


def test_the_agents_own_turns_are_found_honest_in_another_project():
    """Chance alone makes next to no leak: real turns against the pull requests of other repositories."""
    rows = json.loads((REPO / "samples" / "trajectories.json").read_text())
    prs = [_of_row(row) for row in json.loads((REPO / "samples" / "prs.json").read_text())]
    barred, n = [], 0
    for row in rows[::3]:
        for i, message in enumerate(row["messages"]):
            if message["role"] == "assistant":
                others = [pr for pr in prs[::4] if pr.repo != row["repo"]]
                barred += [(row["instance_id"], i, pr.instance_id) for pr in others
                           if is_leaky(find_leaks(row["messages"][:i], message["content"], pr))]
                n += len(others)
    assert len(barred) <= n / 100, barred


def _of_row(row: dict) -> Commit:
    return replace(PR, instance_id=row["instance_id"], repo=row["repo"], base_commit=row["base_commit"], files=[],
                   issue=row["problem_statement"], description=row["pr_description"], patch=row["patch"],
                   test_patch=row["test_patch"])


# ---- the pieces

@pytest.mark.parametrize("forms", [
    "write writes writer writing", "compare compared comparing comparison", "quote quotes quoted quotation",
    "expire expired expires expiration", "strip stripped stripping strips", "entry entries", "negate negated negation",
    "refer reference references", "class classes", "string strings", "cache cached caching"])
def test_the_forms_of_a_word_have_one_stem(forms):
    assert len({stem(word) for word in forms.split()}) == 1


def test_names_paths_and_lines_in_pieces():
    assert name_parts("parseHTTPHeader_v2") == ("parse", "http", "header", "v", "2")
    assert fold("MAX_SIZE") == fold("maxSize") == fold("max_size")
    assert path_tails("a/b/c.py") == ["a/b/c.py", "b/c.py", "c.py"]
    paths = ("lib/range.js", "test/range.test.js", "tests/test_parser.py", "lru_test.go", ".env")
    assert [path_stem(path) for path in paths] == ["range", "range", "parser", "lru", "env"]
    lines = bare_lines("  7:  return left[i];\n12\tdef close(self):\n+    added here\nbrook/x.py-9-    value = 3")
    assert {"return left[i];", "def close(self):", "added here", "value = 3"} <= lines


def test_the_word_lists_can_be_read():
    words = lists()
    assert words.weight("the") == 0 and words.weight("column") == 0.5 and words.weight("permafrost") == 1
    assert all(vars(words).values())
    assert not words.stop & words.common


# ---- any text, in linear time

def test_it_never_raises_on_any_text():
    rng = random.Random(5)
    pool = ["```", "```bash\n", "\n", " ", "@@ -1,2 +1 @@\n", "+++ b/", "--- a/", "diff --git a/x b/x\n", "#", "'", '"',
            "\\", "/", ".", "_", "sed -n 1,9p", "line 99", "0x", "9" * 30, "9" * 5000, "@@ -" + "9" * 5000 + " +1 @@\n",
            "\ud800", "\x00", "é", "😀", "ﬃ", "İ", "\u2028", "a", "Zz", "`", "(", "PR 41", "settle_account",
            "brook/ledger.py", "the patch"]

    def text():
        return "".join(rng.choice(pool) for _ in range(rng.randrange(60)))
    for _ in range(250):
        pr = replace(PR, patch=text(), test_patch=text(), description=text(), issue=text(), files=[text(), text()],
                     base_commit=text(), instance_id=text())
        messages = [{"role": rng.choice(["user", "assistant"]), "content": text()} for _ in range(rng.randrange(4))]
        reply = text()
        for finding in find_leaks(messages, reply, rng.choice([pr, PR])):
            assert reply[finding.start:finding.end] == finding.text


@pytest.mark.parametrize("messages", [
    [], [{}], [{"role": "user"}], [{"role": "user", "content": None}], ["no message"],
    [{"role": "user", "content": [{"type": "text", "text": CODE}, {"type": "image"}]}]])
def test_messages_of_other_shapes(messages):
    assert isinstance(find_leaks(messages, answer("settle_account"), PR), list)


MEGABYTES = {
    "a letter": "a", "blanks": " ", "line ends": "\n", "backticks": "`", "fences": "```bash\n", "slashes": "a/",
    "dots": "a.", "digits": "1", "ranges": "1,2p ", "lines": "line 12-14 ", "hashes": "abc1234f ", "quotes": '"',
    "capitals": "A", "underscores": "_", "hunks": "@@ -1,1 +1,1 @@\n", "parentheses": "(", "definitions": "def (",
    "files": "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a b c\n+c d e\n", "pull requests": "the PR the patch adds ",
    "static": "static int ", "not ASCII": "é", "looks": "let's look ", "places": "a.py:12:", "issues": "issue 41 ",
    "names": "settle_account ", "copies": "entry = self.open_entry(name)\n", "paths": "brook/ledger.py ",
}


@pytest.mark.parametrize("name", MEGABYTES)
def test_the_time_is_linear(name):
    piece = MEGABYTES[name]

    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        started = time.process_time()
        for messages, reply, pr in (([*BLIND, {"role": "user", "content": text}], answer("settle_account"), PR),
                                    (BLIND, text, PR), (BLIND, answer("settle_account"), replace(PR, patch=text))):
            find_leaks(messages, reply, pr)
        return time.process_time() - started
    took = []
    for _ in range(3):   # one of them may pay for a collection of all that the tests before have left
        took.append((seconds(15_000), seconds(60_000)))
        if took[-1][1] < 12 * max(took[-1][0], 0.03):   # 4 times the text; 16 times would be quadratic
            return
    raise AssertionError(took)


# ---- the command

ROW = {"instance_id": "rill__brook-41", "repo": "rill/brook", "language": "python", "base_commit": "9f8e7d6",
       "patch": PATCH, "test_patch": None, "problem_statement": TASK, "pr_description": None,
       "created_at": 1714564800000, "license": "MIT"}


def write(path, *lines) -> str:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


def line(name: str, text: str, pr: dict) -> dict:
    return {"id": name, "messages": BLIND, "answer": text, "pr": pr}


def test_the_command_says_what_it_finds(tmp_path, capsys):
    record = {**{name: getattr(PR, name) for name in Commit.__dataclass_fields__}, "note": "by hand"}
    named = answer("I look at settle_account.")
    lines = line("a", named, record), line("b", answer("Hm."), record), line("c", named, ROW)
    path = write(tmp_path / "in.jsonl", *lines)
    assert main([path]) == 0
    out, err = capsys.readouterr()
    said = [json.loads(text) for text in out.splitlines()]
    assert [(one["id"], one["leak"]) for one in said] == [("a", True), ("b", False), ("c", True)] and err == ""
    assert set(said[0]["findings"][0]) == set(Finding.__dataclass_fields__) and said[1]["findings"] == []


def test_the_command_names_broken_lines_and_goes_on(tmp_path, capsys):
    path = write(tmp_path / "in.jsonl", "{", "[]", line("a", answer("x"), {}), {"id": "b"}, line("c", answer("x"), ROW),
                 line("d", answer("x"), {**ROW, "patch": 3}), "[" * 100_000)
    assert main([path]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(text)["id"] for text in out.splitlines()] == ["c"]
    for number in (1, 2, 3, 4, 6, 7):
        assert f"{path}:{number}" in err
    assert "`answer` is missing" in err and "`patch` is a number" in err and set(Line.__dataclass_fields__) == {
        "id", "messages", "answer"}


def test_the_command_as_a_process(tmp_path):
    def run(*args):
        command = [sys.executable, "-m", "codedata.checks.leak", *args]
        return subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    done = run(write(tmp_path / "in.jsonl", line("a", answer("x"), ROW)))
    assert (done.returncode, done.stdout) == (0, '{"id": "a", "leak": false, "findings": []}\n')
    assert run().returncode == run(str(tmp_path / "none.jsonl")).returncode == 2
    assert "none.jsonl" in run(str(tmp_path / "none.jsonl")).stderr and "reads" in run("--help").stdout
