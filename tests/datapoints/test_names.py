"""Check that names in queue lines, records and arguments of tools lead nowhere outside of a root:
a process of its own reads hostile ones, and an audit hook sees what it opens and changes."""
import itertools
import json
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from a_datapoint import write_approved, write_datapoint
from an_attempt import write_attempt
from conftest import queue_line, run_script, with_odd
from root import read_json, write_files, write_json
from watched import NAMES, outside, run_watched

from codedata import records
from codedata.agent.tools import Tool
from codedata.datapoints.commands import Commands
from codedata.datapoints.datapoint_folder import PARTS, content_digest, read_datapoint
from codedata.datapoints.role_agents import material
from codedata.datapoints.task_queue import JOURNAL, TASK_TYPES, QueuedTask, Refusal, TaskManager
from codedata.errors import BrokenRecord, Trouble
from codedata.nl2repo.sources import folder_of
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import SandboxSettings, Settings

ELSEWHERE = """next release validate_datapoint run_in_dp try_solution"""   # or in containers
TEXTS = """text agent reason name datapoint command tags category"""       # of arguments
LINKS = """linked _seeds/linked ../task/linked _tmp/datapoint/linked _staging/linked _tmp/linked
    _trajectories/linked _checks/linked _drafts/linked.md _ideas/linked.json
    _drafts/sums_002_a.md"""


def hostile_root(root: Path) -> Path:
    """Write a root in which each name stands in each text of lines and records."""
    content = content_digest(read_datapoint(write_datapoint(root / "dp/sums")))
    lines = []
    name = write_attempt(root, "sums", content=content)
    tried = read_json(root / f"attempt/{name}/record.json")
    for n, name in enumerate(NAMES):
        if name != "\ud800":   # which TOML cannot hold
            write_datapoint(root / f"dp/m{n}", {"category": name, "reason": name, "repo": name})
            write_approved(root / f"task/l{n}", {"lineage": {"seed": name, "task": name}})
        for field in ("task", "content", "model", "agent"):
            write_json(root / f"attempt/{n}.{field}/record.json", {**tried, field: name})
        for type, line in ((type, queue_line(type)) for type in TASK_TYPES):
            line["task"]["id"] = f"{type}_{n}"
            texts = [json.dumps(one) for one in (name, f"dp/_trajectories/{name}",
                                                 f"{type}_{name}", [name])]
            lines += [with_odd(line, field, text) for field in (*line, *line["task"], *line["data"])
                      for text in texts]
    (root / "dp" / JOURNAL).write_text("\n".join(lines) + "\n")
    for n, link in enumerate(LINKS.split()):
        (root / "dp" / link).parent.mkdir(exist_ok=True)
        (root / "dp" / link).symlink_to(root.parent / ("victim/secret" if n > 7 else "victim"))
        (root / "dp" / link).with_name("round").unlink(missing_ok=True)
        (root / "dp" / link).with_name("round").symlink_to("round")
    return root


def play(root: Path) -> None:
    """Have all commands work on what a hostile root says, then give each name as an argument."""
    settings = Settings(root=root, sandbox=SandboxSettings(sandbox="local"))
    manager = TaskManager(root / "dp")
    desk = Commands(root, settings.dp, manager, SandboxFactory(settings, threading.Event()))
    commands = desk.by_name()
    files = {f"{part}_file": str(root / "dp/sums" / path) for part, path in PARTS.items()}
    (root / "weights").write_text('{"test_numbers_are_added_up": 1}')
    files["weights_file"] = str(root / "weights")
    usual = {**files, "file": files["tests_file"], "difficulty": "easy", "part": "prompt",
             "role": "idea", "path": str(root / "dp/sums")}
    while task := manager.get_next_task("a"):
        work(commands, task, {**usual, **dict.fromkeys(TEXTS.split(), "x")})
        with suppress(Trouble):
            material(task, desk)
        with suppress(Refusal):
            manager.complete_task(task.id, task.token)
    for name, type in itertools.product(NAMES, TASK_TYPES):
        manager.create_task(type, {"seed": "sums", "datapoint": "sums"})
        work(commands, manager.get_next_task("a", type),
             {**usual, **dict.fromkeys(TEXTS.split(), name)})
    desk.queue_returns()


def work(commands: dict, task: QueuedTask, given: dict) -> None:
    known = {"task_id": task.id, "claim": task.token}
    for name, command in commands.items():
        tool = Tool.of(command)
        arguments = {key: value for key, value in {**given, **known}.items()
                     if key in tool.parameters["properties"]}
        with suppress(Trouble):
            if name not in ELSEWHERE and not tool.problem(arguments):   # as every caller asks
                command(**arguments)


def test_no_name_leads_outside_of_the_root(tmp_path):
    write_files(tmp_path, {"victim/secret": "secret"})
    root = hostile_root(tmp_path / "root")
    done = run_watched(root, __file__)
    assert (done.returncode, outside(done)) == (0, []), done.stderr[-999:]
    assert f"{JOURNAL} has lines that no queue writes" in done.stderr
    assert "line 1: at" in done.stderr
    said = run_script("export.py", root, "--formats", "harbor")
    assert "Traceback" not in said.stderr
    assert [path.read_text() for path in (tmp_path / "victim").iterdir()] == ["secret"]


def test_the_name_of_a_repository_or_a_patch_is_none_of_a_place_elsewhere(tmp_path):
    schemas = [one for one in vars(records).values() if hasattr(one, "__dataclass_fields__")]
    named = [(one, key) for one in schemas for key in ("repo_name", "id")
             if key in one.__dataclass_fields__]
    assert len(named) > 8
    for schema, key in named:
        with pytest.raises(BrokenRecord, match=f"`{key}` is refused as the name of an item"):
            records.parse(schema, {key: "../../victim"}, "x")
    with pytest.raises(BrokenRecord, match="leads out"):
        folder_of(tmp_path, "../x")


if __name__ == "__main__":
    play(Path.cwd())
