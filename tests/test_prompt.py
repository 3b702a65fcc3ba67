"""prompt.py: a fixed sequence for a source and a seed, cut into files that can be edited, lost and continued."""
import json
import shutil
import signal

import pytest
from conftest import kill, ledger_lines, run_script, start_script, write_toml

TURN = "I look at {0}.\n\n```bash\ngrep -n {0} .\n```"


def a_row(i: int, n_turns: int = 3, **fields) -> dict:
    messages = [{"role": "system", "content": "rules"}, {"role": "user", "content": f"task {i}"}]
    for t in range(n_turns):
        messages += [{"role": "assistant", "content": TURN.format(f"row{i}turn{t}")},
                     {"role": "user", "content": f"Observation: {i} {t}"}]
    return {"instance_id": f"own__repo-{i}", "repo": "own/repo", "messages": messages, "exit_status": "LimitsExceeded",
            "trajectory_format": "mini-swe-agent-1", "duration_sec": 1.0, **fields}


def a_pr(i: int, **fields) -> dict:
    patch = f"diff --git a/src/f{i}.py b/src/f{i}.py\n--- a/src/f{i}.py\n+++ b/src/f{i}.py\n@@ -1 +1 @@\n-a\n+b\n"
    return {"instance_id": f"own__repo-{i}", "repo": "own/repo", "base_commit": "c" * 40, "created_at": 1700000000000,
            "patch": patch, "test_patch": "", "pr_description": f"fixes {i}", "problem_statement": f"broken {i}",
            "language": "python", "interface": "", "meta": {}, "install_config": {}, "image_name": "",
            "FAIL_TO_PASS": [], "PASS_TO_PASS": [], **fields}


def write_sources(folder, rows, prs=None):
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prs = [a_pr(int(row["instance_id"].rpartition("-")[2])) for row in rows] if prs is None else prs
    (folder / "prs.json").write_text(json.dumps(prs))
    write_toml(folder, more=f'[prompt]\nsource = "{folder}/rows.jsonl"\nprs = "{folder}/prs.json"\n')


def prompts(root) -> dict[str, list[dict]]:
    return {p.stem: json.loads(p.read_text()) for p in sorted((root / "prompt").glob("*.json"))}


def ids(root) -> list[str]:
    return [entry["instance_id"] for entries in prompts(root).values() for entry in entries]


def sample(root, *flags, code=0):
    done = run_script("prompt.py", root, "--config", root.parent / "chain.toml", *flags, cwd=root.parent)
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.fixture
def runs(tmp_path):
    """A folder with sources of 450 PRs; roots are made beside each other in it."""
    write_sources(tmp_path, [a_row(i) for i in range(450)])
    return tmp_path


def test_the_same_seed_gives_the_same_files_byte_for_byte_and_another_one_others(runs):
    for root, seed in (("a", 0), ("b", 0), ("c", 1)):
        sample(runs / root, "--count", 250, "--seed", seed)
    a, b, c = ({p.name: p.read_bytes() for p in (runs / root / "prompt").glob("*.json")} for root in "abc")
    assert a == b and a.keys() == c.keys() == {"prompts_250_1.json", "prompts_250_2.json"} and a != c
    assert [len(entries) for entries in prompts(runs / "a").values()] == [200, 50]
    assert len(set(ids(runs / "a"))) == 250


def test_an_entry_is_a_turn_with_the_history_before_it(runs):
    sample(runs / "a", "--count", 60)
    entries = prompts(runs / "a")["prompts_60_1"]
    assert [e["order"] for e in entries] == list(range(1, 61)) and {e["turn"] for e in entries} == {0, 1, 2}
    for e in entries:
        row = a_row(int(e["instance_id"].rpartition("-")[2]))["messages"]
        place = 2 + 2 * e["turn"]
        assert e["messages"] == row[:place] and e["assistant"] == row[place]["content"]
        assert e["language"] == "python" and e["repo"] == "own/repo"
    commit = json.loads((runs / "a" / "commit" / f"{entries[0]['instance_id']}.json").read_text())
    number = entries[0]["instance_id"].rpartition("-")[2]
    assert commit["issue"] == f"broken {number}" and commit["files"] == [f"src/f{number}.py"]
    assert commit["created_at"] == "2023-11-14T22:13:20Z" and commit["licence"] is None
    assert len(list((runs / "a" / "commit").glob("[!_]*.json"))) == 60


