"""Run the commands of agents on tasks and datapoints.

Each public method of Commands, except queue_reviews() and point(), is a command of `build_dp.py
tool`; agents.py lists those that agents have as tools. A command that changes a claimed task takes
the task's claim, and renews its lease.
"""
from __future__ import annotations

import inspect
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

from codedata.audit.cheats import RIVAL, rivals_in
from codedata.bounded import inside, read_bounded
from codedata.datapoints.approval import (
    BLIND,
    OF_BUILDER,
    OF_REVIEW,
    TAXONOMY,
    approval_problem,
    categories,
    lacking_rivals,
    proof_of,
)
from codedata.datapoints.contents import (
    Content,
    checks_of,
    content_of,
    known_checks,
    labelled_checks,
    put_audit,
    row_of,
)
from codedata.datapoints.folder import (
    APPROVED,
    BOX,
    CANCELLED,
    DP,
    IN_REVIEW,
    PARTS,
    RETURNED,
    content_digest,
    context_of,
    folder_of,
    folders_in_dp,
    labels_of,
    put,
    read_all,
    read_datapoint,
    readable,
    texts_of,
    with_texts,
)
from codedata.datapoints.packages import described, fetch
from codedata.datapoints.profiles import gaps_in, instructions
from codedata.datapoints.queue import BUILD, GENERATE, REVIEW, Refusal, TaskManager
from codedata.datapoints.rates import attempts_in, rates_by_model
from codedata.datapoints.seeds import seeds_in
from codedata.datapoints.twins import DRAFTS, SEEDS, Twins
from codedata.disk.layouts import (
    NEW,
    Folder,
    load_files,
    set_aside,
    to_json,
    write_atomic,
    write_files,
)
from codedata.disk.store import Store, digest
from codedata.errors import ItemFailed
from codedata.records import (
    DATAPOINT,
    DatapointChecks,
    Files,
    ItemName,
    Object,
    RivalledTask,
    Task,
    safe_name,
)
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.environments import labelled
from codedata.tasks.folder.folder import (
    DOCKERFILE,
    IGNORE,
    config_of,
    proven,
    rivals_digest,
    with_about,
)
from codedata.tasks.prove.grade import Grader, grader_of
from codedata.terminal import say
from codedata.texts import printable, text_of

IDEAS, STAGING, PACKAGES = "_ideas", "_staging", "_packages"
ENDS = {BUILD: "add_dp_to_review", REVIEW: "approve_datapoint or cancel_datapoint"}
SECTIONS = ("Task", "Instructions", "Environment Setup", "Testing", "Difficulty",
            "Core Skills Tested", "Key Technologies")
DIFFICULTIES = Literal["easy", "medium", "hard", "extremely_hard"]
PART = Literal["prompt", "dockerfile", "tests", "weights", "solution"]
MAX_BYTES = 1_000_000
IDEAS_PER_DRAFT = 4                 # of which one is chosen
MAX_SIMILARITY = 0.3                # of a draft and its twin: Jaccard
MAX_RETURNS = 3                     # of a datapoint to a builder, by its reviewers
SHOWN_CHARS = 20_000                # of a text in a result


def taking_part_files(command: Callable) -> Callable:
    """Replace the `**files` in a command's signature by an argument `<part>_file` for each part of
    a datapoint, behind `task_id` and `claim`. Return the command."""
    signature = inspect.signature(command)
    own, files = [*signature.parameters.values()][:-1], [f"{part}_file" for part in PARTS]
    own[3:3] = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in files]
    command.__signature__ = signature.replace(parameters=own)
    command.__annotations__ |= dict.fromkeys(files, "str")
    return command


