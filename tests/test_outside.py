"""Check that each script opens nothing outside of its root, whatever names rows, records, reports,
archives and folders of strangers have: an audit hook sees it."""
import itertools
import json
import shutil

import pytest
from a_task import a_bug, a_datapoint, write_foreign, write_task
from conftest import REPO, with_odd
from fake_judges import validated as decide
from heron_environment import an_environment
from root import Root, read_json, write_files, write_json
from setups import CA_FLAGS
from source_rows import a_pr, a_row
from watched import NAMES, outside, run_watched

from codedata.checks.benchmark_rows import read_rows
from codedata.datapoints.seeds import seeds_in
from codedata.disk.row_files import files_by_format

RUNS = """prompt --source rows.jsonl --prs prs.jsonl --count 50
    prompt --source rows.jsonl --check
    pr_tasks --prs prs.jsonl --steps records
    env_setup --input repos.jsonl --planner recipe --dry-run
    king --dry-run | ch --dry-run | validate --dry-run | check_judges --dry-run
    run_turns --dry-run | report | export --formats sft,dpo,harbor,swebench | status --html
    analyze --dry-run | bug_inject scale --dry-run | nl2repo --dry-run | audit --dry-run"""
RUNS = [one.split() for line in RUNS.split("\n") for one in line.split("|")]


# the names that members of an archive have; each stands for a text that is in the image
MEMBERS = """import io, os, sys, tarfile
with tarfile.open("/var/tmp/codedata-work.tar", "w") as out:
    for name in sys.argv[1:]:
        member = tarfile.TarInfo(name)
        member.size = 400
        out.addfile(member, io.BytesIO(open("/opt/answer", "rb").read()))
"""
W = "/var/tmp/codedata-work.tar"
ARCHIVES = {   # what a task of somebody else collects; why it is not checked
    "members": ("python3 /opt/members.py done {secret}", "secret' leads out"),
    "environ": ("python3 /opt/members.py /proc/self/environ", "environ' leads out"),
    "folder": (f"mkdir {W}; touch {W}/a", "no archive"), "nothing": ("true", "is not there"),
    "link": (f"ln -s /etc/passwd {W}", "leads out"), "pipe": (f"mkfifo {W}", "a pipe"),
    "garbage": (f"head -c 5000 /dev/urandom >{W}", "no archive"),
    "part": (f"tar -cf - -C /usr/lib python3 | head -c 700000 >{W}", "no archive"),
    "gzip": (f"truncate -s 300M a; tar -czf {W} a", "no archive"),
    "sparse": (f"truncate -s 3G a; tar -S -cf {W} a", "a sparse file"),
    "pax": (f"truncate -s 3G a; tar -S --format=posix -cf {W} a", "a sparse file")}


def odd(record: dict, *fields: str):
    """Yield a record as it is, then with each of NAMES in each text."""
    yield json.dumps(record)
    for field, name in itertools.product(fields or [*record], NAMES):
        if isinstance(record[field], (str, list)):
            yield with_odd(record, field, json.dumps([name] if record[field] == [] else name))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Return a folder with a root in which each name stands in each text of rows and records."""
    root = Root(tmp_path_factory.mktemp("hostile")) / "root"
    root.mkdir()
    write_files(root.parent, {"victim/secret": "secret"})
    repo = {"repo_name": "a", "image_name": "a", "base_commit": "c" * 40, "repo": "owner/name"}
    for name, rows in (("rows", odd(a_row(1))), ("prs", odd(a_pr(1))),
                       ("repos", odd(repo, "repo_name", "image_name", "base_commit"))):
        (root / f"{name}.jsonl").write_text("\n".join(rows))
    root.with_panel("a").with_prompts(1, stem="t").with_commits(1).with_answer("t_1")
    root.with_score("t_1", {"a": [1, 1, 1, 1, 1]})
    decide(root)
    write_json(root / "env/heron.json", an_environment())
    for path in root.glob("[!_]*/[!_]*.json"):
        record = read_json(path)
        for n, text in enumerate(odd(record[0] if isinstance(record, list) else record)):
            path.with_name(f"{path.stem}x{n}.json").write_text(
                f"[{text}]" if isinstance(record, list) else text)
    for task in (a_bug(), a_datapoint()):
        write_task(root, task)
    for n, name in enumerate(NAMES[:5]):
        place = json.dumps(name)
        write_foreign(root, f"t{n}", {"task.toml": f"artifacts = [{place}]\n[environment]\n"
                                                   f"workdir = {place}\n"})
    for link in ("task/t0/tests/l", "task/l", "answer/l.json", "commit/l.json", "env/l.json"):
        (root / link).symlink_to(root.parent / "victim/secret")
    return root


@pytest.mark.parametrize("words", RUNS, ids=" ".join)
def test_a_script_opens_nothing_outside_of_its_root(hostile, tmp_path, words):
    root = tmp_path / "root"
    shutil.copytree(hostile, root, symlinks=True)
    done = run_watched(root, REPO / f"{words[0]}.py", *words[1:], "--root", root)
    assert outside(done) == [] and "Traceback" not in done.stderr, done.stderr[-2000:]


@pytest.mark.parametrize("read", [
    seeds_in, read_rows, lambda folder: files_by_format(str(folder))["jsonl"]],
    ids=["seeds", "benchmark", "source"])
def test_links_out_of_a_folder_or_in_a_circle_are_not_followed(tmp_path, read):
    row = {"instance_id": "a", "patch": "a"}
    write_json(tmp_path / "in/a.jsonl", row)
    write_json(tmp_path / "out/b.jsonl", row)
    for name, to in (("b.jsonl", "../out/b.jsonl"), ("out", "../out"), ("here", ".")):
        (tmp_path / "in" / name).symlink_to(to)
    assert len([*read(tmp_path / "in")]) == 1


@pytest.mark.docker
def test_archives_of_an_agents_work_are_named_and_lead_nowhere(hostile, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    for name, (collect, _) in ARCHIVES.items():
        command = json.dumps(collect.format(secret="../" * 20 + str(secret)))
        write_foreign(tmp_path, name, {
            "task.toml": f'artifacts = ["{W}"]\n[[verifier.collect]]\ncommand = {command}\n'
                         '[environment]\nworkdir = "/srv"\n',
            "environment/Dockerfile": "FROM codedata-base:bookworm\nWORKDIR /srv\nCOPY . /opt/\n",
            "environment/members.py": MEMBERS, "environment/answer": f"{'x' * 39}\n" * 10,
            "tests/test.sh": "echo 1 >/logs/verifier/reward.txt\n"})
    root = tmp_path / "root"
    root.mkdir()
    flags = "--checks", "gold,answer", "--root", root, "--cpu-request", 1, *CA_FLAGS
    done = run_watched(root, REPO / "audit.py", "--tasks", tmp_path / "task", *flags)
    assert [one for one in outside(done) if str(tmp_path / "task") not in one] == [], done.stderr
    assert done.returncode == 0, done.stderr
    found = {name: read_json(root / f"audit/{name}.json")["checks"]
             for name in ARCHIVES}
    for name, checks in found.items():
        for check in checks:
            assert check["result"] == "not checked" and ARCHIVES[name][1] in check["why"], found
