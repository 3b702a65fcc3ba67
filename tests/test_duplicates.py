"""Near-duplicates: what is listed is as similar as it says, and what is as similar is listed, on any machine."""
from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest
from conftest import REPO

from codedata.checks.duplicates import Duplicate, WordHashes, jaccard, near_duplicates, shingles, words

pytest.importorskip("rensa", reason="near-duplicates need rensa: pip install 'rensa>=0.5'")

WORDS = [f"{one}{other}" for one in ("par", "tok", "buf", "cach", "ind", "off", "str", "mod", "val", "err")
         for other in ("ser", "en", "fer", "ing", "ex", "set", "eam", "ule", "ue", "or")]


def text_of(draw: random.Random, n: int) -> str:
    return " ".join(draw.choices(WORDS, k=n))


def similarity(one: str, other: str) -> float:
    hashes = WordHashes()
    return jaccard(shingles(one, hashes), shingles(other, hashes))


def copies(draw: random.Random, n: int, length: int) -> list[tuple[str, str]]:
    """n texts, each followed by a copy with some words changed or its end cut off."""
    out = []
    for i in range(n):
        found = text_of(draw, length).split()
        copy = [word if draw.random() > 0.03 * draw.random() else "changed" for word in found]
        cut = copy[:draw.randrange(length * 3 // 4, length)] if draw.random() < 0.3 else copy
        out += [(f"text {i} of {length}", " ".join(found)), (f"copy {i} of {length}", " ".join(cut))]
    return out


def test_the_first_of_a_group_is_kept_and_every_other_one_names_it():
    draw = random.Random(1)
    one, other = text_of(draw, 200), text_of(draw, 200)
    texts = [("a", one), ("b", other), ("c", one + " more"), ("d", other), ("e", one)]
    found = near_duplicates(texts)
    assert found == [Duplicate("c", "a", 196 / 197), Duplicate("d", "b", 1.0), Duplicate("e", "a", 1.0)]
    assert near_duplicates(iter(texts)) == found


def test_layout_case_and_punctuation_do_not_count():
    text = "The parser drops a value, if the line has a mark in it.\n\n    value = loads(text)[0]\n"
    other = "the parser drops a value\tif the LINE has a mark in it value=loads ( text ) [ 0 ];"
    assert near_duplicates([("a", text), ("b", other)]) == [Duplicate("b", "a", 1.0)]


def test_of_several_kept_ones_the_most_similar_is_named():
    found = text_of(random.Random(2), 400).split()
    far, near = found[:340], found[:399] + [f"more{i}" for i in range(60)]
    texts = [("far", " ".join(far)), ("near", " ".join(near)), ("text", " ".join(found))]
    assert near_duplicates(texts) == [Duplicate("text", "near", 395 / 456)]   # far: 336 / 396, and 336 / 455 with near


def test_what_is_left_out_is_not_compared_with():
    """c is like b and not like a: it stays, or one text after the other would go."""
    found = text_of(random.Random(3), 300).split()
    texts = [("a", " ".join(found[:240])), ("b", " ".join(found[:282])), ("c", " ".join(found[20:300]))]
    assert similarity(texts[0][1], texts[1][1]) >= 0.8 and similarity(texts[1][1], texts[2][1]) >= 0.8
    assert [d.name for d in near_duplicates(texts)] == ["b"]


def test_texts_like_those_of_an_earlier_set_are_listed_and_that_set_is_not():
    draw = random.Random(4)
    one, other, third = (text_of(draw, 100) for _ in range(3))
    found = near_duplicates([("new", one), ("own", other)], against=[("old", one), ("old again", one), ("x", third)])
    assert found == [Duplicate("new", "old", 1.0)]


@pytest.mark.parametrize("threshold, surely", [(0.5, 0.55), (0.8, 0.85), (0.95, 0.97)])
def test_everything_as_similar_as_the_threshold_is_listed_and_nothing_else(threshold, surely):
    """Against every pair compared: what is listed is exact, and nothing surely above the threshold is missed."""
    texts = [text for length in (8, 30, 120, 400) for text in copies(random.Random(length), 60, length)]
    listed = {duplicate.name: duplicate for duplicate in near_duplicates(texts, threshold=threshold)}
    hashes, kept, planted = WordHashes(), {}, 0
    for name, text in texts:
        own = shingles(text, hashes)
        best = max(((jaccard(own, other), kept_name) for kept_name, other in kept.items()), default=(0, ""))
        if name in listed:
            assert (listed[name].similarity, listed[name].of) == best and best[0] >= threshold
        else:
            assert best[0] < surely, name
            kept[name] = own
        planted += best[0] >= surely
    assert planted >= 60 and len(listed) >= planted


def test_another_process_finds_the_same():
    program = ("import random\nfrom tests.test_duplicates import copies\n"
               "from codedata.checks.duplicates import near_duplicates\n"
               "print(near_duplicates(copies(random.Random(5), 40, 60)))")
    printed = {subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                              env={**os.environ, "PYTHONHASHSEED": seed,
                                   "PYTHONPATH": os.pathsep.join(map(str, (REPO, REPO / "tests")))}).stdout
               for seed in ("1", "2")}
    assert len(printed) == 1 and printed == {f"{near_duplicates(copies(random.Random(5), 40, 60))}\n"}


@pytest.mark.parametrize("one, other, alike", [
    ("", "", True), ("", " \n", True), ("", "x", False),
    ("{}", "{ }", False), ("[1]", "[1]", True), ("++", "++\n", True), ("++", "--", False),   # no words: as it stands
    ("fix the bug", "Fix the bug!", True), ("fix the bug", "fix a bug", False),              # fewer than five: all
    ("ls -la src", "ls -la", False), ("a b c d e", "a b c d f", False),
    ("Größe ist falsch für Länge", "GRÖSSE ist falsch für LÄNGE", False),   # ß stays
    ("Größe ist falsch für Länge", "größe IST falsch für LÄNGE", True),
    ("设置文件里的注释不见了", "设置文件里的注释不见了。", True),   # a word each
    ("设置文件里的注释不见了", "设置文件里的注释都还在", False),
    ("half a \ud800 character", "half a \ud800 character", True), ("İstanbul is a city", "i̇stanbul is a city", False),
])
def test_short_and_odd_texts(one, other, alike):
    assert near_duplicates([("a", one), ("b", other)]) == ([Duplicate("b", "a", 1.0)] if alike else [])


def test_words_are_the_same_whether_a_text_is_ascii_or_not():
    text = "Parser_2 drops x-y (a.b) in_3.\n"
    assert words(text + "é") == [*words(text), "é"] == ["parser_2", "drops", "x", "y", "a", "b", "in_3", "é"]


def test_nothing_and_one_text():
    assert near_duplicates([]) == near_duplicates([("a", "x")]) == near_duplicates([], against=[("a", "x")]) == []


@pytest.mark.parametrize("threshold", [0, -1, 1.01, 80])
def test_a_threshold_that_makes_no_sense_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold is"):
        near_duplicates([], threshold=threshold)


def test_a_million_hashes_are_forgotten_and_found_again():
    hashes = WordHashes()
    first = hashes.of(["again", "x" * 100])
    assert list(hashes) == ["again"]   # what is long does not come again
    hashes.update(dict.fromkeys(map(str, range(1 << 20)), 0))
    assert (hashes.of(["again", "x" * 100]) == first).all() and (hashes.of(["new", "again"])[1] == first[0])
    assert len(hashes) < 10


def test_without_rensa_the_extra_is_named(tmp_path):
    (tmp_path / "rensa.py").write_text("raise ImportError('no rensa here')")
    program = ("from codedata.checks.duplicates import near_duplicates\nfrom codedata.errors import Trouble\n"
               "try:\n    near_duplicates([])\nexcept Trouble as e:\n    print(e)")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPO)])})
    assert "codedata[checks]" in done.stdout and not done.stderr
