"""Check that report.py's numbers follow from the directories, and turns go by their scores."""
import json
import re
import shutil
from functools import partial
from html import unescape

import duckdb
import pytest
from an_attempt import write_attempt
from conftest import REPO, edit
from fake_judges import BUCKETS, in_buckets, run_main, score_path
from fake_judges import validated as decide
from root import Root, read_json, write_json
from source_rows import a_pr, a_row, sample, write_sources

import report
from codedata.disk.ledger import to_line
from codedata.disk.store import Store
from codedata.records import METRICS, Answer
from codedata.report.buckets import best_pairs
from codedata.report.make_report import huge_markdown
from codedata.settings import EMBEDDED_MODEL as EMBEDDED

WON, LOST, EVEN, EIGHTY = [1] * 5, [0] * 5, [0.5] * 5, [1, 1, 1, 1, 0]
rerun = partial(run_main, report.main)   # its result is what report.py prints


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """Write four turns that a judge gave 100, 80, 50 and nothing readable; decide and report once.
    """
    return made(Root(tmp_path_factory.mktemp("reported")),
                {"t_1": WON, "t_2": EIGHTY, "t_3": EVEN, "t_4": None})


@pytest.fixture
def root(reported, tmp_path):
    """Return a copy of that root, whose files are as the ledgers say."""
    return shutil.copytree(reported, tmp_path, dirs_exist_ok=True)


def made(root, verdicts: dict, panel=("a",), steps: dict | None = None, more: str = "", **answer):
    """Return the root after a report on turns with these verdicts: of each judge, or of a alone.

    `steps` are the two commands of some turns, `answer` is fields of every answer.
    """
    root.with_panel(*panel, more=more)
    for name, values in verdicts.items():
        root.with_answer(name, *(steps or {}).get(name, ()))
        edit(root / f"answer/{name}.json", **answer)
        root.with_score(name, values if isinstance(values, dict) else {"a": values})
    decide(root)
    rerun(root)
    return root


def report_text(root) -> str:
    return (root / "report/report.md").read_text()


def run_without_effect(root, *flags) -> str:
    """Return what a refused run prints, which changes neither buckets nor reports."""
    places = *BUCKETS, "report", "report_reference"
    before = files(root, *places)
    printed = rerun(root, *flags, code=2)
    assert files(root, *places) == before
    return printed