class Commands:
    """Hold a root and its queue. `room` limits how many datapoints have containers at a time;
    `report` is called with a line for each check that ends."""

    def __init__(self, settings: Settings, manager: TaskManager, host: SandboxFactory,
                 room: Callable[[], AbstractContextManager] = nullcontext,
                 report: Callable[[str], None] = say):
        self._settings, self._manager, self._host = settings, manager, host
        self._root = settings.root
        self.dp = settings.root / DP
        self._room, self._report = room, report
        self._twins = Twins(self._root, MAX_SIMILARITY)

    # the queue -----------------------------------------------------------------------------------

    def next(self, agent: str, task_type: str = "") -> Object:
        """Claim the next task. Pass the returned `claim` to commands that change the task. `id` is
        null if no task is pending.

        agent: a name of your own
        task_type: generate_idea, build_datapoint or review_datapoint; empty: any
        """
        self.queue_reviews()
        task = self._manager.get_next_task(agent, [task_type] if task_type else None)
        if not task:
            return {"id": None}
        return {"claim": task.pop("token"), **task}

    def complete(self, task_id: str, claim: str,
                 status: Literal["completed", "failed", "rejected"] = "completed",
                 reason: str = "") -> Object:
        """End a task that you hold as completed, failed (others may try it again) or rejected
        (nobody tries it again).

        reason: why it failed or was rejected
        """
        if status != "completed" and not reason.strip():
            raise Refusal("A reason is missing.")
        if status == "completed":
            self._check_complete(self._manager.get_task(task_id))
            self._manager.complete_task(task_id, token=claim)
        elif status == "failed":
            self._manager.fail_task(task_id, "", reason, token=claim)
        else:
            self._manager.cancel_task(task_id, reason, token=claim)
        return self.info(task_id)

    def _check_complete(self, task: dict) -> None:
        """Raise Refusal if another command completes tasks of this type, if the task has no child
        tasks, or if no child task builds one of its drafts."""
        if task["type"] in ENDS:
            raise Refusal(f"Complete this task with {ENDS[task['type']]}.")
        queued = {child.get("datapoint") for child in self._manager.children(task["id"])}
        unqueued = {*self._drafts(task)} - queued
        if not queued or unqueued:
            raise Refusal(f"No task builds {', '.join(unqueued) or 'an idea of this seed'}: run "
                          "add_artifact and create_task first, or give the status rejected.")

    def release(self, task_id: str, claim: str) -> Object:
        """Give a task back, as if it had never been claimed."""
        self._manager.release(task_id, token=claim)
        return self.info(task_id)

    def heartbeat(self, task_id: str, claim: str) -> Object:
        """Renew the lease of a task."""
        self._manager.heartbeat(task_id, token=claim)
        return {"id": task_id, "lease_until": self._manager.get_task(task_id)["lease_until"]}

    def info(self, task_id: str) -> Object:
        """Show a task with its data, and the ids of its children."""
        task = self._manager.get_task(task_id)
        return {**task, "children": [one["id"] for one in self._manager.children(task_id)]}

    def list(self, task_type: str = "", state: str = "") -> Object:
        """List tasks by type and state."""
        return {"tasks": [{key: task[key] for key in ("id", "type", "state", "parent", "attempts")}
                          for task in self._manager.tasks(task_type, state)]}

    def status(self) -> Object:
        """Count the tasks by type and state, and the datapoints by status, category, language and
        difficulty; show how often models pass each datapoint."""
        self.queue_reviews()
        counts = {key: Counter() for key in ("status", "category", "language", "difficulty")}
        attempts, rates = attempts_in(self._root), {}
        for task in readable(self._root):
            labels = labels_of(task)
            for key in ("status", "category", "difficulty"):
                counts[key][getattr(labels, key)] += 1
            counts["language"].update(labels.languages)
            if tried := attempts.get((task.instance_id, content_digest(task))):
                rates[task.instance_id] = rates_by_model(tried)
        return {**self._manager.status(), "datapoints": counts, "rates": rates}

    def _held(self, task_id: str, claim: str, *types: str) -> dict:
        """Return a task, and renew its lease. Raise Refusal if it is of none of these types, or is
        not held under this claim."""
        task = self._manager.get_task(task_id)
        if task["type"] not in types:
            raise Refusal(f"{task_id} is a task of type {task['type']}, not {' or '.join(types)}.")
        self._manager.heartbeat(task_id, token=claim)
        return task

    def queue_reviews(self) -> None:
        """Queue a review of each datapoint in review that has no open review task. So a reviewer's
        own edits queue none."""
        reviewed = {task.get("datapoint") for state in ("pending", "in_progress")
                    for task in self._manager.tasks(REVIEW, state)}
        for point in read_all(folders_in_dp(self._root, []), []):   # `validate` names broken ones
            if labels_of(point).status == IN_REVIEW and point.instance_id not in reviewed:
                self._queue_review(point)

    def _queue_review(self, point: RivalledTask, parent: str = "") -> str:
        name, content = point.instance_id, content_digest(point)
        key = f"{REVIEW}:{name}:{content}:{rivals_digest(point)}"
        return self._manager.create_task(REVIEW, {"datapoint": name, "content": content},
                                         parent=parent, key=key)

    def instructions(self, role: Literal["idea", "builder", "review"]) -> Object:
        """Show the instructions of a role.

        role: the role of the agent
        """
        return {"text": instructions(role, self._settings)}

    # ideas ---------------------------------------------------------------------------------------

    def init_seed_tasks(self, path: str) -> Object:
        """Store the seeds of a file or folder, and queue a task for each. Known seeds are kept.

        path: a folder of seeds, a seed, or a JSONL file
        """
        n_new, empty = 0, []
        for seed in seeds_in(Path(path)):
            if not any(text.strip() for text in seed.texts.values()):
                empty.append(seed.id)
                continue
            place, new = self._at(SEEDS, seed.id), self._at(NEW, seed.id)
            if not place.exists():
                n_new += 1
                shutil.rmtree(new, ignore_errors=True)
                write_files(new, {path: text.encode() for path, text in seed.texts.items()})
                place.parent.mkdir(parents=True, exist_ok=True)
                Folder.put(place, new)
            self._manager.create_task(GENERATE, {"seed": seed.id, "seed_data": seed.texts},
                                      key=f"{GENERATE}:{seed.id}")
        return {"new": n_new, **({"without_text": empty} if empty else {})}

    def get_task_parameters(self) -> Object:
        """Show how many ideas and drafts to make of a seed, which sections a draft needs, and which
        categories, languages and stacks no datapoint has."""
        dp = self._settings.dp
        return {"n": dp.drafts, "multiplier": IDEAS_PER_DRAFT,
                "ideas": dp.drafts * IDEAS_PER_DRAFT, "sections": SECTIONS,
                "missing": gaps_in(self._root, dp.profile)}

    def save_artifact(self, task_id: str, claim: str, text: str) -> Object:
        """Save the ideas of a seed: a JSON list of objects, each with a title. It replaces an
        earlier list.

        text: the list
        """
        task = self._held(task_id, claim, GENERATE)
        ideas = _ideas_of(text)
        write_atomic(self._ideas(task), to_json(ideas))
        return {"saved": len(_titles(ideas))}

    def get_artifact(self, task_id: str) -> Object:
        """Show what was saved for a task: the ideas of a seed, or the draft of a datapoint."""
        task = self._manager.get_task(task_id)
        is_idea = task["type"] == GENERATE
        place = self._ideas(task) if is_idea else self._at(DRAFTS, f"{_of(task, 'datapoint')}.md")
        if not place.exists():
            raise Refusal(f"Nothing is saved for {task_id}.")
        return {"text": _read(str(place)).decode(errors="replace")}

    def get_idea_refinement_details(self, task_id: str, claim: str) -> Object:
        """Show the criteria for choosing among the ideas, once enough of them are saved."""
        task = self._held(task_id, claim, GENERATE)
        place = self._ideas(task)
        n = len(_titles(_ideas_of(_read(str(place))))) if place.exists() else 0
        wanted = self.get_task_parameters()["ideas"]
        if n < wanted:
            raise Refusal(f"Only {n} of {wanted} ideas with different titles are saved: save more "
                          "with save_artifact.")
        return {"text": text_of("codedata.datapoints", "roles/idea/refinement.md")}

    def add_artifact(self, task_id: str, claim: str, text: str) -> Object:
        """Save the draft of a chosen idea; the same text is saved once. Then queue its building
        with create_task.

        text: Markdown with the sections that get_task_parameters lists, each as "## Title"
        """
        task = self._held(task_id, claim, GENERATE)
        missing = [title for title in SECTIONS
                   if not re.search(rf"^#+ {title}\s*$", text, re.MULTILINE)]
        if missing:
            raise Refusal(f"The draft has no section {', '.join(missing)}.")
        drafts = self._drafts(task)
        for name in drafts:
            if _read(str(self._at(DRAFTS, f"{name}.md"))) == text.encode():
                return {"datapoint": name}
        if len(drafts) >= self._settings.dp.drafts:
            raise Refusal(f"This seed has {len(drafts)} drafts already; no more are allowed.")
        if twin := self._twins.of(text):
            raise Refusal(f"The draft nearly copies {twin.of} ({twin.similarity:.0%} of both is "
                          "the same): choose another idea.")
        name = f"{task['seed']}_{len(drafts) + 1:03d}_a"
        write_atomic(self._at(DRAFTS, f"{name}.md"), text.encode())
        return {"datapoint": name}

    def create_task(self, task_id: str, claim: str, datapoint: str) -> Object:
        """Queue the building of a draft as a child of your task, once.

        datapoint: the draft's name
        """
        task = self._held(task_id, claim, GENERATE)
        if datapoint not in self._drafts(task):
            raise Refusal(f"{datapoint} is not a draft of this seed: run add_artifact.")
        id = self._manager.create_task(BUILD, {"datapoint": datapoint, "seed": task["seed"]},
                                       parent=task_id, key=f"{BUILD}:{datapoint}")
        return {"datapoint": datapoint, "task": id}

    def _drafts(self, task: dict) -> list[str]:
        """Return the names of a seed's drafts."""
        drafts = self._at(DRAFTS).glob(f"{_of(task, 'seed')}_???_?.md")
        return sorted(path.stem for path in drafts)

    def _ideas(self, task: dict) -> Path:
        """Return where the ideas of a seed are saved."""
        return self._at(IDEAS, f"{_of(task, 'seed')}.json")

    # building ------------------------------------------------------------------------------------

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
        place = self._at(PACKAGES, folder)
        if not place.is_dir():
            new = self._at(NEW, folder)
            shutil.rmtree(new, ignore_errors=True)
            with self._room():
                fetch(self._host, registry, name, version, new)
            place.parent.mkdir(parents=True, exist_ok=True)
            Folder.put(place, new)
        inside = [*place.iterdir()]
        top = inside[0] if len(inside) == 1 and inside[0].is_dir() else place
        return {"folder": str(top), **described(place)}

    @taking_part_files
    def create_dp(self, task_id: str, claim: str, difficulty: DIFFICULTIES,
                  additional_files_dir: str = "", licence: str = "", **files: str) -> Object:
        """Stage a datapoint for your task. It replaces the one that was staged before.

        prompt_file: path of prompt.md; the others likewise
        additional_files_dir: the folder whose content is the image's context
        licence: SPDX, where that content is somebody else's
        """
        task = self._held(task_id, claim, BUILD)
        name = _of(task, "datapoint")
        context = _context_in(Path(additional_files_dir)) if additional_files_dir else {}
        about = {"kind": DATAPOINT, "repo": task.get("seed") or name, "languages": [],
                 "status": IN_REVIEW, **({"licence": licence} if licence else {}),
                 "made_from": self._made_from(name), "lineage": {
                     "seed": task.get("seed", ""), "task": task_id,
                     "agent": task.get("agent") or "", "profile": self._settings.dp.profile}}
        labels = {"difficulty": difficulty, "category": "", "tags": []}
        made = Task(name, DATAPOINT, config_of(name, BOX, about, labels), context, {}, {})
        point = _with(made, {part: _text(files[f"{part}_file"]) for part in PARTS})
        return {**_put(self._at(STAGING, name), point), "files": [*context_of(point)]}

    def _made_from(self, name: str) -> Object | None:
        """Return {directory, item, digest} of a datapoint's draft, for its `made_from`; None if the
        draft is gone."""
        draft = self._at(DRAFTS, f"{name}.md")
        if not draft.is_file():
            return None
        return {"directory": f"{DP}/{DRAFTS}", "item": name,
                "digest": digest(_read(str(draft)).decode(errors="replace"))}

    def patch_dp(self, task_id: str, claim: str, part: PART, file: str) -> Object:
        """Replace the text of a part of the staged datapoint, or of the one under review.

        file: path of the new text
        """
        return self._patched(task_id, claim, lambda point: _with(point, {part: _text(file)}))

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
            given = {name: _read(file)} if file else {}
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
        task = self._held(task_id, claim, BUILD, REVIEW)
        point = self._in_dp(task)
        given = _files_in(Path(rivals_dir), "rivals_dir")
        if odd := sorted(name for name in given if not RIVAL.fullmatch(name)):
            raise Refusal(f"{', '.join(odd)[:500]}: the names are right-*.sh, wrong-*.sh and "
                          "cheat-*.sh.")
        of_review = {name: one for name, one in (point.rivals or {}).items() if "-review-" in name}
        if task["type"] == BUILD:
            rivals = {**of_review, **given}
        else:
            added = {name.replace("-", "-review-", 1): one for name, one in given.items()}
            rivals = {**(point.rivals or {}), **added}
        changed = replace(point, rivals=rivals)
        if is_blind(task, point) and (problem := lacking_rivals(changed, BLIND)):
            raise Refusal(f"{problem}, written before you see the tests.")
        rivals_in(changed)   # raises ItemFailed where a patch does not fit
        return {**_put(folder_of(point), changed), "rivals": sorted(rivals)}

    def validate_datapoint(self, task_id: str, claim: str = "") -> Object:
        """Check the datapoint of a task in containers, and audit it. This takes minutes; the same
        content is not checked again.

        claim: with it the lease is renewed before and afterwards
        """
        task = self._manager.get_task(task_id)
        point = self._seen(task)
        if claim:
            self._manager.heartbeat(task_id, token=claim)
        checks = checks_of(self._root, point, self._check)
        if claim:
            self._manager.heartbeat(task_id, token=claim)
        return row_of(point, checks)

    def _check(self, content: Content) -> DatapointChecks:
        with self._room():
            self._host.reap_first()
            return labelled_checks(self._settings, self._host, content, self._report)

    def run_in_dp(self, task_id: str, command: str, input_file: str = "") -> Object:
        """Run a bash command as the agent in a fresh container of a datapoint's image, without a
        network.

        command: what bash runs in the work directory
        input_file: a file, such as a test, that the command finds in /run/command under its name
        """
        given = {Path(input_file).name: _read(input_file)} if input_file else {}
        point = self.point(self._manager.get_task(task_id))
        with self._grader(point) as grader, grader.opened() as sandbox:
            sandbox.put({**given, "command.sh": command.encode()}, "/run/command")
            done = grader.run(sandbox, "/run/command/command.sh", 300)
        return {"exit_code": done.exit_code, "output": done.output[-SHOWN_CHARS:]}

    def try_solution(self, task_id: str, file: str) -> Object:
        """Grade another solution of a datapoint in the same way as its own. A right one should get
        1, a half-done one less.

        file: path of the bash script
        """
        with self._grader(self._seen(self._manager.get_task(task_id))) as grader:
            work, printed = grader.work(_read(file).decode(errors="replace"))
            grade = grader.grade(work)
        return {"reward": grade.reward, "passed": sorted(grade.passed()),
                "printed": printed[-SHOWN_CHARS:], "log": grade.log}

    @contextmanager
    def _grader(self, point: Task) -> Iterator[Grader]:
        """Build the image of a datapoint, and yield the grader."""
        self._host.reap_first()
        with self._room(), labelled(self._host, point.instance_id, "dp") as label:
            yield grader_of(point, self._host, label)

    def add_dp_to_review(self, task_id: str, claim: str) -> Object:
        """Hand a staged datapoint in for review, and end its task. It needs 2 right and 6 wrong
        rivals, and all its checks must have passed.
        """
        task = self._held(task_id, claim, BUILD)
        point = self.point(task)
        self._want_validated(point, OF_BUILDER)
        name, content = point.instance_id, content_digest(point)
        if content == task.get("content") and rivals_digest(point) == task.get(
                "rivals", rivals_digest(point)):
            raise Refusal("The datapoint is unchanged.")
        Folder.put(self._at(name), folder_of(point))
        self._manager.complete_task(task_id, result={"content": content}, token=claim)
        return {"datapoint": name, "review": self._queue_review(self.point(
            {"type": REVIEW, "datapoint": name}), task_id)}

    # review --------------------------------------------------------------------------------------

    def read_datapoint(self, task_id: str, name: str = "") -> Object:
        """Show the datapoint of a task: its parts and metadata, or one of its files. A reviewer
        sees tests, solution and rivals once he has handed in rivals of his own.

        name: a path in the image's context, or rivals/NAME
        """
        task = self._manager.get_task(task_id)
        point = self.point(task)
        blind = is_blind(task, point)
        rivals = {} if blind else {f"rivals/{path}": file
                                   for path, file in (point.rivals or {}).items()}
        files = {**context_of(point), **rivals}
        if name:
            if name not in files:
                raise Refusal(f"There is no file {name}, only: {', '.join(files)[:2000]}")
            text = read_bounded(files[name], MAX_BYTES)
            return {"text": text.decode(errors="replace")[:SHOWN_CHARS]}
        texts = {part: text for part, text in texts_of(point).items()
                 if not blind or part in ("prompt", "dockerfile")}
        return {**texts, "files": [*files], "metadata": vars(labels_of(point)),
                "content": content_digest(point)}

    def show_categories_tags(self) -> Object:
        """Show the categories and tags that a datapoint may have."""
        return {"categories": categories(), **TAXONOMY}

    def approve_datapoint(self, task_id: str, claim: str, category: str, tags: str,
                          languages: str = "", difficulty: str = "") -> Object:
        """Approve a datapoint as it is, and end its review. All its checks must have passed, and
        it needs at least three cheats of yours beside the rivals.

        category: one of those that show_categories_tags lists
        tags: 1 to 3 of those, separated by |
        languages: separated by |; empty: keep the datapoint's
        difficulty: easy, medium, hard or extremely_hard; empty: keep the builder's
        """
        task = self._held(task_id, claim, REVIEW)
        point = self.point(task)
        given = [tag for tag in tags.split("|") if tag]
        if not category or not given:
            raise Refusal("Give a category and 1 to 3 tags: show_categories_tags lists them.")
        old = labels_of(point)
        point = with_about(
            point, status=APPROVED,
            languages=[one for one in languages.split("|") if one] or old.languages,
            labels={"category": category, "tags": given,
                    "difficulty": difficulty or old.difficulty})
        checks = self._want_validated(point, OF_REVIEW)
        put_audit(self._root, point, checks)
        self._move_to_tasks(proven(_as_in_tasks(point), proof_of(checks)))
        return self._reviewed(task, claim, APPROVED, checks.content)

    def _move_to_tasks(self, point: Task) -> None:
        """Write a datapoint with its proof to dp/, then move it to task/. After a kill it is in
        exactly one of the two. An earlier datapoint of its name is moved to task/_replaced/. Raise
        Refusal if a task of another kind has its name."""
        name = point.instance_id
        place = inside(self._root, Task.directory, name)
        if folder_of(point) == place:
            return   # moved already; then the reviewer was killed
        if place.exists() and Task.kind_in(place) != DATAPOINT:
            raise Refusal(f"{Task.directory}/{name} exists already, and is no datapoint: rename "
                          "one of the two.")
        put(self._at(name), point)
        place.parent.mkdir(exist_ok=True)
        if place.exists():
            set_aside(place, keep=False)
        self._at(name).rename(place)

    def return_datapoint(self, task_id: str, claim: str, reason: str) -> Object:
        """Give a datapoint back to a builder with what its checks have found, and end its review.

        reason: what has to be changed, and why
        """
        task = self._held(task_id, claim, REVIEW)
        point = self._in_dp(task)
        name, content, rivals = point.instance_id, content_digest(point), rivals_digest(point)
        earlier = [one for one in self._manager.tasks(BUILD)
                   if one.get("datapoint") == name and "returned" in one]
        key = f"{BUILD}:{name}:returned:{content}:{rivals}"
        if len(earlier) >= MAX_RETURNS:
            raise Refusal(f"It was given back {MAX_RETURNS} times: approve or cancel it.")
        checks = known_checks(point, Store(self._root, DatapointChecks).open())
        found = [{key: one[key] for key in ("name", "why", "evidence")}
                 for one in (checks.checks if checks else ()) if one["status"] != "passed"]
        put(self._at(name), with_about(point, status=RETURNED))
        seed = str(labels_of(point).lineage.get("seed", ""))
        self._manager.create_task(BUILD, {
            "datapoint": name, **({"seed": seed} if safe_name(seed) else {}), "content": content,
            "rivals": rivals, "returned": reason, "found": found}, key=key, parent=task_id)
        return self._reviewed(task, claim, RETURNED, content)

    def cancel_datapoint(self, task_id: str, claim: str, reason: str,
                         category: Literal["scope", "unfixable", "complexity", "quality",
                                           "other"]) -> Object:
        """Cancel a datapoint, and end its review.

        reason: why
        category: the kind of the reason
        """
        task = self._held(task_id, claim, REVIEW)
        point = self._in_dp(task)
        point = with_about(point, status=CANCELLED, reason=f"{category}: {reason}")
        content = content_digest(point)
        put(self._at(point.instance_id), replace(point, proof=None))
        return self._reviewed(task, claim, CANCELLED, content)

    def _reviewed(self, task: dict, claim: str, status: str, content: str) -> Object:
        result = {"status": status, "content": content}
        self._manager.complete_task(task["id"], result=result, token=claim)
        return {"datapoint": task["datapoint"], **result}

    def _want_validated(self, point: RivalledTask, rivals: Mapping[str, int]) -> DatapointChecks:
        """Return the results of a datapoint's checks. Raise Refusal if it may not be approved, or
        lacks some of these rivals."""
        checks = known_checks(point, Store(self._root, DatapointChecks).open())
        base_image = content_of(point, checks).base_image
        if problem := approval_problem(point, checks, base_image) or lacking_rivals(point, rivals):
            raise Refusal(f"{problem}.")
        return checks

    # folders -------------------------------------------------------------------------------------

    def _seen(self, task: dict) -> RivalledTask:
        """Return the datapoint of a task. Raise Refusal for a reviewer who may not see its tests
        yet."""
        point = self.point(task)
        if is_blind(task, point):
            raise Refusal("First write rivals without having seen the tests, and hand them in with "
                          "patch_rivals.")
        return point

    def point(self, task: dict) -> RivalledTask:
        """Return the datapoint of a task: for a builder the staged one, for a reviewer the one in
        review. One that a builder has to change is staged first. Raise ItemFailed or Refusal if
        there is none."""
        name = _of(task, "datapoint")
        approved = inside(self._root, Task.directory, name)
        if task["type"] != BUILD:
            # approved already if a reviewer was killed right after that
            for place in filter(Path.is_dir, (self._at(name), approved)):
                return read_datapoint(place)
            raise ItemFailed("is not there any more.", str(self._at(name)))
        place = self._at(STAGING, name)
        # it is to be made harder or easier, or was given back by its reviewer
        before = approved if "rates" in task else self._at(name)
        if {"rates", "returned"} & task.keys() and not place.is_dir() and before.is_dir():
            put(place, _in_review(read_datapoint(before)))
        if not place.is_dir():
            raise Refusal(f"{name} is not staged: run create_dp.")
        return read_datapoint(place)

    def _in_dp(self, task: dict) -> Task:
        """Return the datapoint of a task, which may be changed. Raise Refusal if it is approved
        already, because a reviewer was killed after the approval."""
        point = self.point(task)
        if folder_of(point).is_relative_to(self.dp):
            return point
        raise Refusal("It is approved already: end its review with approve_datapoint.")

    def _patched(self, task_id: str, claim: str, change: Callable[[Task], Task]) -> Object:
        """Apply a change to a task's datapoint, and write the changed datapoint to its folder."""
        task = self._held(task_id, claim, BUILD, REVIEW)
        point = self._in_dp(task)
        return _put(folder_of(point), _in_review(change(point)))

    def _at(self, *names: str) -> Path:
        return inside(self.dp, *names)


