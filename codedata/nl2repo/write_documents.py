"""Write documents: the steps doc_part2 (functions), doc_part1 (projects) and doc of nl2repo.py.

The writer `template` is a program, the writer `llm` an agent. A program checks all documents. A
document that a person edited is never made again.
"""
from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from codedata.agent import Agent, Failed, Stop, ToolBashExecutor, new_trajectory, search, view_file
from codedata.bounded import inside
from codedata.disk.layouts import write_atomic
from codedata.disk.ledger import FileState
from codedata.disk.store import Derived, Store, digest, facts_of, known, known_in
from codedata.errors import ItemFailed, Trouble
from codedata.llm import Models
from codedata.llm.replies import current_reply_log
from codedata.nl2repo.document_checks import Checks, HiddenParts, form_findings, run_examples
from codedata.nl2repo.documents import (
    Codebase,
    api_text,
    document_text,
    function_content,
    project_content,
    public_api,
    used_in,
)
from codedata.nl2repo.public_names import missing, names_by_patch
from codedata.nl2repo.sources import folder_of
from codedata.nl2repo.strip import EMPTY
from codedata.records import (
    STRIPPED_PATCH,
    Analysis,
    Coverage,
    Document,
    Environment,
    Object,
    RepoDocument,
    RepoFacts,
    RepoMeta,
    SourceCopy,
    Task,
)
from codedata.run.stage import Reads, Stage, Writes
from codedata.sandbox.copies import at_hand, is_folder
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.suites.environments import Environments, labelled, open_environment
from codedata.suites.leftovers import activation
from codedata.suites.source import LOOK_S
from codedata.tasks.folder.task_folder import verifier_config
from codedata.tasks.stages import Maker
from codedata.terminal import plural
from codedata.texts import CONTROL, printable, storable, terminal_safe, text_of

PROJECT = "project"        # kind of a project's document, and the end of its name
API = "api"                # subject of the section with all public names
TRAJECTORIES = "nl2repo/_trajectories"
PROMPTS = ("document_function.md", "document_project.md")
MAX_HAND_INS = 2           # how often an agent may hand in a document
MAX_KNOWN = 2              # repositories whose sources are kept: workers process them in order
MAX_SHOWN = 30             # findings in an answer to an agent
MAX_ITERATIONS = 40        # limit for the replies of an agent
COMMAND_S = 120            # seconds that a command may take, unless it asks for more
NO_HISTORY = "find . -name .git -prune -exec rm -rf {} +"


# the items ---------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Subject:
    """Hold the subject of a document: a function that a task strips, or a repository with such
    tasks. Fields that wait for other steps are null."""

    repo: str
    repo_name: str
    base_commit: str
    function: str                        # its id; "": the repository
    source: str | None                   # digest of its source
    patches: Object | None = None        # {id: {kind, functions, FAIL_TO_PASS}}
    # {name: {subject, text, api, checks}}, the project's document first
    documents: Object | None = None

    @property
    def instance_id(self) -> str:
        """Return the repository's name, under which ledgers list the subject."""
        return self.repo_name


def document_name(repo_name: str, function: str) -> str:
    """Return the name of a function's document, or of a project's."""
    return f"{repo_name}.{digest(function)[:8] if function else PROJECT}"