def tables(root, file="report/report.md") -> dict[str, list[dict[str, str]]]:
    """Return {heading: rows of the tables below it, as {column: cell}}, without escapes."""
    found, rows, columns = {}, [], None
    for line in (root / file).read_text().split("\n"):
        if line.startswith("#"):
            rows = found.setdefault(line.lstrip("# "), [])
        cells = [unescape(re.sub(r"\\(.)", r"\1", cell.strip()))
                 for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            columns = None
        elif columns is None:
            columns = cells
        elif not set(line) <= set("|-:"):
            rows.append(dict(zip(columns, cells, strict=True)))
    return found


def cells(root, table: str, *columns: str, file="report/report.md") -> list[str]:
    """Return the cells of these columns of a table, a line a row."""
    return ["; ".join(map(row.get, columns)) for row in tables(root, file)[table]]


def top(root, column: str, file="report/report.md") -> dict[str, str]:
    """Return {what: number} of the table at the top with this column."""
    return {row[""]: row[column] for row in tables(root, file)["Points and turns"]
            if column in row}


def counts(root, file="report/report.md") -> dict[str, str]:
    return top(root, "turns", file)


def files(root, *directories) -> dict:
    """Return {path: (its bytes, inode, mtime)} of all records there."""
    return {p: (p.read_bytes(), p.stat().st_ino, p.stat().st_mtime_ns)
            for d in directories for p in (root / d).glob("[!_]*") if p.is_file()}


# the report --------------------------------------------------------------------------------------

HOSTILE = "go|<script>alert(1)</script>[x](javascript:alert(1))"


def test_every_number_of_the_report_is_what_the_records_give(tmp_path):
    a, b = "org/judge|a", "b*_c"
    tmp_path.with_commits(2)
    for i, language in ((1, "go"), (2, HOSTILE)):
        path = tmp_path / f"commit/proj__t_{i}.json"
        (tmp_path / f"commit/proj__repo-{i}.json").rename(path)
        edit(path, instance_id=f"proj__t_{i}", language=language)
    made(tmp_path, {"t_10": {a: None, b: [WON, None]},
                    "t_1": {a: WON, b: [WON, LOST]},
                    "t_2": {a: EIGHTY, b: WON},
                    "t_3": {a: EVEN, b: None}},
         [a, b], more="[duel]\nmin_instances = 1\nmin_turns = 1\n",
         steps={"t_1": ("ls", "make test"), "t_2": ("sed -i s/a/b/ x.py", "npm ci"),
                "t_3": ("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT", "ls")})
    points = top(tmp_path, "points")
    duel = read_json(tmp_path / "score/_duel.json")

    assert cells(tmp_path, "Turns", "turn", "score", *METRICS, "bucket", "step") == [
        "t_1; 75.0; 75.0; 75.0; 75.0; 75.0; 75.0; refined; explore → test",   # in natural order
        "t_2; 90.0; 100.0; 100.0; 100.0; 100.0; 50.0; final; edit → other",
        "t_3; 50.0; 50.0; 50.0; 50.0; 50.0; 50.0; defeat; submit → explore",
        "t_10; -; -; -; -; -; -; -; explore → test"]
    assert cells(tmp_path, "Buckets", "turns") == [*"1101"]
    assert cells(tmp_path, "Judges", "judge", "score", "verdicts read", *METRICS) == [
        f"{b}; 75.0; 50.0 %; 75.0; 75.0; 75.0; 75.0; 75.0",
        f"{a}; 76.7; 75.0 %; 83.3; 83.3; 83.3; 83.3; 50.0",
        "all; 75.8; 50.0 %; 79.2; 79.2; 79.2; 79.2; 62.5"]
    assert (points["challenger"], points["king"]) == ("75.83", "24.17")
    assert points["margin"].startswith("51.67, ") and points["LCB"].startswith(
        f"{duel['lcb']:.2f}, more than 0 wanted ")
    assert counts(tmp_path).items() >= {
        "judged": "4", "every judge's verdict could be read": "2 (50.0 %)",
        "no verdict could be read (not exported)": "1"}.items()
    huge = huge_markdown([{"instance_id": "a", "language": HOSTILE}])
    assert "<script>" not in report_text(tmp_path) + huge and "\\[x\\]" in huge


@pytest.mark.parametrize("values, outcome",
                         [(WON, "✓ Accepted: the challenger’s lead over the king is 100.00 points"),
                          (LOST, " lead over the king is -100.00 points in 5 turns; margin -100"),
                          (None, "✗ Not accepted: "), (None, "no verdict was parsed in 5 turns")])
def test_the_verdict_stands_at_the_top(tmp_path, values, outcome):
    made(tmp_path, {f"t_{i}": values for i in range(5)})
    assert outcome in report_text(tmp_path).split("\n\n")[1]


def test_turns_won_below_the_threshold_of_refined_and_sides_without_a_command_are_named_as_such(
        tmp_path):
    made(tmp_path, {"t_1": [1, 0.5, 0.5, 0.5, 0.5], "t_2": WON, "t_3": EVEN},
         king="I would run ls.")
    assert "defeat/ 2 (1 of them won)" in rerun(tmp_path)
    assert cells(tmp_path, "Buckets", "turns") == [*"1011"]
    assert cells(tmp_path, "Turns", "bucket", "step") == [
        "defeat (won); none → test", "final; none → test", "defeat; none → test"]


def test_the_sets_and_the_best_pairs_come_first_without_those_that_no_set_takes(root):
    root.with_commit("proj__t_1", issue="It breaks")
    write_json(root / "export/dpo/manifest.json", {"rows": {"train": 8, "validation": 1}})
    rerun(root)
    assert "[dpo](../export/dpo/README.md) 8 + 1. All 0 calls" in report_text(root).split("##")[0]
    assert [*tables(root)][1] == "The best pairs"
    assert [[*row.values()][:2] for row in tables(root)["The best pairs"]] == [
        ["t_1", "It breaks"], ["t_2", "proj__t_2"]]
    edit(root / "final/t_1.json", king="long " * 9000, injections=[])
    assert "characters left out" in best_pairs(root)[0].king
    edit(root / "final/t_1.json", injections=[{"side": "king", "kind": "k", "text": "t"}])
    best, = best_pairs(root)
    assert "make test" in best.challenger
    assert best.why == "Score 80, final. Judge a: a says so, king_first"


def test_an_empty_duel_gives_an_empty_report(tmp_path):
    (tmp_path / "answer").mkdir()
    made(tmp_path, {})
    assert tables(tmp_path)["Turns"] == [] and in_buckets(tmp_path) == {}
    assert counts(tmp_path) == {} and "\n0 turns: judged; " in report_text(tmp_path)
    assert "over the king is" not in (tmp_path / "report/report.md").read_text()
    assert (tmp_path / "report/hugePR.md").read_text().rstrip().endswith(": 0.")
    assert rerun(tmp_path).count("/ is empty: no turn is judged yet. That is no fault.") == 3


def test_verdicts_of_the_embedded_model_are_called_noise(tmp_path):
    made(tmp_path, {"t_1": {EMBEDDED: WON}}, [EMBEDDED])
    assert "embedded" in rerun(tmp_path) and "**Noise" in report_text(tmp_path)


# the buckets -------------------------------------------------------------------------------------

def test_a_bucket_s_copy_is_the_answer_with_score_metrics_and_the_judges_reasons(tmp_path):
    made(tmp_path, {"t_1": {"a": [WON, EIGHTY], "b": None}}, "ab",
         messages=[{"role": "user", "content": "naïve ✓"}])
    reasons = [{"judge": "a", "order": o, "reason": f"a says so, {o}"}
               for o in ("king_first", "challenger_first")]
    assert read_json(tmp_path / "final/t_1.json") == {
        **read_json(tmp_path / "answer/t_1.json"), "score": 90,
        "reasons": reasons, "leaks": None,
        "metrics": {**dict.fromkeys(METRICS, 100), "efficiency": 50}, "injections": []}


def test_other_thresholds_move_the_turns_where_their_order_is_right(root):
    root.with_panel("a", more="[report]\nfinal_min = 60\n")
    assert "defeat_min" in run_without_effect(root)
    root.with_panel("a", more="[report]\nfinal_min = 100\ndefeat_min = 50.5\n")
    rerun(root)
    assert in_buckets(root) == {"t_1": ["final"], "t_2": ["refined"], "t_3": ["defeat"]}
    assert cells(root, "Buckets", "score") == [
        "100 and more", "50.5 up to 100", "below 50.5, won all the same", "below 50.5"]


def test_the_field_score_decides_also_edited_by_hand_and_the_report_counts_such(root):
    edit(score_path(root, "t_1"), score=70)
    edit(score_path(root, "t_3"), score=99.5)
    printed = rerun(root)
    assert in_buckets(root) == {"t_1": ["refined"], "t_2": ["final"], "t_3": ["final"]}
    assert "t_1, t_3" in printed and counts(root)[
        "score was edited: it is not what the verdicts give"] == "2"
    assert read_json(root / "final/t_3.json")["score"] == 99.5
    assert cells(root, "Turns", "score") == ["70.0", "80.0", "99.5", "-"]
    assert "decided on" not in report_text(root)   # the verdicts are the same
    edit(score_path(root, "t_1"), score=None)
    rerun(root)
    assert "t_1" not in in_buckets(root)


def test_a_second_run_touches_no_copy_and_a_changed_score_moves_just_that_one(root, capsys):
    before, told = files(root, *BUCKETS), (root / "report/report.md").read_bytes()
    assert "wrote 0, unchanged 3, left their bucket 0" in rerun(root)
    assert files(root, *BUCKETS) == before
    assert (root / "report/report.md").read_bytes() == told and not capsys.readouterr().out
    edit(score_path(root, "t_1"), score=1)
    assert "final/ 1, refined/ 0, defeat/ 2" in rerun(root, "--status")
    assert "wrote 1, unchanged 2, left their bucket 1" in rerun(root)
    assert in_buckets(root) == {"t_1": ["defeat"], "t_2": ["final"], "t_3": ["defeat"]}
    assert len(before.items() & files(root, *BUCKETS).items()) == 2


def test_a_changed_answer_or_reason_is_written_again_into_the_same_bucket(root):
    edit(root / "answer/t_2.json", assistant="another reference")   # no judge was shown it
    judges = read_json(score_path(root, "t_1"))["judges"]
    edit(score_path(root, "t_1"), judges=[{**judges[0], "reason": "mine"}, judges[1]])
    rerun(root)
    assert read_json(root / "final/t_2.json")["assistant"] == "another reference"
    assert read_json(root / "final/t_1.json")["reasons"][0]["reason"] == "mine"
    assert not list(root.glob("*/_replaced"))


def test_orphans_and_turns_without_a_score_or_with_another_answer_leave_their_bucket(root):
    (root / "answer/t_1.json").unlink()
    score_path(root, "t_2").unlink()
    root.with_answer("t_3", challenger="make all")
    printed = rerun(root)
    assert "left their bucket 3" in printed and in_buckets(root) == {}
    assert "2 turns not judged yet" in printed and "validate.py" in printed
    assert cells(root, "Turns", "turn") == ["t_4"]
    assert counts(root)["scores whose answer is gone"] == "1"
    assert not list(root.glob("*/_replaced")) and score_path(root, "t_1").exists()


def test_an_excluded_turn_leaves_its_bucket_and_answers_without_both_sides_are_counted(root):
    root.with_panel("a", more='[exclude]\nids = ["proj__t_1"]\n')
    root.with_answer("t_5", challenger=None).with_answer("t_6", king=None)
    rerun(root)
    assert in_buckets(root) == {"t_2": ["final"], "t_3": ["defeat"]}
    assert counts(root).items() >= {"left out by a rule": "1",
                                    "answer records without both sides": "2"}.items()


# a person in the buckets -------------------------------------------------------------------------

def test_what_a_person_put_into_a_bucket_is_put_aside_whatever_it_is(root):
    whole = (root / "final/t_2.json").read_text()
    (root / "refined").mkdir(exist_ok=True)
    (root / "final/my copy.json").write_text("{}")   # a name that is refused
    for k in (1, 2):
        mine = {"final/t_3.json": "{}", "refined/t_1.json": f"{k} half of {{",
                "defeat/other_1.json": '{"note": "mine"}',
                "final/t_2.json": whole[:50 + k]}
        for path, text in mine.items():
            (root / path).write_text(text)
        printed = rerun(root)
        assert in_buckets(root).items() >= {"t_1": ["final"], "t_2": ["final"],
                                            "t_3": ["defeat"]}.items()
        assert (root / "final/t_2.json").read_text() == whole and "my copy" in printed
        asides = [path.replace("/", "/_replaced/").replace(".json", f".{k}.json") for path in mine]
        assert [(root / aside).read_text() for aside in asides] == list(mine.values())
        assert sum(aside in printed for aside in asides) == 3 and "and 1 more" in printed


def test_a_copy_without_its_ledger_line_is_adopted_and_not_called_an_edit_when_it_moves(root):
    ledger = root / "final/_ledger.jsonl"
    ledger.write_text("".join(line for line in ledger.open()
                              if '"t_1"' not in line))   # as a kill leaves it
    assert "unchanged 3" in rerun(root)
    edit(score_path(root, "t_1"), score=66)
    assert "edited" not in rerun(root).replace("score was edited", "")
    assert not list(root.glob("*/_replaced"))
    assert in_buckets(root)["t_1"] == ["refined"]


# what is wrong -----------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", ["king", "reference"])
def test_without_a_duel_nothing_is_done_and_the_command_to_run_is_named(root, mode):
    (root / "score/_duel.json").unlink()
    printed = run_without_effect(root, "--mode", mode)
    assert "_duel.json is not there" in printed
    command = printed[printed.index("validate.py"):].split("\n")[0]
    assert f"--root {root}" in command and ("--mode reference" in command) == (mode == "reference")


def test_a_duel_that_lacks_something_is_named_not_a_traceback(root):
    path = root / "score/_duel.json"
    whole = read_json(path)
    for key in whole:
        write_json(path, {k: v for k, v in whole.items() if k != key})
        printed = rerun(root, code=None)
        assert "Traceback" not in printed and ("wrote" in printed or "_duel.json" in printed), key
    for text in ("", "[]", "null", '{"mode": "king"}', json.dumps({**whole, "judges": ["a"]})):
        path.write_text(text)
        assert "_duel.json" in rerun(root, code=2)


@pytest.mark.parametrize("change", [{3: WON}, {1: [0, 1, 1, 1, 1]}, {0: LOST, 2: WON}, {}], ids=[
    "one verdict", "two metrics exchanged", "two turns exchanged", "a turn gone"])
def test_verdicts_other_than_the_duel_was_decided_on_are_pointed_out(tmp_path, change):
    made(tmp_path,
         {f"t_{i}": values for i, values in enumerate([WON, EIGHTY, LOST, EVEN, WON, WON])})
    assert "decided on" not in said_at_the_top(tmp_path)
    for i, values in change.items():
        tmp_path.with_score(f"t_{i}", {"a": values})
    if not change:
        score_path(tmp_path, "t_5").unlink()
    assert "decided on" in said_at_the_top(tmp_path)
    if change:   # else the turn would have to be judged
        decide(tmp_path)
        assert "decided on" not in said_at_the_top(tmp_path)


def said_at_the_top(root) -> str:
    rerun(root)
    return report_text(root).partition("\n## ")[0]


def test_broken_records_are_named_the_others_go_on_and_the_exit_code_is_1(root):
    answer, score = root / "answer/t_1.json", score_path(root, "t_3")
    whole = answer.read_text(), score.read_text()
    answer.write_text(whole[0][:-9])
    edit(score, score="high")
    printed = rerun(root, code=1)
    assert str(answer) in printed and str(score) in printed and "`score`" in printed
    assert in_buckets(root) == {"t_2": ["final"]} and counts(root)["broken records"] == "2"
    answer.write_text(whole[0]), score.write_text(whole[1])
    for path in ("executed/t_2.json", "commit/proj__t_1.json"):   # this costs no turn its bucket
        write_json(root / path, "not a record")
        assert str(root / path) in rerun(root, code=1)
    assert in_buckets(root) == {"t_1": ["final"], "t_3": ["defeat"]}
    assert "decided on" not in report_text(root)


# against the reference ---------------------------------------------------------------------------

def test_against_the_reference_it_reads_and_writes_beside_and_makes_no_buckets(root):
    before = files(root, *BUCKETS, "report", "score")
    for name, values in {"t_1": LOST, "t_2": WON, "t_3": None, "t_4": EVEN}.items():
        root.with_score(name, {"a": values}, rival="reference")
    decide(root, "--mode=reference")
    rerun(root, "--mode=reference")
    assert files(root, *BUCKETS, "report", "score") == before
    there = sorted(path.name for path in (root / "report_reference").glob("[!_]*"))
    assert there == ["report.md"]
    file = "report_reference/report.md"
    assert cells(root, "Turns", "turn", "score", "step", file=file) == [
        "t_1; 0.0; other → test", "t_2; 100.0; other → test", "t_3; -; other → test",
        "t_4; 50.0; other → test"]
    found = tables(root, file)
    assert "Buckets" not in found and "Challenger against reference" in found
    assert counts(root, file)["no verdict could be read (not exported)"] == "1"


# costs -------------------------------------------------------------------------------------------

def a_call(i, model="m", cost=0.01, tokens=(100, 20)) -> dict:
    return {"id": f"c{i}", "model": model, "tokens_in": tokens[0], "tokens_out": tokens[1],
            "tokens_cached": 0,
            "cost_usd": cost, "seconds": 0.1}


def write_ledger(root, directory, stage: str, *calls: dict, item: str = "t_1",
                 state: str = "done") -> None:
    (root / directory).mkdir(exist_ok=True)
    with open(root / directory / "_ledger.jsonl", "a") as file:
        file.write(
            json.dumps({"stage": stage, "item": item, "state": state, "calls": calls}) + "\n")


# stage; model; calls; tokens in, out; cost
COSTS = """king; m; 3; 300; 60; $0.0300
king; other|m; 1; 4,000; 5,000; $1.25
ch; m; 1; 100; 20; $0.0100
unfinished in answer/; m; 1; 100; 20; $0.0100
validate; a; 2; 200; 40; cost unknown (no price)
validate; b; 2; 200; 40; $0.5000 + 1 call without a price"""


def test_costs_are_by_stage_and_model_from_all_ledgers_each_call_once(root):
    write_ledger(root, "answer", "king", a_call(1), a_call(2))
    write_ledger(root, "answer", "ch", a_call(3), state="failed")
    write_ledger(root, "answer", "king", a_call(4, "other|m", 1.25, (4000, 5000)), item="t_2")
    write_ledger(root, "answer_1", "king", a_call(2), a_call(5))
    write_ledger(root, "score", "validate", a_call(6, "a", None), a_call(7, "a", None))
    write_ledger(root, "score", "validate", a_call(8, "b", None), a_call(9, "b", 0.5), item="t_2")
    write_json(root / "answer/_partial/t_3.jsonl", {"stage": "king", "call": a_call(10)})
    rerun(root)
    assert sorted(COSTS.splitlines()) == sorted(cells(
        root, "Costs", "stage", "model", "calls", "tokens in", "tokens out", "cost"))


# oversized pull requests -------------------------------------------------------------------------

def test_pull_requests_that_are_left_out_for_their_size_are_listed_till_they_fit(tmp_path):
    sizes = {i: 60_000 + 1000 * i for i in range(0, 30, 3)}
    prs = [a_pr(i, language="a|b") for i in range(30)]
    for i, size in sizes.items():
        prs[i]["patch"] += "+" * (size - len(prs[i]["patch"]))
    source = [a_row(i) for i in range(30)]
    write_sources(tmp_path, source, prs)
    root = tmp_path / "run"
    sample(root, "--count 30")
    for i in (1, 2):
        root.with_answer(f"t_{i}").with_score(f"t_{i}", {"a": WON})
    root.with_panel("a")
    decide(root)
    rerun(root)
    text = (root / "report/hugePR.md").read_text()
    assert f"50,000 characters: {len(sizes)}." in text
    rows = tables(root, "report/hugePR.md")["Oversized pull requests"]
    assert rows == [{"instance": f"own__repo-{i}", "repository": "own/repo", "language": "a|b",
                     "characters": f"{size:,}", "files": "1", "created": "2023-11-14T22:13:20Z"}
                    for i, size in sorted(sizes.items(), reverse=True)]
    write_sources(tmp_path, source)
    for flag in ("--force", ""):   # the files that there are, then what is left
        sample(root, "--count 30", flag)
    rerun(root)
    assert tables(root, "report/hugePR.md")["Oversized pull requests"] == []


# queries of the docs -----------------------------------------------------------------------------

def test_each_query_of_the_docs_runs_on_a_root(root, monkeypatch):
    write_ledger(root, "answer", "king", a_call(1), state="failed")
    write_ledger(root, "answer", "king", a_call(2), state="failed")
    root.with_commit("proj__t_1", repo="own/repo")
    write_attempt(root)
    rerun(root)
    monkeypatch.chdir(root)
    queries = re.findall("```sql\n(.*?)```", (REPO / "docs/queries.md").read_text(), re.DOTALL)
    by_score, by_repo, wins, unread, leaks, lost, histories, spent, failed, solved = (
        duckdb.sql(query).fetchall() for query in queries)
    assert by_score == [(50.0, 1), (80.0, 1), (100.0, 1), (None, 1)]
    assert by_repo == [("own/repo", 1, 100.0)] and ("a", "progress", "draw", 2) in wins
    assert [row[0] for row in unread] == ["t_4.json"] * 2 and leaks == lost == []
    assert {row[:2] for row in histories} == {(f"t_{i}.json", 1) for i in range(1, 5)}
    assert spent == [("king", "m", 2, 0.02)] and failed[0][:3] == ("king", "t_1", 2)
    assert solved == [("sums", "m", 1, 1)]


def test_settled_turns_change_neither_a_duel_nor_what_its_report_counts(root):
    answers = Store(root.with_commit("proj__t_2"), Answer).open()
    for name in answers.names():
        answers.note(name, stage="ch", state="done", **answers.facts(name).line(),
                     asked_again=3 * (name == "t_2"), pad="x" * 3_000_000)
    rerun(root)
    expected = report_text(root)
    assert "1 turn (3 calls)" in expected and list(root.glob("score/_settled.*"))
    with open(root / "score/_ledger.jsonl", "ab") as file:   # t_1 alone is not settled
        file.write(to_line({"stage": "validate", "item": "t_1", "state": "failed",
                            "still": "done"}))
    rerun(root)
    assert report_text(root) == expected
