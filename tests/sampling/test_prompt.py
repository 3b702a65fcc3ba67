"""Check that prompt.py gives a fixed sequence, in files that can be edited, lost and continued."""
import json
import re

import pytest
from conftest import edit, ledger_lines, run_script
from fake_judges import run_main
from root import read_json, turn_of, write_json
from source_rows import a_pr, a_row, sample, write_jsonl, write_sources

import king


def prompts(root) -> dict[str, list[dict]]:
    return {p.stem: read_json(p) for p in sorted((root / "prompt").glob("*.json"))}


def ids(root) -> list[str]:
    return [entry["instance_id"] for entries in prompts(root).values() for entry in entries]


def on_disk(root, directory: str = "prompt") -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (root / directory).glob("[!_]*.json")}


@pytest.fixture
def a(tmp_path):
    """Return a root whose sources, beside it, have 450 PRs."""
    write_sources(tmp_path, [a_row(i) for i in range(450)])
    return tmp_path / "a"


@pytest.fixture
def whole(a):
    """Return a function: whole(440) is another root beside `a`, with its prompts drawn at once."""
    def draw(count: int):
        sample(a.with_name("whole"), "--count", count)
        return a.with_name("whole")
    return draw


def test_the_same_seed_gives_the_same_files_byte_for_byte_and_another_one_others(a):
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        sample(a.with_name(name), "--count 250 --seed", seed)
        found.append(on_disk(a.with_name(name)))
    assert found[0] == found[1] != found[2]
    assert found[0].keys() == found[2].keys() == {"prompts_250_1.json", "prompts_250_2.json"}
    assert [len(entries) for entries in prompts(a).values()] == [200, 50]
    assert len(set(ids(a))) == 250


def test_an_entry_is_a_turn_with_the_history_before_it(a):
    sample(a, "--count 60")
    entries = prompts(a)["prompts_60_1"]
    assert [e["order"] for e in entries] == list(range(1, 61))
    assert {e["turn"] for e in entries} == {0, 1, 2}
    for e in entries:
        row = a_row(int(e["instance_id"].rpartition("-")[2]))["messages"]
        place = 2 + 2 * e["turn"]
        assert e["messages"] == row[:place] and e["assistant"] == row[place]["content"]
        assert e["language"] == "python" and e["repo"] == "own/repo"
    commits = on_disk(a, "commit")
    number = entries[0]["instance_id"].rpartition("-")[2]
    assert json.loads(commits[f"own__repo-{number}.json"])["issue"] == f"broken {number}"
    assert len(commits) == 60


@pytest.mark.parametrize("turns, expected", [("first", {0}), ("last", {2}), ("all", {0, 1, 2})])
def test_turns(a, turns, expected):
    sample(a, "--count 30 --turns", turns)
    entries = prompts(a)["prompts_30_1"]
    assert {e["turn"] for e in entries} == expected and len(entries) == 30
    assert len(set(ids(a))) == (10 if turns == "all" else 30)