class Subjects(Derived):
    """List the subjects of documents. Kind "function" lists the functions of tasks, and "project"
    the tasks' repositories, by document name. "whole" lists the repositories by their own name."""

    def __init__(self, root: Path, kind: str):
        self._kind, self._patches = kind, Maker(root, STRIPPED_PATCH).candidates()
        self._copies, self._documents = Store(root, SourceCopy), Store(root, Document)
        # {repository: {id: {kind, functions, FAIL_TO_PASS}}} of the tasks
        self.patches: dict[str, Object] = {}
        super().__init__(Store(root, Task, kind=STRIPPED_PATCH), self._subjects_of,
                         also_reads=[self._patches, self._copies, self._documents],
                         keeps=self._is_of_other_kind, derived=kind != "whole")

    def _subjects_of(self, id: str, task: Task) -> dict[str, Subject]:
        patch = known(self._patches, id)
        if not patch:
            return {}   # an orphan
        name, functions = patch.instance_id, patch.config["about"]["functions"]
        self.patches.setdefault(name, {})[id] = {
            "kind": patch.config["method"], "functions": functions,
            "FAIL_TO_PASS": verifier_config(task).get("FAIL_TO_PASS", [])}
        is_function = self._kind == "function"
        parts = (zip(functions, patch.words["sources"], strict=True) if is_function
                 else [("", None)])
        return {document_name(name, function) if self.derived else name: Subject(
            patch.config["repo"], name, patch.base_commit, function, source)
            for function, source in parts}

    def _is_of_other_kind(self, name: str) -> bool:
        is_of_function = not name.endswith(f".{PROJECT}")
        return self.derived and is_of_function != (self._kind == "function")

    def facts(self, name: str) -> FileState:
        """Read a subject again, since its tasks may have changed, and return its digests."""
        return facts_of(self.read(name))

    def read(self, name: str) -> Subject:
        """Return the record of a subject by its document's name."""
        one = super().read(name)
        if one.function:
            return one
        copy = known(self._copies, one.repo_name)
        documents = {wanted: known(self._documents, wanted)
                     for wanted in self._wanted(one.repo_name)}
        return replace(
            one, source=copy and digest(copy.files), patches=self.patches[one.repo_name],
            documents=None if None in documents.values() else {
                name: _as_read(document) for name, document in documents.items()})

    def failed(self, stage: str, name: str):
        """Return a stage's last attempt at a document of a repository if it failed, else None. Of
        several documents, use the first with such an attempt."""
        return next(filter(None, (self._documents.failed(stage, one)
                                  for one in self._wanted(name))), None)

    def _wanted(self, repo_name: str) -> list[str]:
        """Return the names of the documents of a repository."""
        ids = {id for one in self.patches[repo_name].values() for id in one["functions"]}
        return [document_name(repo_name, id) for id in ["", *sorted(ids)]]


def _as_read(document: Document) -> Object:
    """Return the fields of a document that the step `doc` reads. The text is printed again from the
    content, which may have been edited, unless a person edited the text itself."""
    text = document.text
    if digest(text) == document.checks.get("printed"):
        text = document_text(document.repo_name, document.subject, document.content)
    return {"subject": document.subject, "text": text, "api": document.content.get("api", []),
            "checks": document.checks}


# what is known of a repository -------------------------------------------------------------------

def known_of(root: Path, repo_name: str, patches: Object) -> tuple[HiddenParts, dict]:
    """Return (a repository's sources and the text that documents must not show; the names that the
    graded tests of each patch use). Raise ItemFailed if an input is missing."""
    copy, analysis, coverage = (known_in(root, one, repo_name)
                                for one in (SourceCopy, Analysis, Coverage))
    folder = folder_of(root, repo_name)
    if not (copy and analysis and coverage and is_folder(folder)):
        raise ItemFailed("its sources, coverage/ or analysis/ are missing.", repo_name,
                         "Run: python nl2repo.py --steps extract,coverage,relationship")
    with at_hand(folder) as near:
        project = Codebase.of(repo_name, near, analysis)
    functions = [project.functions if patch["kind"] == EMPTY else patch["functions"]
                 for patch in patches.values()]
    hidden = HiddenParts(
        project, frozenset().union(*functions),
        frozenset(one["name"] for one in analysis.tests),
        frozenset([*copy.files, *copy.faults, *copy.others]))
    return hidden, names_by_patch({id: one["FAIL_TO_PASS"] for id, one in patches.items()},
                                  project, coverage)


# the steps of documents --------------------------------------------------------------------------

