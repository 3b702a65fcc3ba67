"""Check what every stage of a duel promises, on one small root: looking changes nothing, a second
run has nothing to do, and a kill, a full disk, a broken record, a lock or a file in the way costs
what it has to and no more.
"""
import os
import re
import resource
import shutil
import sys
from functools import partial

import pytest
from conftest import REPO, edit, flags_for, ledger_lines, run_script, spent_usd
from fake_judges import in_buckets, verdict
from fake_llm import FakeLLM
from killed import is_killed_at
from line_tables import rows
from programs import run_program
from root import Root, files_under, write_files
from source_rows import a_pr, a_row, write_jsonl

from codedata.disk.locks import lock
from codedata.export.folders import changed_by_hand

FOLDERS = {"prompt": "prompt", "king": "answer", "ch": "answer", "validate": "score",
           "report": "report", "export": "export"}   # of each stage, in their order
TOML = ('[prompt]\ncount = 2\nsource = "rows.jsonl"\nprs = "prs.jsonl"\n[judge]\nmodels = ["a"]\n'
        'order = "king_first"\n[duel]\nmin_turns = 1\nmin_instances = 1\n'
        "[export]\nvalidation = 0.0\n[prices]\n"
        'm = { in = 1.0, out = 1.0 }\na = { in = 1.0, out = 1.0 }\nb = { in = 1.0, out = 1.0 }\n')


def run(stage: str, root, fake, *flags):
    return run_script(f"{stage}.py", root, *flags_for(fake, "--workers", 1, *flags))


def judge(request):
    return verdict("22222") if "MODEL 1" in request.text else None


def edit_prompt(root) -> None:
    edit(root / "prompt/prompts_2_1.json",
         lambda prompts: prompts[0]["messages"][-1].update(content="Another task."))


def move_turns(root) -> None:
    for path in root.glob("score/[!_]*.json"):
        edit(path, score=70)


# case: (stage, what a person has done since all stages ran)
AGAIN = {"another task": ("king", edit_prompt), "other buckets": ("report", move_turns),
         "another judge": ("validate", lambda root: root.with_settings(
             {"model": "m"}, TOML.replace('["a"]', '["a", "b"]'))),
         "other rows": ("export", lambda root: root.with_settings(
             {"model": "m"}, TOML.replace("[export]", "[export]\ndpo_min_margin = 60")))}


@pytest.fixture(scope="session")
def _roots(tmp_path_factory):
    """Return {case: a root as it is before its stage}: the stages' first runs, and AGAIN."""
    root, before = Root(tmp_path_factory.mktemp("stages")) / "root", {}
    root.mkdir()
    write_jsonl(root / "rows.jsonl", [a_row(i, n_turns=1) for i in (1, 2)])
    write_jsonl(root / "prs.jsonl", [a_pr(i) for i in (1, 2)])
    root.with_settings({"model": "m"}, TOML)

    def keep(name: str):
        before[name] = shutil.copytree(root, root.with_name(name))

    with FakeLLM() as fake:
        fake.always(judge)
        for stage in FOLDERS:
            keep(stage)
            done = run(stage, root, fake)
            assert done.returncode == 0, done.stderr
        assert run("report", root, fake).returncode == 0   # it names the sets, which are there now
    for name, (_, change) in AGAIN.items():
        shutil.copytree(root, before.setdefault(name, root.with_name(name)))
        change(before[name])
    before["all"] = root
    return before


@pytest.fixture
def at(_roots, tmp_path, fake_llm):
    """Return a function: at("king") is a root before that stage, or in that case."""
    fake_llm.always(judge)
    return lambda case, name="root": shutil.copytree(_roots[case], tmp_path / name)


def files(root) -> dict[str, bytes]:
    """Return the contents of files without locks, and pages without root's name and time."""
    return {path: re.sub(rb"\b[\w.]+ \xc2\xb7 [-\d]+ [:\d]+", b"", content)
            for path, content in files_under(root).items() if "_lock" not in path}


def records(root) -> dict[str, bytes]:
    """Return what the stages have made, without ledgers and what was put aside."""
    return {path: re.sub(rb'"seconds": [\d.]+', b"", content)
            for path, content in files(root).items() if "/_" not in path}


@pytest.mark.parametrize("stage", FOLDERS)
def test_looking_writes_nothing_and_a_second_run_has_nothing_to_do_whatever_the_times_of_files(
        at, fake_llm, stage):
    root = at(stage)
    before = files(root)
    for flag in ("--status", "--dry-run"):
        assert run(stage, root, fake_llm, flag).returncode == 0 and files(root) == before
    done = at("all", "done")
    before = files(done)
    assert run(stage, done, fake_llm).returncode == 0 and files(done) == before
    touched = shutil.copytree(done, root / "touched", copy_function=shutil.copyfile)
    assert run(stage, touched, fake_llm).returncode == 0 and records(touched) == records(done)
    assert fake_llm.n_requests == 0


# system calls that change what is on disk; an audit hook does not see all of them
CALLS = ("write", "fsync", "replace", "rename", "ftruncate", "unlink", "rmdir")


def plant(count) -> None:
    """Have count() called before each of CALLS."""
    def counted(call):
        def before(*args, **kwargs):
            count()
            return call(*args, **kwargs)
        return before
    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


def n_kept(folder) -> int:
    """Return how many replies and items there are, some of them twice."""
    replies = sum(path.read_text().count('"reply":{') for path in folder.glob("_partial/*.jsonl"))
    return replies + len(ledger_lines(folder))


