"""Turn seeds into drafts: the commands of idea agents."""
from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from codedata.datapoints.commands.desk import Desk, name_of, read
from codedata.datapoints.datapoint_folder import DRAFTS, IDEAS, SEEDS
from codedata.datapoints.profiles import gaps_in
from codedata.datapoints.seeds import seeds_in
from codedata.datapoints.task_queue import BUILD, GENERATE, QueuedTask, Refusal
from codedata.datapoints.twins import twin_of
from codedata.disk.layouts import NEW, put_folder, to_json, write_atomic, write_files
from codedata.records import Object
from codedata.texts import printable, text_of

SECTIONS = ("Task", "Instructions", "Environment Setup", "Testing", "Difficulty",
            "Core Skills Tested", "Key Technologies")
IDEAS_PER_DRAFT = 4                 # one of them is chosen


class IdeaCommands(Desk):
    """Save the ideas and the drafts of seeds."""

    def init_seed_tasks(self, path: str) -> Object:
        """Store the seeds of a file or folder, and queue a task for each. Known seeds are kept.

        path: a folder of seeds, a seed, or a JSONL file
        """
        n_new, empty = 0, []
        for seed in seeds_in(Path(path)):
            if not any(text.strip() for text in seed.texts.values()):
                empty.append(seed.id)
                continue
            place, new = self.at(SEEDS, seed.id), self.at(NEW, seed.id)
            if not place.exists():
                n_new += 1
                shutil.rmtree(new, ignore_errors=True)
                write_files(new, {path: text.encode() for path, text in seed.texts.items()})
                put_folder(place, new)
            self.manager.create_task(GENERATE, {"seed": seed.id, "seed_data": seed.texts},
                                      key=f"{GENERATE}:{seed.id}")
        return {"new": n_new, **({"without_text": empty} if empty else {})}

    def get_task_parameters(self) -> Object:
        """Show how many ideas and drafts to make of a seed, which sections a draft needs, and which
        categories, languages and stacks no datapoint has."""
        dp = self.settings
        return {"n": dp.drafts, "multiplier": IDEAS_PER_DRAFT,
                "ideas": dp.drafts * IDEAS_PER_DRAFT, "sections": SECTIONS,
                "missing": gaps_in(self.root, dp.profile)}

    def save_artifact(self, task_id: str, claim: str, text: str) -> Object:
        """Save the ideas of a seed: a JSON list of objects, each with a title. It replaces an
        earlier list.

        text: the list
        """
        task = self.held(task_id, claim, GENERATE)
        ideas = _ideas_of(text)
        write_atomic(self._ideas(task), to_json(ideas))
        return {"saved": len(_titles(ideas))}

    def get_artifact(self, task_id: str) -> Object:
        """Show what was saved for a task: the ideas of a seed, or the draft of a datapoint."""
        task = self.manager.get_task(task_id)
        if task.type == GENERATE:
            place = self._ideas(task)
        else:
            place = self.at(DRAFTS, f"{name_of(task, 'datapoint')}.md")
        if not place.exists():
            raise Refusal(f"Nothing is saved for {task_id}.")
        return {"text": read(place).decode(errors="replace")}

    def get_idea_refinement_details(self, task_id: str, claim: str) -> Object:
        """Show the criteria for choosing among the ideas, once enough of them are saved."""
        task = self.held(task_id, claim, GENERATE)
        place = self._ideas(task)
        n = len(_titles(_ideas_of(read(place)))) if place.exists() else 0
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
        task = self.held(task_id, claim, GENERATE)
        missing = [title for title in SECTIONS
                   if not re.search(rf"^#+ {title}\s*$", text, re.MULTILINE)]
        if missing:
            raise Refusal(f"The draft has no section {', '.join(missing)}.")
        drafts = self.drafts(task)
        for name in drafts:
            if read(self.at(DRAFTS, f"{name}.md")) == text.encode():
                return {"datapoint": name}
        if len(drafts) >= self.settings.drafts:
            raise Refusal(f"This seed has {len(drafts)} drafts already; no more are allowed.")
        if twin := twin_of(self.root, text):
            raise Refusal(f"The draft nearly copies {twin.of} ({twin.similarity:.0%} of both is "
                          "the same): choose another idea.")
        name = f"{task.data['seed']}_{len(drafts) + 1:03d}_a"
        write_atomic(self.at(DRAFTS, f"{name}.md"), text.encode())
        return {"datapoint": name}

    def create_task(self, task_id: str, claim: str, datapoint: str) -> Object:
        """Queue the building of a draft as a child of your task, once.

        datapoint: the draft's name
        """
        task = self.held(task_id, claim, GENERATE)
        if datapoint not in self.drafts(task):
            raise Refusal(f"{datapoint} is not a draft of this seed: run add_artifact.")
        id = self.manager.create_task(BUILD, {"datapoint": datapoint, "seed": task.data["seed"]},
                                       parent=task_id, key=f"{BUILD}:{datapoint}")
        return {"datapoint": datapoint, "task": id}

    def _ideas(self, task: QueuedTask) -> Path:
        """Return the path of the saved ideas of a seed."""
        return self.at(IDEAS, f"{name_of(task, 'seed')}.json")


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