@pytest.mark.parametrize("turns, expected", [("first", {0}), ("last", {2}), ("all", {0, 1, 2})])
def test_turns(runs, turns, expected):
    sample(runs / "a", "--count", 30, "--turns", turns)
    entries = prompts(runs / "a")["prompts_30_1"]
    assert {e["turn"] for e in entries} == expected and len(entries) == 30
    assert len({e["instance_id"] for e in entries}) == (10 if turns == "all" else 30)


def test_max_per_instance(tmp_path):
    write_sources(tmp_path, [a_row(i % 10, n_turns=4 + i // 10) for i in range(60)])
    for n in (1, 2, 0):
        sample(tmp_path / f"r{n}", "--count", 100, "--max-per-instance", n)
        most = max(ids(tmp_path / f"r{n}").count(i) for i in ids(tmp_path / f"r{n}"))
        assert most == (n or 6)


def test_a_later_larger_count_leaves_the_old_files_and_goes_on_behind_them(runs):
    sample(runs / "a", "--count", 210)
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (runs / "a" / "prompt").glob("*.json")}
    assert "100" not in sample(runs / "a", "--count", 210).replace(str(runs), "")
    sample(runs / "a", "--count", 320)
    after = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (runs / "a" / "prompt").glob("*.json")}
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"prompts_320_1.json"} and len(prompts(runs / "a")["prompts_320_1"]) == 110
    assert len(set(ids(runs / "a"))) == 320
    sample(runs / "whole", "--count", 320)
    assert ids(runs / "whole") == ids(runs / "a")   # the same sequence, cut elsewhere


def test_a_source_with_fewer_turns_gives_all_it_has_and_says_so_once_and_for_all(runs):
    said = sample(runs / "a", "--count", 2000)
    assert "1,550 fewer" in said and len(ids(runs / "a")) == 450 == len(set(ids(runs / "a")))
    assert "the source has no more" in sample(runs / "a", "--count", 2000)


def test_an_edited_file_is_kept_and_its_entries_are_not_sampled_again(runs):
    sample(runs / "a", "--count", 250)
    path = runs / "a" / "prompt" / "prompts_250_1.json"
    entries = json.loads(path.read_text())
    del entries[7]
    path.write_text(json.dumps(entries))
    assert "edited 1 (kept): prompts_250_1" in sample(runs / "a", "--count", 250)
    sample(runs / "a", "--count", 400)
    assert json.loads(path.read_text()) == entries and len(set(ids(runs / "a"))) == len(ids(runs / "a")) == 399


def test_a_lost_file_is_made_again_as_it_was(runs):
    sample(runs / "a", "--count", 430)
    path = runs / "a" / "prompt" / "prompts_430_2.json"
    was = path.read_bytes()
    path.unlink()
    sample(runs / "a", "--count", 430)
    assert path.read_bytes() == was


def test_a_hand_made_file_is_left_alone_and_counts_for_nothing(runs):
    (runs / "a" / "prompt").mkdir(parents=True)
    (runs / "a" / "prompt" / "mine.json").write_text("[]")
    sample(runs / "a", "--count", 20)
    assert prompts(runs / "a")["mine"] == [] and len(prompts(runs / "a")["prompts_20_1"]) == 20


