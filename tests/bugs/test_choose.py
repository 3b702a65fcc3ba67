"""Test what scale chooses: within the caps, in one order, and never less than what is proven."""
import random
from collections import Counter

import pytest
from conftest import edit
from proven import write_bug
from scaled import a_candidate, a_verdict, id_of, write_judged

from codedata.bugs.choose import (
    MAX_PER_OPERATOR,
    MAX_PER_SYMBOL,
    STAGE,
    GoodCandidate,
    choose,
    chosen_in,
)
from codedata.records import BUG
from codedata.settings import BugSettings
from codedata.tasks.stages import Maker

WIDE = BugSettings(max_instances=1000, max_per_failing_set=1000)


def a_good(n: int, operator: str = "negated", **more) -> GoodCandidate:
    fields = {"place": f"a.py::f{n}", "failing": str(n), "n_failing": 1, "digests": {},
              **more}
    return GoodCandidate(f"heron.{operator}.{n:08x}", "heron", operator, **fields)


def many(seed: int, n: int = 80, n_groups: int = 5) -> list[GoodCandidate]:
    draw = random.Random(seed)
    return [a_good(i, draw.choice("abcd"), place=f"f{draw.randrange(n_groups)}",
                   failing=str(draw.randrange(n_groups)), n_failing=draw.randint(1, 9))
            for i in range(n)]


CAPPED = BugSettings(max_instances=14, max_per_failing_set=4)


def chosen(found, bug=CAPPED, kept=()) -> list[str]:
    return [good.name for good in choose(found, bug, kept)]


def view_of(root, bug=WIDE):
    return chosen_in(root, bug).store.open()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n, n_groups, most", [(80, 5, 14), (80, 5, 1000), (400, 40, 1000)])
def test_no_cap_is_exceeded_and_whoever_is_left_out_would_exceed_one(seed, n, n_groups, most):
    found = many(seed, n, n_groups)
    taken = choose(found, BugSettings(max_instances=most, max_per_failing_set=4), ())
    caps = MAX_PER_SYMBOL, MAX_PER_OPERATOR, 4
    counts = [Counter(getattr(good, key) for good in taken)
              for key in ("place", "operator", "failing")]
    assert all(max(count.values()) <= cap for count, cap in zip(counts, caps, strict=True))
    assert 1 < len(taken) <= most
    for good in found:
        groups = good.place, good.operator, good.failing
        full = len(taken) == most or any(
            count[group] == cap for count, group, cap in zip(counts, groups, caps, strict=True))
        assert good in taken or full


def test_the_order_is_not_that_of_the_files():
    found = many(1)
    assert chosen(found) == chosen(found[::-1]) == chosen([*found, *found])


def test_operators_take_turns_and_few_failing_tests_come_first_but_one_alone_last():
    found = [a_good(1, "a", n_failing=9), a_good(2, "a"), a_good(3, "b"),
             a_good(4, "c", n_failing=11), a_good(5, "a", n_failing=3),
             a_good(6, "d", n_failing=11)]
    names = [name[6:] for name in chosen(found, WIDE)]
    assert {*names[:2]} == {"a.00000005", "b.00000003"}
    assert names[2:4] == ["a.00000001", "a.00000002"]


def test_a_function_has_one_bug_while_others_are_left():
    found = [a_good(n, "a" * (n % 3 + 1), place="ffffggghh"[n], failing="0") for n in range(9)]
    for kept in [(), *({good.name} for good in found)]:
        places = [good.place for good in choose(found, WIDE, kept)]
        assert {*places[:3]} == {*places[3:6]} == {*"fgh"}
        assert {*places[6:]} == {*"fg"} and len(places) == 8 == 2 + 2 * MAX_PER_SYMBOL
    same = [a_good(n, place="fgfg"[n], failing="0012"[n]) for n in range(4)]
    two = BugSettings(**{**vars(WIDE), "max_instances": 2, "max_per_failing_set": 1})
    assert {good.place for good in choose(same, two, ())} == {*"fg"}


def test_bugs_of_a_function_whose_tests_let_others_pass_come_last(tmp_path):
    weak, other, *survivors = (a_candidate(f"{n} - depth", symbol=f"heron.py::{name}")
                               for n, name in enumerate("wowww"))
    write_judged(tmp_path, "heron.1", [weak, other])
    write_judged(tmp_path, "heron.2", survivors, [a_verdict(one, verdict="survives")
                                                  for one in survivors])
    assert [*view_of(tmp_path).names()] == [id_of(other), id_of(weak)]


