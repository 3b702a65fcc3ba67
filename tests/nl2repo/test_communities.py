"""Test which functions belong together, and which candidates are drawn."""
import os
import subprocess
import sys
from collections import Counter

from conftest import REPO
from stripped import a_coverage, sources_with

from codedata.nl2repo.communities import communities, draw, sets_of, with_calls
from codedata.nl2repo.strip import Strippable

BODY = "    return len([x, x])\n"
NAMES = [f"{team}{i}" for team in "abcd" for i in range(6)]
TEXT = "".join(f"def {name}(x):\n{BODY}" for name in [*NAMES, "hub"]).encode()
# three tests reach each neighbourhood of four, and all reach the hub
TESTS = {f"{team}{i}{k}": ["hub", *(f"{team}{(i + j) % 6}" for j in range(4))]
         for team in "abcd" for i in range(6) for k in range(3)}


def found_with(tests=TESTS, text=TEXT, **files):
    sources = sources_with(text, **files)
    coverage = a_coverage(sources, tests=tests)
    strippable = Strippable(sources, coverage)
    return strippable, sets_of(strippable, coverage)


def teams(found: list[list[str]]) -> list[str]:
    return ["".join(sorted({id.partition("::")[2][0] for id in some})) for some in found]


def test_what_the_same_tests_reach_belongs_together_and_what_most_reach_to_nothing():
    strippable, sets = found_with()
    found = communities(sets, 40)
    assert teams(found) == ["a", "b", "c", "d"] and [len(some) for some in found] == [6] * 4
    assert "m.py::hub" in strippable.ids
    assert sum(sets.values()) == len(TESTS) and len(sets) == 24   # tests of one set are one


def test_functions_that_call_each_other_belong_together_without_a_common_test():
    places = "m.py::a", "n.py::b"
    sets = Counter((f"{place}{i}",) for place in places for i in range(4))
    assert len(communities(sets, 40)) == 8
    edges = [{"caller": f"{place}{i}", "callee": f"{place}{k}", "certainty": "resolved"}
             for place in places for i in range(4) for k in range(i)]
    guessed = [{"caller": "m.py::a0", "callee": "n.py::b3", "certainty": "guessed"}] * 9
    assert teams(communities(with_calls(sets, edges + guessed), 40)) == ["a", "b"]


def test_a_large_community_is_divided_again_or_cut():
    _, sets = found_with()
    assert max(map(len, communities(sets, 4))) <= 4
    everything = Counter({("a", "b", "c", "d", "e"): 3})
    assert communities(everything, 2) == [["a", "b"], ["c", "d"], ["e"]]


def test_equal_input_and_seed_give_equal_communities_whatever_the_order_of_sets_is():
    code = ("import sys; sys.path[:0] = ['tests', 'tests/nl2repo', '.']\n"
            "from test_communities import communities, found_with\n"
            "print(communities(found_with()[1], 3))")
    shown = {subprocess.run([sys.executable, "-c", code], cwd=REPO, text=True, check=True,
                            capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed}).stdout
             for seed in "123"}
    assert len(shown) == 1 and "m.py::a0" in shown.pop()


def test_drawn_are_all_groups_and_single_functions_of_all_ranks_each_set_once():
    strippable, sets = found_with(n=b"def only(x):\n    return len([x])\n",
                                  tests={**TESTS, "only": ["only"]})
    found = communities(sets, 40)
    drawn = draw(strippable, found, 400, seed=0)
    kinds = Counter(one["kind"] for one in drawn)
    assert kinds == {"package": 1, "module": 1, "community": 4, "function": 26}
    assert len({tuple(one["functions"]) for one in drawn}) == len(drawn)
    few = draw(strippable, found, 10, seed=0)
    assert few == drawn[:10]
    one_module = draw(found_with()[0], found, 5, seed=0)   # which is the package
    assert [one["kind"] for one in one_module] == ["package", *["community"] * 4]
    assert draw(strippable, found, 10, seed=1) != few


def test_functions_with_many_branches_are_drawn_first_most_of_the_time():
    twisty = b"def twisty(x):\n" + b"    if x: x += 1\n" * 99
    strippable, _ = found_with(n=twisty, tests={name: [name] for name in [*NAMES, "twisty"]})
    singles = [[one["functions"][0] for one in draw(strippable, [], 400, seed)
                if one["kind"] == "function"] for seed in range(20)]
    assert sum(ids[0] == "n.py::twisty" for ids in singles) > 10
    assert all(len(ids) == 25 for ids in singles)   # without hub, which no test runs here
