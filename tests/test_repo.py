"""Check tools/repo, with a fake python that notes what it runs, and the summary of a root."""
import json
import os
import shutil

import a_task
import pytest
from conftest import REPO, run_script
from heron_environment import an_environment
from heron_project import git
from line_tables import rows
from programs import run_program, write_programs
from proven import write_bug
from proven_strip import write_strip
from root import write_files

NOTES = ('#!/bin/sh\ncase "$*" in *one_repository*) echo x "${COMMIT:--}" "$PWD"; exit ;;\n'
         '*check_model*) exit ${MODEL:-1} ;; -c*) exit ${LACKS:-0} ;; esac\n'
         'script=${1##*/}\nshift\nset -- "$script" "$@"\n'
         'case "$*" in *scale*--status) cat r/proven; exit ;; *--status) exit ;; esac\n'
         'echo "$@" >> "$NOTES"\n[ $1 = bug_inject.py ] && mkdir -p r/task/x\n'
         '[ $1 = env_setup.py ] && mkdir -p r/env && '
         'echo "\\"healthy\\": ${HEALTHY:-true}" > r/env/x.json\n'
         'case $1 in "$FAILS") exit ${CODE:-1} ;; esac\n')


def variables(text: str) -> dict[str, str]:
    return dict(one.split("=") for one in text.split())


@pytest.fixture
def repo(tmp_path):
    """Run a copy of tools/repo, and return its outcome with what it has run."""
    def run(*words: str, **env: str):
        write_programs(tmp_path, {"tools/docker-up": "#!/bin/sh\nexit ${ENGINE:-0}\n",
                                  "bin/python": NOTES, "notes": ""})
        shutil.copy(REPO / "tools/repo", tmp_path / "tools")
        env = os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
                            "NOTES": str(tmp_path / "notes")} | env
        done = run_program(tmp_path / "tools/repo", *words, env=env, cwd=tmp_path)
        return done, (tmp_path / "notes").read_text().splitlines()
    return run


@pytest.mark.parametrize("env, called, says", rows("""
DOCKER_HOST=unix:///nowhere CODEDATA_APT=yes | | answers at unix:///nowhere
                 |                    | Run: sudo apt-get install docker.io iptables
CODEDATA_APT=yes | apt-get update -qq | installing docker.io iptables
"""))
def test_no_engine_is_started_beside_one_that_is_named_nor_installed_without_consent(
        tmp_path, env, called, says):
    notes = tmp_path / "notes"
    write_programs(tmp_path, {
        "docker": "#!/bin/sh\nexit 1", "id": "#!/bin/sh\necho 0", "notes": "",
        "dirname": '#!/bin/sh\nexec /usr/bin/dirname "$@"',
        "apt-get": f'#!/bin/sh\necho "apt-get $@" >> {notes}; exit 1'})   # no dockerd
    done = run_program("/bin/bash", REPO / "tools/docker-up",
                       env={**variables(env), "PATH": str(tmp_path)})
    assert (done.returncode, notes.read_text().strip()) == (1, called)
    assert says in done.stderr


def test_a_repository_goes_through_all_scripts_with_the_flags_that_are_given(repo):
    done, called = repo("https://host/birds/heron.git", "--root", "r", "--limit", "5")
    assert done.returncode == 0 and [line.split()[0] for line in called] == [
        "env_setup.py", "analyze.py", "bug_inject.py", "nl2repo.py", "export.py", "status.py"]
    assert "--repo https://host/birds/heron.git --planner recipe --limit 5" in called[0]
    assert all("--limit 5" in line for line in called[:4]) and called[4] == "export.py --root r"
    assert done.stderr.startswith("repo: at most 5 tasks") and "min by the clock" in done.stderr
    assert "no real changes" in done.stderr and "no model is set up" in done.stderr
    done, called = repo("https://host/birds/heron.git", "--workers", "1", "--root=r")
    assert all("--limit 10" in line for line in called[:4]) and "most 10 tasks" in done.stderr
    for address in ("https://host/birds/heron.git@v1", "git@host:birds/heron.git",
                    "git@host:heron@0123abc"):
        assert "--root runs/heron " in repo(address)[1][0]
    assert "--root  --repo" in repo(".", "--root", "")[1][0]   # an error of the scripts


