"""Turn drafts into datapoints: the commands of builders. Reviewers may use some of them."""
from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

from codedata.audit.cheats import RIVAL, rivals_in
from codedata.bounded import inside
from codedata.datapoints.approval import BLIND, OF_BUILDER, lacking_rivals
from codedata.datapoints.commands.desk import (
    SHOWN_CHARS,
    STAGING,
    Desk,
    in_review,
    is_blind,
    name_of,
    read,
)
from codedata.datapoints.contents import Content, checks_of, labelled_checks, row_of, validated
from codedata.datapoints.datapoint_folder import (
    BOX,
    DP,
    DRAFTS,
    IN_REVIEW,
    PARTS,
    content_digest,
    context_of,
    folder_of,
    put,
    read_datapoint,
    with_texts,
)
from codedata.datapoints.packages import described, fetch
from codedata.datapoints.task_queue import BUILD, REVIEW, Refusal
from codedata.disk.layouts import NEW, load_files, put_folder, unwrapped
from codedata.disk.store import digest
from codedata.records import DATAPOINT, DatapointChecks, Files, Object, Task
from codedata.suites.environments import labelled
from codedata.tasks.folder.task_folder import DOCKERFILE, IGNORE, config_of, rivals_digest
from codedata.tasks.prove.grader import Grader, grader_of
from codedata.texts import safe_name

PACKAGES = "_packages"
DIFFICULTIES = Literal["easy", "medium", "hard", "extremely_hard"]
PART = Literal["prompt", "dockerfile", "tests", "weights", "solution"]


def taking_part_files(command: Callable) -> Callable:
    """Replace the `**files` in a command's signature by a parameter `<part>_file` for each part of
    a datapoint, after `task_id` and `claim`. Return the command."""
    signature = inspect.signature(command)
    own, files = [*signature.parameters.values()][:-1], [f"{part}_file" for part in PARTS]
    own[3:3] = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in files]
    command.__signature__ = signature.replace(parameters=own)
    command.__annotations__ |= dict.fromkeys(files, "str")
    return command


