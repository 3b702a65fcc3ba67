"""Secrets: every shape in every surrounding is found, what only looks like one is left alone, and time is linear.

No key stands in this file: benchmarks/planted.py draws them.
"""
from __future__ import annotations

import random
import re
import sys
import sysconfig
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import REPO

from codedata.checks.secrets import NAMED, Secret, find_secrets, is_random, mask

sys.path.insert(0, str(REPO / "benchmarks"))

import planted
from planted import BASE62, HARD, HEX, Draw

EVERY = list(planted.every(Draw(1)))
HARMLESS = planted.harmless(Draw(2))
GITHUB = "ghp" + "_" + Draw(3).of(BASE62, 36)


@pytest.mark.parametrize("shape", dict.fromkeys(shape.partition(", in ")[0] for shape, *_ in EVERY))
def test_every_shape_is_found_wherever_it_stands(shape):
    for kind, must_go, text in (rest for name, *rest in EVERY if name.partition(", in ")[0] == shape):
        masked, counts = mask(text)
        assert kind in counts, text
        assert not [part for part in must_go if part in masked], masked
        assert mask(masked) == (masked, Counter())


def test_there_are_many_shapes():
    assert len({kind for _, kind, *_ in EVERY}) >= 35 and len(NAMED) >= 30


def test_few_of_many_draws_are_missed():
    """A password of 20 letters without a digit is none; what begins like a key is found whatever it is."""
    drawn = [one for seed in range(10, 16) for one in planted.every(Draw(seed))]
    missed = [shape for shape, _, must_go, text in drawn if any(part in mask(text)[0] for part in must_go)]
    assert len(missed) <= len(drawn) / 500, missed


@pytest.mark.parametrize("shape", HARMLESS)
def test_what_only_looks_like_a_secret_is_left_alone(shape):
    assert mask(HARMLESS[shape]) == (HARMLESS[shape], Counter())


def test_the_other_text_is_untouched_and_the_places_are_right():
    text = f"å before\t{GITHUB}\r\nbetween \x00 {GITHUB};after\n"
    assert find_secrets(text) == [Secret("GitHub token", 9, 49), Secret("GitHub token", 61, 101)]
    assert [text[s.start:s.end] for s in find_secrets(text)] == [GITHUB, GITHUB]
    masked, counts = mask(text)
    assert masked == "å before\t[masked: GitHub token]\r\nbetween \x00 [masked: GitHub token];after\n"
    assert counts == {"GitHub token": 2}


def test_the_name_of_an_assignment_stays_and_its_own_shape_names_the_secret():
    assert mask(f'api_key = "{GITHUB}"')[0] == 'api_key = "[masked: GitHub token]"'
    value = Draw(4).of(BASE62, 32)
    assert mask(f'headers = {{"X-Api-Key": "{value}"}}')[0] == 'headers = {"X-Api-Key": "[masked: API key]"}'
    assert mask(f"postgres://app:{value}@db-1.somewhere-else.dev/x")[0] == (
        "postgres://app:[masked: password in a URL]@db-1.somewhere-else.dev/x")


def test_a_text_that_grows_longer_in_lower_case_keeps_its_places():
    value = Draw(5).of(BASE62, 32)   # İ has two characters in lower case
    assert mask(f'İİİ PASSWORD = "{value}" İ')[0] == 'İİİ PASSWORD = "[masked: password]" İ'


def test_the_letters_of_a_written_out_line_break_are_no_part_of_a_key():
    assert mask(rf'{{"out": "a\n{GITHUB}\nb"}}')[0] == r'{"out": "a\n[masked: GitHub token]\nb"}'
    assert mask(f"xn{GITHUB}")[0] == f"xn{GITHUB}"


@pytest.mark.parametrize("value, random_looking", [
    (Draw(6).of(BASE62, 24), True), (Draw(6).of(HEX, 32), True), ("0" * 32, False), ("ab" * 16, False),
    ("correct-horse-battery-staple", False), ("AutoModelForConditionalGeneration", False), ("abcdefghijklmnop", False),
    ("getUserTokenByIdV2", False), ("YOUR_API_KEY_HERE_123", False), ("${API_KEY_1}", False), ("snake_case_2", False),
])
def test_what_looks_random(value, random_looking):
    assert is_random(value) is random_looking


FRAGMENTS = ["sk-", "gh" + "p_", "eyJ", ".", "-----BEGIN ", "PRIVATE KEY-----", "-----END ", "\\n", "\n", " ", "=", ":",
             '"', "password", "token", "api_key", "Bearer ", "Basic ", "@", "://", "a", "A1b2C3d4", "é", "İ", "+49 ",
             "30 ", "93.1.2.3", "client: ", "AccountKey=", "sig=", "&", "[masked: x]", "]", "[", ",", ":AA",
             "gmail.com", "Zq8xV2nM4kLp0RtY7wUe", "\t", "+", "-", "…", "0", "(", GITHUB, "mira.holub@posteo.de"]


def test_masking_twice_changes_nothing_and_takes_nothing_else():
    draw = random.Random(7)
    for _ in range(400):
        text = "".join(draw.choices(FRAGMENTS, k=draw.randrange(120)))
        masked, counts = mask(text)
        assert mask(masked) == (masked, Counter())
        kept = re.split(r"\[masked: [^]]*\]", masked)   # a fragment looks like a mask: it is cut out of both
        position = 0
        for part in (piece for piece in kept if piece):
            position = text.index(part, position) + len(part)
        assert bool(counts) == (masked != text)


@pytest.mark.parametrize("piece", HARD, ids=lambda piece: repr(piece[:20]))
def test_time_is_linear_whatever_the_text(piece):
    text = (piece * (250_000 // len(piece) + 1))[:250_000]
    before = time.thread_time()
    mask(text)
    assert time.thread_time() - before < 5   # 0.2 to 1 s, more on a busy machine; quadratic, it is minutes


def test_the_standard_library_holds_no_credentials():
    """Only addresses of persons: no rule takes code for a key."""
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")) + sorted((REPO / "codedata").rglob("*.py"))
    counts = sum((mask(path.read_text(encoding="utf-8", errors="replace"))[1] for path in paths), Counter())
    assert len(paths) > 150 and set(counts) == {"e-mail address"}


def test_the_samples_hold_nothing_to_mask():
    for path in (REPO / "samples").glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert mask(text) == (text, Counter())


def test_no_file_here_holds_a_key():
    """Secret scanners of code hosts would stop the push."""
    for path in (Path(__file__), REPO / "benchmarks" / "planted.py", REPO / "codedata" / "checks" / "secrets.py"):
        assert set(mask(path.read_text(encoding="utf-8"))[1]) <= {"e-mail address", "IP address", "phone number"}