def test_what_is_left_out_is_counted_by_reason(tmp_path):
    def with_turn(i, text):
        row = a_row(i, n_turns=1)
        row["messages"][2]["content"] = text
        return row
    block = "```bash\nls\n```"
    rows = [a_row(0), with_turn(1, "no block"), with_turn(2, f"two\n\n{block}\n\n{block}"),
            with_turn(3, f"a\x00\n\n{block}"),
            with_turn(4, f"half \ud83d\n\n{block}"), with_turn(5, f"{'x' * 3000}\n\n{block}"),
            a_row(6, messages=a_row(6)["messages"][2:3]), a_row(7, messages=[]), a_row(8, messages=[{"role": "user"}]),
            a_row(9), a_row(10), a_row(11), a_row(12), a_row(0, instance_id="../up"),
            with_turn(13, "e\n\n```bash\n \n```")]
    prs = [a_pr(i) for i in range(14) if i not in (9, 12)]
    prs[next(k for k, pr in enumerate(prs) if pr["instance_id"].endswith("-10"))]["patch"] += "+" * 60_000
    prs.append(a_pr(12, base_commit=None))
    write_sources(tmp_path, rows, prs)
    with open(tmp_path / "chain.toml", "a") as file:
        file.write('max_chars = 2000\n[exclude]\nids = ["own__repo-11"]\n')
    said = sample(tmp_path / "a", "--count", 50)
    assert ids(tmp_path / "a") == ["own__repo-0"]
    for reason in ("3 (reference without exactly one bash block)", "1 (NUL bytes)", "1 (lone surrogates)",
                   "1 (over max_chars)",
                   "1 (empty history)", "1 (no assistant turn)", "1 (messages that are not {role, content})",
                   "1 (no PR record)", "1 (unusable PR record)", "1 (oversized PR)", "1 ([exclude] ids)",
                   "1 (instance_id that cannot be a file name)"):
        assert reason in said, said
    notes = {line["item"]: line["detail"] for line in ledger_lines(tmp_path / "a" / "prompt", state="excluded")}
    assert notes["own__repo-10"]["rule"] == "oversized PR" and notes["own__repo-10"]["patch_chars"] > 60_000
    assert "no PR record" in notes["own__repo-9"]["rule"] and "base_commit" in notes["own__repo-12"]["rule"]


def test_exact_duplicates_are_left_out(tmp_path):
    write_sources(tmp_path, [a_row(1, n_turns=1)] * 3 + [a_row(2)])
    said = sample(tmp_path / "a", "--count", 10, "--max-per-instance", 0)
    assert sorted(ids(tmp_path / "a")) == ["own__repo-1", "own__repo-2"] and "2 (exact duplicate)" in said


def test_keep_unmatched_keeps_prompts_whose_pr_has_no_record(tmp_path):
    write_sources(tmp_path, [a_row(1), a_row(2)], [a_pr(1)])
    said = sample(tmp_path / "a", "--count", 10, "--keep-unmatched")
    assert {e["instance_id"]: e["language"] for e in prompts(tmp_path / "a")["prompts_10_1"]} == {
        "own__repo-1": "python", "own__repo-2": "unknown"} and "no PR record" in said


def test_without_a_pr_record_for_any_row_it_ends_with_1_and_names_keep_unmatched(tmp_path):
    write_sources(tmp_path, [a_row(1), a_row(2)], [a_pr(3)])
    for _ in range(2):   # the second run has as much to do
        said = sample(tmp_path / "a", "--count", 10, code=1)
        assert "no row has a PR record" in said and "--keep-unmatched" in said and "next:" not in said
    assert "next:" in sample(tmp_path / "a", "--count", 10, "--keep-unmatched")


def test_next_is_recommended_only_by_a_run_that_wrote_prompts(runs):
    assert "next:" in sample(runs / "a", "--count", 5)
    next((runs / "a" / "commit").glob("[!_]*.json")).unlink()
    for _ in range(2):   # fetches a PR record, then does nothing
        assert "next:" not in sample(runs / "a", "--count", 5)


def test_a_hand_edited_pr_record_is_not_overwritten(runs):
    sample(runs / "a", "--count", 50)
    path = runs / "a" / "commit" / f"{ids(runs / 'a')[0]}.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "issue": "mine"}))
    sample(runs / "a", "--count", 100)
    sample(runs / "a", "--count", 100, "--force")
    assert json.loads(path.read_text())["issue"] == "mine"