def test_real_changes_come_first_then_agents_then_operators(repo, tmp_path):
    git(tmp_path, "init", "-q")
    commits = []
    for n in range(2):
        git(tmp_path, "commit", "-q", "--allow-empty", "-m", str(n))
        commits.append(git(tmp_path, "rev-parse", "HEAD"))
    for k, line in enumerate(['tier = "real"', 'tier = "agent"', 'tier = "real"']):
        write_files(tmp_path, {f"r/task/{k}/task.toml": f"{line}\n"})
    done, called = repo(".", "--root", "r", COMMIT=commits[1], MODEL="0")
    assert done.returncode == 0 and [" ".join(line.split()[:2]) for line in called[1:5]] == [
        "pr_tasks.py --root", "analyze.py --root", "bug_inject.py agent", "bug_inject.py scale"]
    assert f"--prs git:{tmp_path}@{commits[0]}..{commits[1]} --setup" in called[1]
    assert ["--only x" in line for line in called[:5]] == [False, False, True, True, True]
    assert "2 real, 1 agent, 0 operator, 0 stripped_patch; in r" in done.stderr.split("\n")[-2]
    assert "pr_tasks.py" not in str(repo(".", "--root", "r", COMMIT=commits[0])[1])


@pytest.mark.parametrize("plan, more", rows("""
done 3, stale 1, missing 2  | --steps issue,instruct; --steps validate,report,issue,instruct \
--limit 2; --limit 2
done 1,234, edited 1 (kept) | --steps issue,instruct
"""))
def test_what_is_proven_counts_and_is_finished_before_more_is_made(repo, tmp_path, plan, more):
    write_files(tmp_path, {
        "r/bug/_candidates/x": "",
        "r/proven": f"bug_inject report  bug/_verdicts/ 9 → task/   {plan}   to do 3\n"})
    called = repo(".", "--root", "r", "--limit=5")[1]
    assert [line.partition("--limit=5 ")[2]
            for line in called if "scale" in line] == more.split("; ")


@pytest.mark.parametrize("env, code, n_called, said", rows("""
FAILS=env_setup.py       | 1   | 2 |
HEALTHY=false            | 1   | 2 | no suite is healthy
FAILS=bug_inject.py      | 1   | 6 | in: bug_inject.py
FAILS=analyze.py CODE=130 | 130 | 2 |
"""))
def test_what_was_not_set_up_is_summed_up_alone_and_other_failures_are_named(
        repo, env, code, n_called, said):
    done, called = repo(".", "--root", "r", **variables(env))
    assert (done.returncode, len(called)) == (int(code), int(n_called)) and said in done.stderr
    assert called[-1].startswith("status.py") or code == "130"


@pytest.mark.parametrize("place, env, said", rows("""
        | ENGINE=1 | neither a folder nor a git address
../gone | ENGINE=1 | ../gone is neither
.       | ENGINE=1 | engine is wanted
.       | LACKS=1  | codedata[code,docker]
"""))
def test_without_a_repository_an_engine_or_a_package_nothing_is_run(repo, place, env, said):
    done, called = repo(place, **variables(env))
    assert done.returncode == 2 and said in done.stderr and not called


SUMMARY = """
env_setup                1.5 min  heron: 21 of 21 tests pass, image codedata-
sick: 21 of 21 tests pass
not healthy (tests_fail: so)
--unhealthy-too
none: not verified; to do: add tests
--planner agent
2 bugs proven (agent 2), 1 with a text, 1 without
1 of 2 stripped patches proven: function 1 of 2; odd (1)
heron: 2 functions described
in all                   1.5 min, summed
doc_part2,doc_part1,doc --refresh --root ROOT
"""


def test_a_summary_says_what_came_of_a_root_and_what_to_do_where_nothing_did(tmp_path):
    def cause(name: str) -> dict:
        return {"verified": {"healthy": False, "cause": {"name": name, "evidence": "so"}}}

    tmp_path.with_env(an_environment(), an_environment("sick", **cause("tests_fail")),
                      an_environment("none", status="error", error="not verified",
                                     **cause("no_tests")))
    for n, digits, told in ((1, "0123abcd", {}), (2, "4567cdef", {"instruction": None})):
        tmp_path.with_candidates(f"heron.agent-{n}", {"diff": a_task.BUG_PATCH})
        write_bug(tmp_path, f"heron.agent-{n}.{digits}", **told)
    write_strip(tmp_path)
    write_strip(tmp_path, "heron.function.4567cdef", refused="odd")
    line = {"stage": "env_setup", "item": "heron", "state": "done", "seconds": 90}
    (tmp_path / "env/_ledger.jsonl").write_text(json.dumps(line) + '\n{"sta')   # killed
    done = run_script("status.py", tmp_path, "--summary")
    assert done.returncode == 0, done.stderr
    for said in SUMMARY.strip().replace("ROOT", str(tmp_path)).splitlines():
        assert said in done.stdout
    assert "open:" not in done.stdout