def is_blind(task: dict, point: RivalledTask) -> bool:
    """Return whether the agent of a task may not see tests and solution yet: a reviewer, until he
    has written rivals."""
    return task["type"] == REVIEW and bool(lacking_rivals(point, BLIND))


def commands_of(commands: Commands) -> dict[str, Callable]:
    """Return the commands by name, in the order in which they are written."""
    return {name: getattr(commands, name) for name in vars(Commands)
            if name[0] != "_" and name not in ("queue_reviews", "point")}


def _ideas_of(text: str | bytes) -> list[dict]:
    """Return the ideas in a JSON text. Raise Refusal unless it lists objects that have titles."""
    try:
        ideas = json.loads(text)
        to_json(ideas)
    except (ValueError, TypeError, RecursionError) as e:
        raise Refusal(f"The ideas cannot be stored as JSON: {printable(str(e))}.") from e
    is_sound = isinstance(ideas, list) and all(
        isinstance(one, dict) and str(one.get("title", "")).strip() for one in ideas)
    if not is_sound:
        raise Refusal("The ideas are not a list of objects, each with a title.")
    return ideas


def _titles(ideas: list[dict]) -> set[str]:
    return {str(one["title"]).strip().lower() for one in ideas}


def _with(point: Task, texts: dict[str, str]) -> Task:
    """Return a datapoint with these of its texts replaced. Raise Refusal for invalid weights."""
    try:
        return with_texts(point, texts)
    except ValueError as e:
        raise Refusal(f"weights.json: {e}.") from e


