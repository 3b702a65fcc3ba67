"""Check that a duel over the server with simulated judges (benchmarks/panel.py) states the truth.
"""
from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
from conftest import REPO, turn_of, write_commits, write_prompts
from fake_judges import duel, order_of, run_main, write_panel

sys.path.append(str(REPO / "benchmarks"))   # behind the scripts: one has a name of theirs
from panel import JUDGES, ORDERS, as_turns, combined, stated, truths, verdicts

import ch
import king
import validate
from codedata.duel.scoring import bound, turn_means
from codedata.records import METRICS

N = 120


def model(draw_scores: np.ndarray):
    """Play all roles: each judge says of each turn and order what was drawn for it."""
    def answer(request):
        i = int(re.findall(r"task (\d+)$", request.text, re.MULTILINE)[-1]) - 1
        side, _, _ = request.body["model"].partition("-")
        if side not in JUDGES or "MODEL 1" not in request.text:
            return turn_of("ls onyx" if "Private note" in request.text else "ls quartz")
        order = order_of(request)
        for_challenger = "1" if order == "challenger_first" else "2"
        scores = draw_scores[list(JUDGES).index(side), ORDERS.index(order), i]
        return json.dumps({"reason": "so it is", **{
            metric: 0 if score == 0.5 else int(for_challenger) if score else 3 - int(for_challenger)
            for metric, score in zip(METRICS, scores, strict=True)}})
    return answer


@pytest.fixture(scope="module")
def drawn():
    return verdicts(np.random.default_rng([1, 0]), N, 1)


def test_one_duel_over_the_server_states_what_the_judges_are_like(tmp_path, fake_llm, drawn):
    scores, instances = drawn
    write_prompts(tmp_path, N)
    write_commits(tmp_path, N)
    fake_llm.always(model(scores))
    write_panel(tmp_path, fake_llm,
                *(f'{{ model = "{name}-1", name = "{name}" }}' for name in JUDGES),
                duel="seed = 3", more='[king]\nmodel = "plain-1"\n[challenger]\nmodel = "kin-9"\n')
    for script in (king, ch, validate):
        run_main(script.main, tmp_path, "--workers", 16)
    assert fake_llm.n_requests == N * (2 + 2 * len(JUDGES))
    outcome, judges = duel(tmp_path), duel(tmp_path)["panel"]["judges"]

    # the very numbers that the benchmark looks at in 1,000 duels
    meant = stated(as_turns(scores, instances), 3)
    for name in JUDGES:
        for key in ("prefers_first", "changes_with_order"):
            assert (judges[name][key]["low"], judges[name][key]["high"]) == meant[
                f"{name} {key}"], (name, key)
    apart = judges["kin"]["beside_the_others"]["difference"]
    assert (apart["low"], apart["high"]) == meant["kin difference"]
    assert judges["kin"]["kin_of"] == ["challenger"]

    # and they are so
    true = truths(1)
    assert [name for name in JUDGES if judges[name]["prefers_first"]["low"] > 0.55] == ["first"]
    assert [name for name in JUDGES if "kin_of" in judges[name]] == ["kin"] and apart["low"] > 0
    low, high = outcome["interval"]
    assert low < true["margin"][0] < high
    deltas = (combined(scores).mean(axis=(0, 2)) - 0.5).tolist()
    assert outcome["lcb"] == outcome["lcb_turn"] == outcome["lcb_cluster"] == pytest.approx(
        bound(turn_means(deltas, 500, 3), 0.05), abs=1e-9)
