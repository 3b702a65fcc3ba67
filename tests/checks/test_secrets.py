"""Check that secrets of every shape are found, look-alikes are left alone, and time is linear.

No key stands in this file or in secret_cases.toml: the tests draw them.
"""
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from itertools import product

import pytest
from line_tables import toml_beside

from codedata.checks.secrets import CREDENTIALS, Secret, find_secrets, is_random, mask

FILE = toml_beside(__file__, "secret_cases.toml")
ALPHABETS, CASES = FILE["alphabets"], FILE["cases"]


def drawn(template: str) -> str:
    """Return a template with random characters in place of each <alphabet length>."""
    draw = random.Random(f"0 {template}")
    return re.sub(r"<(\w+) (\d+)>", lambda hole: "".join(
        draw.choices(ALPHABETS[hole[1]], k=int(hole[2]))), template)


GITHUB = drawn("ghp_<base62 36>")
VALUE = drawn("<base62 32>")
SLOW = [*map(drawn, CASES["slow"]), "-----BEGIN " + "PRIVATE KEY-----" + "\n" * 5000,
        "x@" + "a." * 99]


def planted() -> Iterator[tuple[str, list[str], str]]:
    """Yield (kind, lines that must be masked, text) for each secret in each place."""
    for case, around in product(CASES["named"], CASES["surroundings"]):
        secret = drawn(case["value"])
        yield case["kind"], [secret], around.replace("{}", secret)
    for case in CASES["placed"]:
        secret = drawn(case["value"])
        yield case["kind"], secret.split("\n"), drawn(case["text"]).replace("@", secret, 1)
    for name, n_lines, (before, between, after) in product(
            CASES["private_keys"], (3, 26), CASES["forms_of_private_keys"]):
        lines = drawn("\n".join(["<base64 64>"] * n_lines)).split("\n")
        begin, end = (f"-----{word} {name}-----" for word in ("BEGIN", "END"))
        yield "private key", lines, before + between.join([begin, *lines, end]) + after


def test_every_shape_is_found_wherever_it_stands():
    cases = list(planted())
    assert len({kind for kind, *_ in cases}) >= 34 and len(CREDENTIALS) >= 60
    for kind, parts, text in cases:
        masked, counts = mask(text)
        assert kind in counts and not any(part in masked for part in parts), (text, masked)
        assert mask(masked) == (masked, Counter()), text


def test_what_only_looks_like_a_secret_is_left_alone():
    texts = list(map(drawn, CASES["harmless"]))
    assert [text for text in texts if mask(text) != (text, Counter())] == []


def test_the_other_text_is_untouched_and_the_places_are_right():
    text = f"å before\t{GITHUB}\r\nbetween \x00 {GITHUB};after\n"
    assert find_secrets(text) == [Secret("GitHub token", 9, 49), Secret("GitHub token", 61, 101)]
    assert mask(text) == (
        "å before\t[masked: GitHub token]\r\nbetween \x00 [masked: GitHub token];after\n",
        {"GitHub token": 2})


@pytest.mark.parametrize("text, masked", CASES["exact"])
def test_exactly_the_secret_is_masked(text, masked):
    assert mask(text.format(**globals()))[0] == masked.format(**globals())


def test_what_looks_random():
    assert all(map(is_random, map(drawn, ("<base62 24>", "<hex 32>"))))
    words = ("0" * 32, "ab" * 16, "correct-horse-battery-staple", "abcdefghijklmnop",
             "AutoModelForConditionalGeneration", "getUserTokenByIdV2", "YOUR_API_KEY_HERE_123",
             "${API_KEY_1}", "snake_case_2")
    assert not [value for value in words if is_random(value)]


SHORT = r"""sk- ghp_ eyJ . \n = : " password token api_key @ :// a A1b2C3d4 é İ 93.1.2.3
            AccountKey= sig= & ] [ , :AA gmail.com Zq8xV2nM4kLp0RtY7wUe + - … 0 (
            mira.holub@posteo.de -----END"""
FRAGMENTS = [*SHORT.split(), "-----BEGIN ", "PRIVATE KEY-----", "\n", " ", "\t", "Bearer ",
             "Basic ", "+49 30 ", "client: ", "[masked: x]", GITHUB]


def test_masking_twice_changes_nothing_and_takes_nothing_else():
    draw = random.Random(7)
    for _ in range(400):
        text = "".join(draw.choices(FRAGMENTS, k=draw.randrange(120)))
        masked, counts = mask(text)
        assert mask(masked) == (masked, Counter()) and bool(counts) == (masked != text)
        # a fragment looks like a mask: it is cut out of both
        kept = re.split(r"\[masked: [^]]*\]", masked)
        position = 0
        for part in kept:
            position = text.index(part, position) + len(part)


@pytest.mark.long
@pytest.mark.parametrize("piece", SLOW, ids=lambda piece: repr(piece[:20]))
def test_time_is_linear_whatever_the_text(piece):
    text = (piece * (1_000_000 // len(piece) + 1))[:1_000_000]
    before = time.thread_time()
    mask(text)
    # 0.2 to 1 s, more on a busy machine; quadratic, it is hours
    assert time.thread_time() - before < 20