def _put(place: Path, point: Task) -> Object:
    """Write a datapoint to its folder; return what names it."""
    put(place, point)
    return {"datapoint": point.instance_id, "content": content_digest(point)}


def _in_review(point: Task) -> Task:
    return replace(with_about(point, status=IN_REVIEW), proof=None)


def _as_in_tasks(point: Task) -> Task:
    """Return a datapoint without a status, as it is stored in task/, where all datapoints are
    approved."""
    about = {key: value for key, value in point.about.items() if key not in ("status", "reason")}
    metadata = {**point.config["metadata"], "codedata": about}
    return replace(point, config={**point.config, "metadata": metadata})


def _files_in(folder: Path, flag: str) -> Files:
    """Return the files of a folder. Raise Refusal if it has links, or too many or too large files.
    """
    if not folder.is_dir():
        raise Refusal(f"{flag} is no folder.")
    try:
        return load_files(folder)
    except ValueError as e:
        raise Refusal(f"{flag}: {e}.") from e


def _context_in(folder: Path) -> Files:
    """Return the files of a folder, for an image's context. Raise Refusal if names are taken."""
    files = _files_in(folder, "additional_files_dir")
    for path in files:
        _check_additional(path)
    return files


def _check_additional(path: str, others: Iterable[str] = ()) -> None:
    """Raise Refusal if a path is not in normal form, or conflicts with another file."""
    place = PurePosixPath(path)
    is_taken = path in (DOCKERFILE, IGNORE) or any(
        other.startswith(f"{path}/") or place.is_relative_to(other) for other in others)
    if path in ("", ".") or str(place) != path or is_taken:
        raise Refusal(f"{path} cannot be a file of the context.")


def _of(task: dict, key: str) -> ItemName:
    """Return the name of a task's seed or datapoint. Raise Refusal if the task has none."""
    if key not in task:
        raise Refusal(f"{task['id']} is about no {key}.")
    return task[key]


def _read(path: str) -> bytes:
    try:
        return read_bounded(Path(path), MAX_BYTES)
    except OSError as e:
        raise Refusal(f"{path} cannot be read: {e.strerror or e}.") from e


def _text(path: str) -> str:
    try:
        text = _read(path).decode()
    except UnicodeDecodeError as e:
        raise Refusal(f"{path} is not UTF-8 text: {e}.") from e
    if "\0" in text:
        raise Refusal(f"{path} has a NUL byte.")
    return text
