"""Write trajectories by hand, which samples/replay.py serves: of agents that take a seed to an
approved datapoint."""
import itertools
import json
import sys
from pathlib import Path

from a_datapoint import CONTEXT, OF_REVIEW, RIVALS, TEXTS, write_datapoint
from conftest import REPO
from root import filled, write_json
from tool_turns import call

from codedata.audit.audit_stage import CHECKS
from codedata.datapoints.contents import AUDITED, content_of
from codedata.datapoints.datapoint_folder import read_datapoint
from codedata.records import AuditCheck, DatapointChecks
from codedata.tasks.folder.task_folder import PROOF

sys.path.insert(0, str(REPO / "samples"))
from replay import Replay  # noqa: F401

SPEC = "\n".join(f"## {title}\n\nWords on {{name}}, part {n}.\n" for n, title in enumerate((
    "Task", "Instructions", "Environment Setup", "Testing", "Difficulty", "Core Skills Tested",
    "Key Technologies")))
STAGED = {f"{part}_file": f"dp/{part}" for part in TEXTS}
GIVE_RIVALS = ("patch_rivals", {"rivals_dir": "rivals"})
CREATE = ("create_dp", {**STAGED, "difficulty": "easy", "additional_files_dir": "dp/files"})
APPROVE = ("approve_datapoint", {"category": "Debugging", "tags": "python",
                                 "languages": "python"})


def record(folder: Path, type: str, subject: str, *turns) -> None:
    """Write the trajectory of a task; a turn is (tool, arguments), a list of these, or a text."""
    ids = itertools.count(1)
    messages = [{"role": "system", "content": ""},
                {"role": "user", "content": f"Your task: {type} of {subject}."}]
    for turn in turns:
        message = {"role": "assistant", "content": turn if isinstance(turn, str) else None}
        if not isinstance(turn, str):
            message["tool_calls"] = [call(*one, f"call_{next(ids)}")
                                     for one in (turn if isinstance(turn, list) else [turn])]
        messages.append(message)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{type}.{subject}.json", {"messages": messages})


def idea_turns(seed: str) -> list:
    """Return the turns of an agent that makes one draft of a seed."""
    ideas = json.dumps([{"title": f"Idea {n} of {seed}"} for n in range(4)])
    return [("bash", {"command": "cat seed/*"}), ("get_task_parameters", {}),
            ("save_artifact", {"text": ideas}), ("get_idea_refinement_details", {}),
            ("add_artifact", {"text": SPEC.replace("{name}", seed)}),
            ("create_task", {"datapoint": f"{seed}_001_a"}), ("complete", {})]


def builder_turns(**parts: str) -> list:
    """Return the turns of an agent that builds the small datapoint, with other texts of parts."""
    texts = {**TEXTS, **parts, **{f"files/{name}": text for name, text in CONTEXT.items()}}
    files = [("create_file", {"path": f"dp/{name}", "content": text})
             for name, text in texts.items()]
    return [("view_file", {"path": "draft.md"}), [*files, *_files(RIVALS)], CREATE, GIVE_RIVALS,
            ("validate_datapoint", {}), ("add_dp_to_review", {})]


def _files(rivals: dict[str, str]) -> list:
    return [("create_file", {"path": f"rivals/{name}", "content": text})
            for name, text in rivals.items()]


def review_turns() -> list:
    """Return the turns of an agent that approves a datapoint."""
    return [("read_datapoint", {}), ("read_datapoint", {"name": "total.py"}), _files(OF_REVIEW),
            GIVE_RIVALS, ("validate_datapoint", {}), ("show_categories_tags", {}), APPROVE]


def write_checks(root: Path, folder: Path, failed: str = "", why: str = "",
                 base_image: str | None = None) -> str:
    """Write what the checks of a datapoint show: all have passed, or all but one. They were made on
    the engine's base image, or another one. Return its content."""
    content = content_of(read_datapoint(folder), None)
    checks = [{"name": name, "status": "failed" if name == failed else "passed", "seconds": 1.5,
               "why": why if name == failed else "", "evidence": [why] if name == failed else []}
              for name in ("structure", "solvable", "cheats")]
    audit = [filled(AuditCheck, name=name, version=CHECKS[name].version, result="passed")
             for name in AUDITED]
    root.put(content.content, DatapointChecks(
        content.instance_id, content.content,
        content.base_image if base_image is None else base_image, PROOF, not failed, checks,
        [why] if why else [], 4.5, 4.0, [], content.rivals, audit))
    return content.content


def judged(root: Path, failed: str = "", base_image: str | None = None, **how) -> str:
    """Do write_checks() for the small datapoint with other texts of parts, or rivals."""
    return write_checks(root, write_datapoint(root / "judged", **how), failed,
                        base_image=base_image)