def test_max_per_instance(tmp_path):
    write_sources(tmp_path, [a_row(i % 10, n_turns=4 + i // 10) for i in range(60)])
    for n in (1, 2, 0):
        sample(tmp_path / f"r{n}", "--count 100 --max-per-instance", n)
        found = ids(tmp_path / f"r{n}")
        assert max(map(found.count, found)) == (n or 6)


def test_a_later_larger_count_leaves_the_old_files_and_goes_on_behind_them(a, whole):
    def files():
        return {p.name: (p.read_bytes(), p.stat().st_mtime_ns)
                for p in (a / "prompt").glob("*.json")}
    sample(a, "--count 210")
    before = files()
    assert "100" not in sample(a, "--count 210").replace(str(a.parent), "")
    sample(a, "--count 320")
    assert before.items() <= files().items()
    assert files().keys() - before.keys() == {"prompts_320_1.json"}
    assert len(prompts(a)["prompts_320_1"]) == 110 and len(set(ids(a))) == 320
    assert ids(whole(320)) == ids(a)   # the same sequence, cut elsewhere


def test_a_source_with_fewer_turns_gives_all_it_has_and_says_so_once_and_for_all(a):
    printed = sample(a, "--count 2000")
    assert "1,550 fewer" in printed and len(ids(a)) == 450 == len(set(ids(a)))
    assert "the source has no more" in sample(a, "--count 2000")
    # which knows other settings, with which no more would be drawn
    assert '"done": 450, "edited": 0, "missing": 0' in run_script("status.py", a, "--json").stdout


@pytest.mark.parametrize(("name", "place"), [
    ("prompts_250_1", 7), ("prompts_250_2", -1)])   # behind the last one the next draw begins
def test_an_edited_file_is_kept_and_its_entries_are_not_sampled_again(a, name, place):
    sample(a, "--count 250")
    gone = prompts(a)[name][place]["instance_id"]
    edit(a / f"prompt/{name}.json", lambda entries: entries.pop(place))
    edited = prompts(a)[name]
    assert f"edited 1 (kept): {name}" in sample(a, "--count 250")
    sample(a, "--count 400")
    assert prompts(a)[name] == edited and len({gone, *ids(a)}) == 1 + len(ids(a)) == 400


def test_lost_files_are_made_again_each_as_it_was(a):
    sample(a, "--count 430")
    was = on_disk(a)
    for k in (1, 2):
        (a / f"prompt/prompts_430_{k}.json").unlink()
    sample(a, "--count 430")
    assert on_disk(a) == was


REASONS = """
3 (reference without exactly one bash block)
1 (NUL bytes)
1 (lone surrogates)
1 (over max_chars)
1 (a history without a message of the user)
1 (no assistant turn)
1 (exact duplicate)
but a message has no text)
1 (no PR record)
1 (unusable PR record)
1 (oversized PR)
1 ([exclude] ids)
1 (instance_id that cannot be a file name)
"""


def test_what_is_left_out_is_counted_by_reason(tmp_path):
    block = "\n\n```bash\nls\n```"
    turns = {1: "no block", 2: f"two{block}{block}", 3: f"a\x00{block}", 4: f"half \ud83d{block}",
             5: "x" * 3000 + block, 13: "e\n\n```bash\n \n```"}
    rows = [a_row(i, n_turns=1) for i in range(14)]
    for i, text in turns.items():
        rows[i]["messages"][2]["content"] = text
    for i, messages in ((6, rows[6]["messages"][::2]), (7, []), (8, [{"role": "user"}])):
        rows[i]["messages"] = messages
    rows += [a_row(0, instance_id="../up"), rows[0]]
    prs = [a_pr(i) for i in range(14) if i != 9]
    prs[9]["patch"] += "+" * 60_000   # of row 10
    prs[11]["patch"] = None           # of row 12
    write_sources(tmp_path, rows, prs, 'max_chars = 2000\n[exclude]\nids = ["own__repo-11"]\n')
    printed = sample(tmp_path / "a", "--count 50 --max-per-instance 0")
    assert ids(tmp_path / "a") == ["own__repo-0"]
    assert [reason for reason in REASONS.strip().split("\n")
            if reason not in printed] == [], printed
    notes = {line["item"]: line["detail"]
             for line in ledger_lines(tmp_path / "a/prompt", state="excluded")}
    assert notes["own__repo-10"]["patch_chars"] > 60_000
    assert "patch" in notes["own__repo-12"]["rule"]


def test_without_a_pr_record_for_any_row_it_stops_what_follows_and_names_keep_unmatched(tmp_path):
    write_sources(tmp_path, [a_row(1), a_row(2)], [a_pr(3)])
    for _ in range(2):   # the second run has as much to do
        printed = sample(tmp_path / "a", "--count 10", code=2)
        assert "--keep-unmatched" in printed and "next:" not in printed
    write_json(tmp_path / "prs.json", [a_pr(1)])
    assert "next:" in sample(tmp_path / "a", "--count 10 --keep-unmatched")
    assert {e["instance_id"]: e["language"] for e in prompts(tmp_path / "a")["prompts_10_1"]} == {
        "own__repo-1": "python", "own__repo-2": "unknown"}
    write_sources(tmp_path, [a_row(1, messages=[{"role": "user", "content": [{}]}])], [a_pr(1)])
    assert "has no row that can be used" in sample(tmp_path / "b", "--count 10", code=2)


def test_a_turn_without_a_hidden_solution_is_paid_for_only_with_yes(tmp_path, fake_llm):
    write_sources(tmp_path, [a_row(1), a_row(2)], [a_pr(1)])
    root = tmp_path / "a"
    assert "with a hidden solution: 1 of 2 turns" in sample(root, "--count 2 --keep-unmatched")
    root.with_settings({"base_url": fake_llm.base_url, "model": "m"})
    fake_llm.always(turn_of("ls"))
    assert "1 (no hidden solution, so no challenger" in run_main(king.main, root)
    assert len(fake_llm.requests) == 1
    run_main(king.main, root, "--yes")
    assert len(fake_llm.requests) == 2


def test_a_pr_record_that_is_there_is_used_and_kept_and_force_puts_prompts_aside(a):
    sample(a, "--count 50")
    was = on_disk(a)["prompts_50_1.json"]
    path = a / f"commit/{ids(a)[0]}.json"
    edit(path, issue="mine", language="go")
    sample(a, "--count 50 --force")
    assert read_json(path)["issue"] == "mine" and prompts(a)["prompts_50_1"][0]["language"] == "go"
    assert (a / "prompt/_replaced/prompts_50_1.1.json").read_bytes() == was


def test_status_reads_no_source(a):
    sample(a, "--count 50")
    a.with_name("rows.jsonl").unlink()
    assert "50 of 50 prompts" in sample(a, "--count 50 --status")
    assert "rows.jsonl" in sample(a, "--count 60", code=2)


def test_without_its_ledger_a_sample_is_adopted_and_goes_on_as_it_would_have(a, whole):
    sample(a, "--count 210")
    (a / "prompt/_ledger.jsonl").unlink()
    assert "adopted 2" in sample(a, "--count 210 --status")
    sample(a, "--count 210")
    assert len(prompts(a)) == 2
    sample(a, "--count 300")
    assert ids(a) == ids(whole(300))


def test_a_deleted_pr_record_is_fetched_again_and_one_of_a_hand_made_prompt_too(a):
    sample(a, "--count 20")
    was = on_disk(a, "commit")
    (a / f"commit/{ids(a)[0]}.json").unlink()
    one = prompts(a)["prompts_20_1"][0]
    mine = [{**one, "instance_id": name, "order": i}
            for i, name in enumerate(["own__repo-444", "nobody__x-1"], 1)]
    write_json(a / "prompt/mine.json", mine)
    printed = sample(a, "--count 20")
    assert was.items() <= on_disk(a, "commit").items()
    assert "own__repo-444.json" in on_disk(a, "commit")
    assert "nobody__x-1 has no PR record" in printed and prompts(a)["mine"] == mine
    assert "nothing to do" in sample(a, "--count 20 --status")


def test_limit_is_a_number_of_prompts(a, whole):
    sample(a, "--count 50 --limit 4")
    assert len(ids(a)) == 4
    sample(a, "--count 50")
    assert ids(a) == ids(whole(50))


def test_another_source_or_seed_is_not_mixed_in_by_accident(a):
    sample(a, "--count 10")
    edit(a / "prompt/prompts_10_1.json", lambda entries: entries.pop())   # opens no door
    assert "drawn with other settings" in sample(a, "--count 20 --seed 3", code=2)
    sample(a, "--count 10 --force")
    assert len(ids(a)) == 10
    sample(a, "--count 20 --seed 3 --source", a.with_name("rows.jsonl"))   # named: on purpose
    assert len(set(ids(a))) == 20


def test_a_broken_file_without_a_ledger_stops_nothing_else(a):
    sample(a, "--count 5")
    path = a / "prompt/prompts_5_1.json"
    path.write_text(path.read_text()[:100])
    (a / "prompt/_ledger.jsonl").unlink()
    assert sample(a, "--count 8", code=1).count("is not readable JSON") == 1
    assert len(on_disk(a).keys() - {path.name}) == 1


def test_a_trajectory_gives_a_turn_at_which_its_fix_is_neither_shown_nor_begun(tmp_path):
    """Of two trajectories, one shows the code at once, and the other after its second turn."""
    code = ["while waders.any_left(depth_cm):", "    waders = waders.without_last()"]
    patch = a_pr(0)["patch"].replace("-a\n", "".join(f"-{line}\n" for line in code))
    rows = [a_row(i, n_turns=9) for i in range(2)]
    rows[0]["messages"][1]["content"] += "\n".join(code)
    rows[1]["messages"][5]["content"] += "\n".join(code)
    write_sources(tmp_path, rows, [a_pr(i, patch=patch) for i in range(2)])
    printed = sample(tmp_path / "a", "--count 2")
    one, = prompts(tmp_path / "a")["prompts_2_1"]
    assert one["instance_id"] == "own__repo-1" and one["turn"] < 2
    assert re.search(r"left out: (9|1\d) \(the code that the PR changes was shown\)", printed)
    assert "nothing to do" in sample(tmp_path / "a", "--count 2")
    with open(tmp_path / "chain.toml", "a") as settings:   # all answers are blind there
        settings.write('[challenger]\nhow = "chosen"\n')
    assert "was shown" not in sample(tmp_path / "b", "--count 2")
    assert len(ids(tmp_path / "b")) == 2


def test_what_a_benchmark_holds_is_not_drawn(tmp_path):
    statement = " ".join(f"broken{i}" for i in range(60))
    rows, prs = [a_row(i) for i in range(20)], [a_pr(i, base_commit=f"{i:040x}") for i in range(20)]
    rows[3]["messages"][1]["content"] = f"Please mend it: {statement}"
    prs[4]["problem_statement"] = statement
    write_sources(tmp_path, rows, prs)
    write_jsonl(tmp_path / "verified.jsonl",
                [{"instance_id": "own__repo-1", "problem_statement": "another"},
                 {"instance_id": "x__y-2", "repo": "own/repo", "base_commit": f"{2:040x}",
                  "problem_statement": "a third"},
                 {"instance_id": "x__y-3", "problem_statement": statement}])
    a = tmp_path / "a"
    assert "gone.jsonl" in sample(a, "--count 5 --decontaminate", a / "gone.jsonl", code=2)
    assert ids(a) == []
    assert "left out: 4 (in a benchmark)" in sample(a, "--count 20 --decontaminate",
                                                    tmp_path / "verified.jsonl")
    assert sorted(ids(a)) == sorted(f"own__repo-{i}" for i in (0, *range(5, 20)))
    notes = {line["instance_id"]: line["detail"]
             for line in ledger_lines(a / "prompt", state="excluded")}
    assert notes.keys() == {f"own__repo-{i}" for i in range(1, 5)}
    assert notes["own__repo-3"]["rule"] == "in a benchmark"
    assert notes["own__repo-3"]["hits"][0].startswith(
        "verified.jsonl x__y-3, 13-gram (problem statement): broken0 ")
    assert "own__repo-4.json" not in on_disk(a, "commit")
