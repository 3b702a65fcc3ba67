"""Check that near-duplicates, and nothing less similar, are listed, on any machine."""
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO
from root import words as made_up_words

from codedata.checks.duplicates import (
    Duplicate,
    WordHashes,
    jaccard,
    near_duplicates,
    shingles,
    words,
)


def edited(draw: random.Random, text: str, share: float) -> str:
    """Return the text with about that share of its words changed, lost or doubled."""
    words = text.split(" ")
    for at in draw.sample(range(len(words)), round(share * len(words))):
        words[at] = draw.choice((f"new{at}", "", f"{words[at]} {words[at]}"))
    return " ".join(words)


def copies(n: int, length: int) -> list[tuple[str, str]]:
    """Return n texts, each followed by a copy with up to 2 % of its words changed."""
    draw = random.Random(length)
    out = []
    for i in range(n):
        text = made_up_words(f"{i} {length}", length)
        copy = edited(draw, text, draw.uniform(0, 0.02))
        out += [(f"text {i} of {length}", text), (f"copy {i} of {length}", copy)]
    return out


@pytest.mark.parametrize("threshold, surely", [(0.5, 0.55), (0.8, 0.85), (0.95, 0.97)])
def test_everything_as_similar_as_the_threshold_is_listed_and_nothing_else(threshold, surely):
    """Compare with every pair: similarities are exact, and nothing above the threshold is missed.
    """
    texts = [text for length in (8, 30, 120, 400) for text in copies(60, length)]
    listed = {duplicate.name: duplicate
              for duplicate in near_duplicates(texts, threshold=threshold)}
    hashes, kept, planted = WordHashes(), {}, 0
    for name, text in texts:
        own = shingles(text, hashes)
        best = max(((jaccard(own, other), kept_name) for kept_name, other in kept.items()),
                   default=(0, ""))
        if name in listed:
            assert (listed[name].similarity, listed[name].of) == best and best[0] >= threshold
        else:
            assert best[0] < surely, name
            kept[name] = own
        planted += best[0] >= surely
    assert planted >= 60 and len(listed) >= planted


def test_another_process_finds_the_same():
    program = ("from test_duplicates import copies\n"
               "from codedata.checks.duplicates import near_duplicates\n"
               "print(near_duplicates(copies(40, 60)))")
    path = os.pathsep.join(map(str, (REPO, REPO / "tests", Path(__file__).parent)))
    printed = {subprocess.check_output([sys.executable, "-c", program], text=True, env={
        **os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed}) for seed in "12"}
    assert printed == {f"{near_duplicates(copies(40, 60))}\n"}


def test_short_and_odd_texts():
    for one, other in (
        ("", ""), ("", " \n"), ("[1]", "[1]"), ("++", "++\n"),   # no words: as it stands
        ("fix the bug", "Fix the bug!"),                         # fewer than five: all
        # layout does not count
        ("it drops\n\n  x = loads(text)[0]\n", "It DROPS\tx=loads ( text ) [ 0 ];"),
        ("Größe ist falsch für Länge", "größe IST falsch für LÄNGE"),
        ("half \ud800 a char", "half \ud800 a char"),
        ("设置文件里的注释不见了", "设置文件里的注释不见了。"),   # a word each
    ):
        assert near_duplicates([("a", one), ("b", other)]) == [Duplicate("b", "a", 1.0)], one
    assert near_duplicates([]) == near_duplicates([("a", "x")]) == []
    for one, other in (
        ("", "x"), ("{}", "{ }"), ("++", "--"), ("fix the bug", "fix a bug"),
        ("ls -la src", "ls -la"),
        ("a b c d e", "a b c d f"), ("设置文件里的注释不见了", "设置文件里的注释都还在"),
        ("Größe ist falsch für Länge", "GRÖSSE ist falsch für LÄNGE"),   # ß stays
        ("İstanbul is a city", "i̇stanbul is a city"),
    ):
        assert near_duplicates([("a", one), ("b", other)]) == [], one


def test_words_are_the_same_whether_a_text_is_ascii_or_not():
    text = "Parser_2 drops x-y (a.b) in_3.\n"
    assert words(text + "é") == [*words(text), "é"] == ["parser_2", "drops", "x", "y", "a", "b",
                                                        "in_3", "é"]


def test_a_million_hashes_are_forgotten_and_found_again():
    hashes = WordHashes()
    first = hashes.of(["again", "x" * 100])
    assert list(hashes) == ["again"]   # what is long does not come again
    hashes.update(dict.fromkeys(map(str, range(1 << 20)), 0))
    assert (hashes.of(["again", "x" * 100]) == first).all()
    assert (hashes.of(["new", "again"])[1] == first[0])
    assert len(hashes) < 10