class DocumentWriter:
    """Write the documents of functions and of projects; make() is the item function."""

    def __init__(self, settings: Settings, models: Models, host: SandboxFactory):
        self._settings, self._host = settings, host
        is_llm = settings.nl2repo.writer == "llm"
        self._client = models.client("agent") if is_llm else None
        self._known = lru_cache(MAX_KNOWN)(lambda name: known_of(
            settings.root, name, self._subjects.patches[name]))
        self._lock = threading.Lock()

    def stage(self, step: str, kind: str, environments: Environments) -> Stage:
        """Return the step that documents functions or projects. Raise Trouble if an agent would
        work in a sandbox that isolates nothing."""
        settings = self._settings
        self._subjects = Subjects(settings.root, kind)
        identity, note = {"writer": settings.nl2repo.writer}, ""
        if self._client:
            if self._host.name == "local":
                raise Trouble("isolates nothing, but an agent would work in it.",
                              "--sandbox local", "Choose another sandbox, or --writer template.")
            prompts = digest([text_of("codedata.nl2repo", name) for name in PROMPTS])
            identity |= {"agent": self._client.spec.identity(), "prompts": prompts}
            note = f"at most {MAX_ITERATIONS} calls for each document"
        joined = [Reads(environments, (), made_by="env_setup"),
                  Reads(Store(settings.root, RepoMeta), (), made_by="nl2repo.meta")]
        if not self._client and kind == "function":
            joined.append(Reads(Store(settings.root, RepoFacts), ("facts",), optional=True,
                                made_by="nl2repo.facts", same="base_commit"))
        return Stage(
            f"nl2repo.{step}", make=self.make, identity=identity, cost_note=note,
            reads=Reads(self._subjects, ("function", "source"), needs=("source",)),
            also_reads=tuple(joined),
            writes=Writes(Store(settings.root, Document)),
            per_limit=0,   # each task needs all of its documents
            after="nl2repo.py --steps relationship")

    def make(self, item: Subject, environment: Environment, meta: RepoMeta,
             recorded: RepoFacts | None = None) -> Document:
        """Return the document of a function or project. Raise Excluded if its source cannot be
        read, ItemFailed if an agent's document does not pass the checks."""
        started = time.monotonic()
        with self._lock:
            hidden, names = self._known(item.repo_name)
        project = hidden.project
        function = project.function(item.function) if item.function else None
        checks = Checks(hidden, function)
        trajectory, usage, findings = "", {}, []
        with labelled(self._host, item.repo_name, "nl2repo") as label:
            run = partial(self._answers, environment, label)
            if self._client:
                name = document_name(item.repo_name, item.function)
                path = new_trajectory(self._settings.root, TRAJECTORIES, name)
                trajectory = f"{TRAJECTORIES}/{path.name}"
                submission = HandIn(checks, run)
                usage = self._ask(item, environment, label, submission, path)
                draft = content = submission.content
            else:
                facts = recorded.facts if recorded else []
                draft = function_content(function, facts) if function else project_content(
                    project, meta)
                answers = run(draft["examples"])
                draft["examples"] = [*map(_as_printed, draft["examples"], answers)]
                if function:
                    checks = replace(checks, facts=_shown(draft["examples"]))
                content = checks.tidied(draft, answers)
                findings = checks.findings(
                    content, [[one["output"]] * 2 for one in content["examples"]])
        if not function:
            content = {**content, "api": public_api(project, set().union(*names.values()))}
        text = checks.text(content)
        return Document(
            item.repo, item.repo_name, item.base_commit, "function" if function else PROJECT,
            item.function, item.source, self._settings.nl2repo.writer, content, text,
            {"findings": findings, "overlap": checks.overlap(content), "printed": digest(text),
             "examples": {"tried": len(draft["examples"]), "run": len(content["examples"])}},
            trajectory, usage, round(time.monotonic() - started, 1))

    def _answers(self, environment: Environment, label: str, examples: list[Object]) -> list[list]:
        """Return [first output, second output] of each example, from a fresh sandbox."""
        if not examples:
            return []
        with open_environment(environment, self._host, f"{label}-examples") as sandbox:
            return run_examples(sandbox, examples, environment.test_script)

    def _ask(self, item: Subject, environment: Environment, label: str,
             submission: HandIn, trajectory: Path) -> Object:
        """Have an agent write a document; return the usage of its calls. If no document passes the
        checks, raise ItemFailed and delete the agent's stored replies, since they would fail again.
        Keep the replies if the agent ended with an error and used no stored reply."""
        settings = self._settings
        bash = ToolBashExecutor(COMMAND_S, max_timeout_s=self._host.run_timeout_s)
        prompt, what = PROMPTS[not item.function], item.function or "the whole project"
        with open_environment(environment, self._host, label, is_stateful=True) as sandbox:
            sandbox.run(NO_HISTORY, timeout_s=LOOK_S)
            sandbox.run(f"{activation(environment.test_script)}true")
            result = Agent(
                text_of("codedata.nl2repo", prompt),
                [bash, view_file, search, submission.submit], self._client, sandbox,
                max_iterations=MAX_ITERATIONS,
                trajectory=trajectory,
                max_seconds=settings.agent.max_seconds, max_usd=settings.agent.max_usd,
            ).run(f"Document {what} of {item.repo}, whose source is in {sandbox.workdir}.")
        if submission.content is None:
            current_reply_log().discard_failed(result.status)
            reason = (" ".join(submission.findings) or result.error
                      or "it ended without handing in a document")
            raise ItemFailed(f"its agent's document does not count ({result.status}): "
                             f"{printable(reason)}", item.function or item.repo_name)
        return result.usage


def _as_printed(example: Object, answer: list) -> Object:
    """Return an example, made from a fact, with the whole output of its two runs if both print the
    same and end with the fact's outcome; else return it unchanged."""
    first, second = answer
    is_told = (first and first == second and not CONTROL.search(first)
               and first.rstrip().endswith(example["output"].rstrip()))
    return {**example, "output": first.rstrip("\n")} if is_told else example