@pytest.mark.parametrize("case", [*FOLDERS, *AGAIN])
def test_a_kill_between_any_two_system_calls_costs_no_record_and_no_reply_that_was_kept(
        at, fake_llm, case):
    stage, _ = AGAIN.get(case, (case, None))
    whole = at(case, "whole")
    assert run(stage, whole, fake_llm).returncode == 0
    n_calls, n_steps, killed = len(fake_llm.answered), 0, True
    while killed:
        root = at(case, str(n_steps))
        n_before = n_kept(root / FOLDERS[stage])
        fake_llm.answered.clear()
        killed = is_killed_at(n_steps, partial(run, stage, root, fake_llm), plant)
        n_lost = len(fake_llm.answered) + n_before - n_kept(root / FOLDERS[stage])
        assert all(len(buckets) == 1 for buckets in in_buckets(root).values())
        assert not any(map(changed_by_hand, root.glob("export/[!_]*/")))
        done = run(stage, root, fake_llm)
        assert done.returncode == 0
        assert stage == "prompt" or not re.search("(edited|adopted) [1-9]", done.stderr)
        assert len(fake_llm.answered) == n_calls + max(0, n_lost) <= n_calls + 1
        assert records(root) == records(whole)
        assert spent_usd(root) == pytest.approx(spent_usd(whole))
        n_steps += 4 if stage == "export" else 1   # which syncs many files
    assert n_steps > 5 and not list(root.rglob("_tmp.*"))


@pytest.mark.parametrize("case", ["prompt", "king", "report", "other rows"])
def test_a_full_disk_is_named_and_what_was_written_stays(at, fake_llm, case):
    """Limit the size of a file, which stands for the disk: a mount needs rights that a test may
    lack."""
    stage, _ = AGAIN.get(case, (case, None))
    root = at(case)
    for path in (root / "rows.jsonl", *root.glob("[pf]*/[!_]*.json")):
        path.write_text(path.read_text().replace("task 1", "x" * 100_000))
    before, limit = records(root), 9_000 if case == "report" else 50_000   # bytes
    done = run_program(
        sys.executable, REPO / f"{stage}.py", *flags_for(fake_llm, "--workers", "1"), cwd=root,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "could not be written" in done.stderr and not list(root.rglob("_tmp.*"))
    assert before.items() <= records(root).items()
    n_asked = fake_llm.n_requests
    assert run(stage, root, fake_llm).returncode == 0 and n_asked == fake_llm.n_requests


@pytest.mark.parametrize("stage", FOLDERS)
def test_a_second_process_on_a_directory_is_refused(at, fake_llm, stage):
    root = at(stage)
    with lock(root / FOLDERS[stage], None, "another"):
        done = run(stage, root, fake_llm)
    assert done.returncode == 2 and "in use by another" in done.stderr


@pytest.mark.parametrize(("stage", "place"), rows("""
prompt   | prompt
king     | prompt
king     | answer
king     | answer_0
ch       | commit
validate | score
report   | defeat
export   | export/dpo
"""))
def test_a_file_where_a_directory_should_be_ends_with_2_and_changes_nothing(
        at, fake_llm, stage, place):
    root = at("all")
    shutil.rmtree(root / place, ignore_errors=True)
    (root / place).write_text("mine")
    before = files(root)
    done = run(stage, root, fake_llm)
    assert done.returncode == 2 and f"{place} is a file where a directory" in done.stderr
    assert files(root) == before and fake_llm.n_requests == 0


@pytest.mark.parametrize(("stage", "broken"), rows("""
king     | answer/prompts_2_1_1.json
ch       | answer/prompts_2_1_1.json
ch       | commit/own__repo-2.json
validate | answer/prompts_2_1_1.json
report   | score/prompts_2_1_1.json
export   | final/prompts_2_1_1.json
export   | commit/own__repo-2.json
"""))
def test_a_torn_record_is_named_and_left_and_the_other_one_is_made(at, fake_llm, stage, broken):
    root = at(stage)
    path, torn = root / broken, (at("all", "whole") / broken).read_bytes()[:-9]
    write_files(root, {broken: torn})
    before = records(root)
    done = run(stage, root, fake_llm)
    assert done.returncode == 1 and path.name in done.stderr and "Traceback" not in done.stderr
    assert path.read_bytes() == torn and records(root) != before


@pytest.mark.parametrize(("script", "flags"), rows("""
king         | --workers 0
king         | --workers x
king         | --limit 0
king         | --shard 4/4
king         | --shard 1
king         | --engine dask
king         | --budget -1
king         | --budget nan
king         | --budget much
king         | --nonsense
king         | --config nowhere.toml
king         | --llm nobody
king         | --compact --status
king         | --compact --shard 0/2
validate     | --mode queen
check_judges | --turns 0 probe
check_judges | tarot
report       | --only *_1
report       | --limit 2
report       | --shard 0/2
export       | --only t_*
export       | --limit 3
export       | --shard 0/2
export       | --prune
export       | --compact
export       | --formats dpo,grpo
"""))
def test_flags_that_make_no_sense_end_with_2_and_change_nothing(at, fake_llm, script, flags):
    root = at("all")
    before = files(root)
    done = run(script, root, fake_llm, *flags.split())
    assert done.returncode == 2 and flags.split()[0][2:] in done.stderr and files(root) == before