def test_force_samples_again_and_keeps_the_old_files_aside(runs):
    sample(runs / "a", "--count", 50)
    was = (runs / "a" / "prompt" / "prompts_50_1.json").read_bytes()
    sample(runs / "a", "--count", 50, "--force", "--seed", 5)
    assert (runs / "a" / "prompt" / "prompts_50_1.json").read_bytes() != was
    assert (runs / "a" / "prompt" / "_replaced" / "prompts_50_1.1.json").read_bytes() == was


def test_killed_in_the_middle_it_ends_up_with_the_same_files(runs):
    sample(runs / "whole", "--count", 440)
    for _ in range(3):
        process = start_script("prompt.py", runs / "a", "--config", runs / "chain.toml", "--count", 440, cwd=runs)
        while process.poll() is None and not list((runs / "a").glob("commit/*.json")):
            pass
        kill(process)
    sample(runs / "a", "--count", 440)
    assert prompts(runs / "a") == prompts(runs / "whole")
    commits = [{p.name: p.read_bytes() for p in (runs / r / "commit").glob("[!_]*.json")} for r in ("a", "whole")]
    assert commits[0] == commits[1]


def test_status_reads_no_source(runs):
    sample(runs / "a", "--count", 50)
    shutil.move(runs / "rows.jsonl", runs / "gone.jsonl")
    assert "50 of 50 prompts" in sample(runs / "a", "--count", 50, "--status")
    assert "rows.jsonl" in sample(runs / "a", "--count", 60, code=2)


def test_without_its_ledger_a_sample_is_adopted_and_goes_on_as_it_would_have(runs):
    sample(runs / "a", "--count", 210)
    (runs / "a" / "prompt" / "_ledger.jsonl").unlink()
    assert "adopted 2" in sample(runs / "a", "--count", 210, "--status")
    sample(runs / "a", "--count", 210)
    assert len(prompts(runs / "a")) == 2
    sample(runs / "a", "--count", 300)
    sample(runs / "whole", "--count", 300)
    assert ids(runs / "a") == ids(runs / "whole")


def test_a_deleted_pr_record_is_fetched_again_and_one_of_a_hand_made_prompt_too(runs):
    sample(runs / "a", "--count", 20)
    lost = runs / "a" / "commit" / f"{ids(runs / 'a')[0]}.json"
    was = lost.read_bytes()
    lost.unlink()
    one = prompts(runs / "a")["prompts_20_1"][0]
    mine = [{**one, "instance_id": name} for name in ("own__repo-444", "nobody__x-1")]
    (runs / "a" / "prompt" / "mine.json").write_text(json.dumps([{**m, "order": i} for i, m in enumerate(mine, 1)]))
    said = sample(runs / "a", "--count", 20)
    assert lost.read_bytes() == was and (runs / "a" / "commit" / "own__repo-444.json").exists()
    assert "nobody__x-1 has no PR record" in said
    assert "nothing to do" in sample(runs / "a", "--count", 20, "--status")


def test_limit_is_a_number_of_prompts(runs):
    sample(runs / "a", "--count", 50, "--limit", 4)
    assert len(ids(runs / "a")) == 4
    sample(runs / "a", "--count", 50)
    sample(runs / "whole", "--count", 50)
    assert ids(runs / "a") == ids(runs / "whole")


def test_another_source_or_seed_is_not_mixed_in_by_accident(runs):
    sample(runs / "a", "--count", 10)
    assert "drawn with other settings" in sample(runs / "a", "--count", 20, "--seed", 3, code=2)
    assert len(ids(runs / "a")) == 10
    sample(runs / "a", "--count", 20, "--seed", 3, "--source", runs / "rows.jsonl")   # named: on purpose
    assert len(set(ids(runs / "a"))) == 20