@pytest.mark.parametrize("seed", range(60))
def test_a_run_that_was_cut_short_comes_to_the_same_choice(seed):
    found = many(seed)
    whole = chosen(found)
    kept = {name for name in whole if random.Random(f"{seed} {name}").random() < 0.4}
    assert {*chosen(found, kept=kept)} == {*whole}


def test_what_is_on_disk_stays_whatever_comes_and_whatever_the_caps():
    first = many(2)
    kept = {*chosen(first)}
    more = [*first, *(a_good(1000 + i, operator) for i, operator in enumerate("aeiou" * 9))]
    assert kept <= {*chosen(more, kept=kept)}
    strict = BugSettings(**{**vars(CAPPED), "max_instances": 3})
    assert {*chosen(more, strict, kept)} == kept


def test_of_one_change_one_is_taken_and_none_that_an_agents_bug_is(tmp_path):
    same, own, agents = (a_candidate(f"{n} * depth") for n in (3, 4, 5))
    twice = {**same, "operator": "constant", "diff": same["diff"].replace("-1,2", "-9,2")}
    write_judged(tmp_path, "heron.1", [same, own])
    write_judged(tmp_path, "heron.2", [twice, agents])
    change = id_of(agents)[-8:]
    write_bug(tmp_path, f"heron.agent-1.{change}")
    write_bug(tmp_path, f"crane.agent-1.{id_of(own)[-8:]}")   # a bug of another repository
    names = [*view_of(tmp_path).names()]
    assert len(names) == 2 and id_of(own) in names
    assert len({id_of(same), id_of(twice)} & {*names}) == 1


def test_the_view_takes_good_verdicts_on_what_stands_there(tmp_path):
    good, edited, bad, new = (a_candidate(f"depth - {n}") for n in range(4))
    verdicts = [a_verdict(good), a_verdict(edited), a_verdict(bad, verdict="survives")]
    write_judged(tmp_path, "heron.1", [good, {**edited, "diff": edited["diff"] + "\n"}, bad, new],
                 verdicts)
    view = view_of(tmp_path)
    assert [*view.names()] == [id_of(good)]
    record = view.read(id_of(good))
    assert (record.instance_id, record.change) == ("heron", good["diff"])
    facts = view.facts(id_of(good))
    assert facts.digests["change"] == a_verdict(good)["diff"]
    assert not view.covers(id_of(edited))


@pytest.mark.parametrize("name", ["../../x.off-by-one.0123abcd", "crane.off-by-one.0123abcd",
                                  "heron.negated.0123abcd"])
def test_a_verdict_with_a_name_that_is_not_its_own_is_broken(tmp_path, name):
    one = a_candidate("depth")
    write_judged(tmp_path, "heron.1", [one], [a_verdict(one) | {"instance_id": name}])
    view = view_of(tmp_path)
    assert not view.names() and "wrong instance id" in str(view.broken[0])
    assert view.covers(id_of(one)) and not view.covers("crane.x.0123abcd")   # it may be there


def test_what_the_proof_has_refused_keeps_its_place(tmp_path):
    several = [a_candidate(f"depth - {n}") for n in range(6)]
    write_judged(tmp_path, "heron.1", several)
    strict = BugSettings(**{**vars(WIDE), "max_instances": 2})
    first, _ = view_of(tmp_path, strict).names()
    (tmp_path / "task").mkdir()
    Maker(tmp_path, BUG).tasks().open().note(
        first, stage=STAGE, state="excluded", error="no", read="0", instance_id="heron",
        settings="")
    write_judged(tmp_path, "heron.2", [a_candidate(f"depth + {n}") for n in range(20)])
    assert first in view_of(tmp_path, strict).names()


def test_a_broken_file_is_named_and_its_repositorys_bugs_are_no_orphans(tmp_path):
    write_judged(tmp_path, "heron.1", [a_candidate("depth")])
    write_judged(tmp_path, "crane.1", [a_candidate("depth")])
    edit(tmp_path / "bug/_verdicts/heron.1.json", verdicts=3)
    view = view_of(tmp_path)
    assert [name.partition(".")[0] for name in view.names()] == ["crane"]
    assert "heron.1.json" in str(view.broken[0]) and view.covers("heron.negated.0123abcd")