def _shown(examples: list[Object]) -> str:
    """Return the code and outputs of examples as a text."""
    return "\n".join(f"{one['code']}\n{one['output']}" for one in examples)


@dataclass
class HandIn:
    """Take the document that an agent hands in; submit() is its tool."""

    checks: Checks
    run: Callable[[list[Object]], list[list]]   # runs the examples in a fresh sandbox
    n_checked: int = 0
    findings: tuple[str, ...] = ()    # findings on the last document
    content: Object | None = None     # content of a document without findings

    def submit(self, answer: str) -> str | Stop:
        """Hand in the document. A program checks it; you may correct it once.

        answer: the document as one JSON object, with the fields that were asked for
        """
        try:
            content = storable(json.loads(answer))
        except (ValueError, RecursionError) as e:
            return Failed(f"Not handed in: `answer` is no JSON: {e}")
        if faults := form_findings(content, self.checks.form):
            return Failed("Not handed in:\n" + "\n".join(faults[:MAX_SHOWN]))
        self.n_checked += 1
        content = {key: content[key] for key in self.checks.form}
        self.findings = tuple(self.checks.findings(content, self.run(content["examples"])))
        if not self.findings:
            self.content = content
        elif self.n_checked < MAX_HAND_INS:
            return Failed("Not handed in. Correct all of this; you may hand in only once more:\n"
                          + "\n".join(self.findings[:MAX_SHOWN]))
        return Stop(answer, is_success=not self.findings)


def check_model(settings: Settings) -> None:
    """Raise Trouble if no model can be asked, before the first steps take hours."""
    with Models(settings) as models:
        models.client("agent")
        try:
            models.check()
        except Trouble as e:
            todo = f"{e.todo}\n  Or without a model: --writer template".strip()
            raise Trouble(e.what, e.where, todo) from e


# the whole document ------------------------------------------------------------------------------

def document_stage(root: Path) -> Stage:
    """Return the step that joins the documents of a repository into one."""
    return Stage(
        "nl2repo.doc", make=partial(make_document, root), is_local=True,
        reads=Reads(Subjects(root, "whole"), ("patches", "documents"), made_by="nl2repo.doc_part2",
                    needs=("documents",)),
        also_reads=(Reads(Store(root, RepoMeta), (), made_by="nl2repo.meta"),),
        writes=Writes(Store(root, RepoDocument), optional=("licence",)),
        after="nl2repo.py --steps doc_part2,doc_part1", in_words=describe_document)


def make_document(root: Path, repo: Subject, meta: RepoMeta) -> RepoDocument:
    """Return the document of a repository, and write it as Markdown next to its record."""
    sections = [{"name": name, "subject": one["subject"], "text": one["text"],
                 "title": one["subject"].rpartition("::")[2] or repo.repo_name}
                for name, one in repo.documents.items()]
    api = repo.documents[sections[0]["name"]]["api"]
    names = known_of(root, repo.repo_name, repo.patches)[1]
    index = {}
    for id, patch in repo.patches.items():
        text = "".join(one["text"] for one in sections if one["subject"] in patch["functions"])
        used = api_text(api if patch["kind"] == EMPTY else used_in(
            api, patch["functions"], f"{' '.join(names[id])} {text}"))
        index[id] = {"kind": patch["kind"], "functions": patch["functions"], "names": names[id],
                     "api": used, "missing": missing(names[id], sections[0]["text"] + used + text)}
    sections.insert(1, {"name": sections[0]["name"], "subject": API, "text": api_text(api),
                        "title": "Names"})
    path = inside(root / RepoDocument.directory, f"{repo.repo_name}.md")
    write_atomic(path, terminal_safe("\n".join(one["text"] for one in sections)).encode())
    missed = sorted({name for one in index.values() for name in one["missing"]})
    return RepoDocument(
        repo.repo, repo.repo_name, repo.base_commit, meta.licence, sections, index,
        {"functions": 1.0,   # the step doc waits for the documents of all functions
         "names": round(1 - len(missed) / max(1, len(set().union(*names.values()))), 4),
         "overlap": max(one["checks"].get("overlap", 0.0) for one in repo.documents.values()),
         "findings": [f"No document has the name `{name}`, which a graded test uses."
                      for name in missed]})


def describe_document(one: RepoDocument) -> str:
    """Return the numbers of described and stripped functions, and the document's path."""
    n = sum("::" in section["subject"] for section in one.sections)
    return f"{plural(n, 'function')} described, {len(one.index)} stripped as tasks: " \
           f"read {one.directory}/{one.repo_name}.md"