def test_ctrl_c_ends_it_soon_and_a_rerun_goes_on(runs):
    process = start_script("prompt.py", runs / "a", "--config", runs / "chain.toml", "--count", 440, cwd=runs)
    while process.poll() is None and not list((runs / "a").glob("commit/*.json")):
        pass
    stopped = kill(process, signal.SIGINT)
    assert stopped.returncode in (130, 0)
    sample(runs / "a", "--count", 440)
    sample(runs / "whole", "--count", 440)
    assert ids(runs / "a") == ids(runs / "whole")


def test_several_files_made_again_are_each_what_they_were(runs):
    sample(runs / "a", "--count", 430)
    was = {p.name: p.read_bytes() for p in (runs / "a" / "prompt").glob("*.json")}
    for name in ("prompts_430_1.json", "prompts_430_2.json"):
        (runs / "a" / "prompt" / name).unlink()
    sample(runs / "a", "--count", 430)
    assert {p.name: p.read_bytes() for p in (runs / "a" / "prompt").glob("*.json")} == was
    sample(runs / "a", "--count", 430, "--force")
    assert {p.name: p.read_bytes() for p in (runs / "a" / "prompt").glob("*.json")} == was


def test_a_lost_file_does_not_open_the_door_to_another_seed(runs):
    sample(runs / "a", "--count", 250)
    (runs / "a" / "prompt" / "prompts_250_2.json").unlink()
    assert "drawn with other settings" in sample(runs / "a", "--count", 250, "--seed", 1, code=2)


def test_a_broken_file_without_a_ledger_stops_nothing_else(runs):
    sample(runs / "a", "--count", 5)
    path = runs / "a" / "prompt" / "prompts_5_1.json"
    path.write_text(path.read_text()[:100])
    (runs / "a" / "prompt" / "_ledger.jsonl").unlink()
    said = sample(runs / "a", "--count", 8, code=1)
    assert said.count("is not readable JSON") == 1 and len(prompts_but(runs / "a", "prompts_5_1")) == 1


def prompts_but(root, stem):
    return [p for p in (root / "prompt").glob("*.json") if p.stem != stem]


def test_what_a_benchmark_holds_is_not_drawn(tmp_path):
    statement = " ".join(f"broken{i}" for i in range(60))
    rows, prs = [a_row(i) for i in range(20)], [a_pr(i, base_commit=f"{i:040x}") for i in range(20)]
    rows[3]["messages"][1]["content"] = f"Please mend it: {statement}"
    prs[4]["problem_statement"] = statement
    write_sources(tmp_path, rows, prs)
    tasks = [{"instance_id": "own__repo-1", "problem_statement": "another"},
             {"instance_id": "x__y-2", "repo": "own/repo", "base_commit": f"{2:040x}", "problem_statement": "a third"},
             {"instance_id": "x__y-3", "problem_statement": statement}]
    benchmark = tmp_path / "verified.jsonl"
    benchmark.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    assert "left out: 4 (in a benchmark)" in sample(tmp_path / "a", "--count", 20, "--decontaminate", benchmark)
    assert sorted(ids(tmp_path / "a")) == sorted(f"own__repo-{i}" for i in (0, *range(5, 20)))
    notes = {line["instance_id"]: line["detail"] for line in ledger_lines(tmp_path / "a" / "prompt", state="excluded")}
    assert notes.keys() == {f"own__repo-{i}" for i in range(1, 5)}
    assert notes["own__repo-3"]["rule"] == "in a benchmark"
    assert notes["own__repo-3"]["hits"][0].startswith("verified.jsonl x__y-3, 13-gram (problem statement): broken0 ")
    assert "a/commit/own__repo-4.json" not in {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("commit/*.json")}


def test_a_benchmark_that_cannot_be_read_ends_it_before_anything_is_drawn(runs):
    assert "gone.jsonl" in sample(runs / "a", "--count", 5, "--decontaminate", runs / "gone.jsonl", code=2)
    assert ids(runs / "a") == []