class BuildCommands(Desk):
    """Stage, change and validate datapoints."""

    def fetch_package(self, registry: Literal["pypi", "npm"], name: str,
                      version: str = "") -> Object:
        """Fetch the source of a small published package, to base a datapoint on real code. Say its
        licence to create_dp.

        name: the package's name
        version: empty: the newest
        """
        folder = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{registry}-{name}-{version or 'newest'}")
        if not safe_name(folder):
            raise Refusal(f"{name} is no name of a package.")
        place = self.at(PACKAGES, folder)
        if not place.is_dir():
            new = self.at(NEW, folder)
            shutil.rmtree(new, ignore_errors=True)
            with self.room():
                fetch(self.host, registry, name, version, new)
            put_folder(place, new)
        return {"folder": str(unwrapped(place)), **described(place)}

    @taking_part_files
    def create_dp(self, task_id: str, claim: str, difficulty: DIFFICULTIES,
                  additional_files_dir: str = "", licence: str = "", **files: str) -> Object:
        """Stage a datapoint for your task. It replaces the one that was staged before.

        prompt_file: path of prompt.md; the others likewise
        additional_files_dir: the folder whose content is the image's context
        licence: SPDX, where that content is somebody else's
        """
        task = self.held(task_id, claim, BUILD)
        name = name_of(task, "datapoint")
        draft, made_from = self.at(DRAFTS, f"{name}.md"), None
        if draft.is_file():
            made_from = {"directory": f"{DP}/{DRAFTS}", "item": name,
                         "digest": digest(read(draft).decode(errors="replace"))}
        context = {}
        if additional_files_dir:
            context = _files_in(Path(additional_files_dir), "additional_files_dir")
        for path in context:
            _check_additional(path)
        about = {"kind": DATAPOINT, "repo": task.data.get("seed") or name, "languages": [],
                 "status": IN_REVIEW, **({"licence": licence} if licence else {}),
                 "made_from": made_from, "lineage": {
                     "seed": task.data.get("seed", ""), "task": task_id,
                     "agent": task.agent or "", "profile": self.settings.profile}}
        labels = {"difficulty": difficulty, "category": "", "tags": []}
        made = Task(name, DATAPOINT, config_of(name, BOX, about, labels), context, {}, {})
        point = with_texts(made, {part: _text(files[f"{part}_file"]) for part in PARTS})
        return {**_put(self.at(STAGING, name), point), "files": [*context_of(point)]}

    def patch_dp(self, task_id: str, claim: str, part: PART, file: str) -> Object:
        """Replace the text of a part of the staged datapoint, or of the one under review.

        file: path of the new text
        """
        return self._patched(task_id, claim, lambda point: with_texts(point, {part: _text(file)}))

    def patch_additional_files(self, task_id: str, claim: str, name: str, file: str = "") -> Object:
        """Put a file beside the Dockerfile of the staged datapoint, or of the one under review;
        without `file` remove it.

        name: its path in the image's context
        file: path of the new content
        """
        def with_file(point: Task) -> Task:
            inside(folder_of(point), "environment", name)
            others = {path: one for path, one in point.environment.items() if path != name}
            _check_additional(name, others)
            given = {name: read(file)} if file else {}
            return replace(point, environment={**others, **given})

        return self._patched(task_id, claim, with_file)

    def patch_rivals(self, task_id: str, claim: str, rivals_dir: str) -> Object:
        """Put solutions, right and wrong ones, beside the staged datapoint or the one under review;
        validate_datapoint grades them. A builder's replace all of the builder's; a reviewer's are
        added as KIND-review-NAME, and the first ones open the tests to him.

        rivals_dir: a folder with right-*.sh, which have to be rewarded, wrong-*.sh and cheat-*.sh,
            which must not be; each begins with a comment: how it does it, or the sentence that it
            breaks, to the letter
        """
        task = self.held(task_id, claim, BUILD, REVIEW)
        point = self.in_dp(task)
        given = _files_in(Path(rivals_dir), "rivals_dir")
        if odd := sorted(name for name in given if not RIVAL.fullmatch(name)):
            raise Refusal(f"{', '.join(odd)[:500]}: the names are right-*.sh, wrong-*.sh and "
                          "cheat-*.sh.")
        kept = point.rivals or {}
        if task.type == BUILD:
            kept = {name: one for name, one in kept.items() if "-review-" in name}
        else:
            given = {name.replace("-", "-review-", 1): one for name, one in given.items()}
        changed = replace(point, rivals={**kept, **given})
        if is_blind(task, point) and (problem := lacking_rivals(changed, BLIND)):
            raise Refusal(f"{problem}, written before you see the tests.")
        rivals_in(changed)   # raises ItemFailed if a patch does not apply
        return {**_put(folder_of(point), changed), "rivals": sorted(changed.rivals)}

    def validate_datapoint(self, task_id: str, claim: str = "") -> Object:
        """Check the datapoint of a task in containers, and audit it. This takes minutes; the same
        content is not checked again.

        claim: with it the lease is renewed before and afterwards
        """
        task = self.manager.get_task(task_id)
        point = self.seen(task)
        if claim:
            self.manager.heartbeat(task_id, claim)
        checks = checks_of(self.root, point, self._check)
        if claim:
            self.manager.heartbeat(task_id, claim)
        return row_of(point, checks)

    def _check(self, content: Content) -> DatapointChecks:
        with self.room():
            self.host.reap_first()
            return labelled_checks(self.root, self.host, content)

    def run_in_dp(self, task_id: str, command: str, input_file: str = "") -> Object:
        """Run a bash command as the agent in a fresh container of a datapoint's image, without a
        network.

        command: what bash runs in the work directory
        input_file: a file, such as a test, that the command finds in /run/command under its name
        """
        given = {Path(input_file).name: read(input_file)} if input_file else {}
        point = self.point(self.manager.get_task(task_id))
        with self._grader(point) as grader, grader.opened() as sandbox:
            sandbox.put({**given, "command.sh": command.encode()}, "/run/command")
            done = grader.run(sandbox, "/run/command/command.sh", 300)
        return {"exit_code": done.exit_code, "output": done.output[-SHOWN_CHARS:]}

    def try_solution(self, task_id: str, file: str) -> Object:
        """Grade another solution of a datapoint in the same way as its own. A right one should get
        1, a half-done one less.

        file: path of the bash script
        """
        with self._grader(self.seen(self.manager.get_task(task_id))) as grader:
            work, printed = grader.work(read(file).decode(errors="replace"))
            grade = grader.grade(work)
        return {"reward": grade.reward, "passed": sorted(grade.passed()),
                "printed": printed[-SHOWN_CHARS:], "log": grade.log}

    @contextmanager
    def _grader(self, point: Task) -> Iterator[Grader]:
        """Build the image of a datapoint, and yield its grader."""
        self.host.reap_first()
        with self.room(), labelled(self.host, point.instance_id, "dp") as label:
            yield grader_of(point, self.host, label)

    def add_dp_to_review(self, task_id: str, claim: str) -> Object:
        """Hand a staged datapoint in for review, and end its task. It needs 2 right and 6 wrong
        rivals, and all its checks must have passed.
        """
        task = self.held(task_id, claim, BUILD)
        point = self.point(task)
        validated(self.root, point, OF_BUILDER)
        name, content = point.instance_id, content_digest(point)
        if content == task.data.get("content") and rivals_digest(point) == task.data.get(
                "rivals", rivals_digest(point)):
            raise Refusal("The datapoint is unchanged.")
        put_folder(self.at(name), folder_of(point))
        self.manager.complete_task(task_id, claim, {"content": content})
        return {"datapoint": name, "review": self.queue_review(
            read_datapoint(self.at(name)), task_id)}

    def _patched(self, task_id: str, claim: str, change: Callable[[Task], Task]) -> Object:
        """Apply a change to a task's datapoint, and write the changed datapoint to its folder."""
        task = self.held(task_id, claim, BUILD, REVIEW)
        point = self.in_dp(task)
        return _put(folder_of(point), in_review(change(point)))


def _put(place: Path, point: Task) -> Object:
    """Write a datapoint to its folder; return the result that names it."""
    put(place, point)
    return {"datapoint": point.instance_id, "content": content_digest(point)}


def _files_in(folder: Path, flag: str) -> Files:
    """Return the files of a folder. Raise Refusal if it has links, or too many or too large files.
    """
    if not folder.is_dir():
        raise Refusal(f"{flag} is no folder.")
    try:
        return load_files(folder)
    except ValueError as e:
        raise Refusal(f"{flag}: {e}.") from e


def _check_additional(path: str, others: Iterable[str] = ()) -> None:
    """Raise Refusal if a path is not in normal form, or conflicts with another file."""
    place = PurePosixPath(path)
    is_taken = path in (DOCKERFILE, IGNORE) or any(
        other.startswith(f"{path}/") or place.is_relative_to(other) for other in others)
    if path in ("", ".") or str(place) != path or is_taken:
        raise Refusal(f"{path} cannot be a file of the context.")


def _text(path: str) -> str:
    try:
        text = read(path).decode()
    except UnicodeDecodeError as e:
        raise Refusal(f"{path} is not UTF-8 text: {e}.") from e
    if "\0" in text:
        raise Refusal(f"{path} has a NUL byte.")
    return text
