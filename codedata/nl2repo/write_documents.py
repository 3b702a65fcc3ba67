"""Write documents: the steps doc_part2 (functions), doc_part1 (projects) and doc of nl2repo.py.

The writer `template` puts together what a program can tell, `llm` has an agent write. Both are
checked by program before they count; a document that a person edited is never made again.
"""
from __future__ import annotations

import glob
import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from codedata.agent import Agent, Failed, Stop, ToolBashExecutor, search, view_file
from codedata.code.environments import Environments, labelled, open_environment
from codedata.code.source import LOOK_S
from codedata.errors import BrokenRecord, ItemFailed, Trouble
from codedata.layouts import write_atomic
from codedata.llm import Models
from codedata.llm.reply_log import current_reply_log
from codedata.nl2repo.document_checks import (
    FunctionChecks,
    Hidden,
    ProjectChecks,
    form_findings,
    known_words,
    run_examples,
)
from codedata.nl2repo.documents import (
    Project,
    function_content,
    function_text,
    project_content,
    project_text,
)
from codedata.nl2repo.public_names import missing, names_by_patch
from codedata.records import (
    Analysis,
    Coverage,
    Document,
    Environment,
    Object,
    RepoDocument,
    RepoMeta,
    SourceCopy,
    StripPatch,
    storable,
)
from codedata.run_loop import Stage
from codedata.sandbox.factory import SandboxFactory
from codedata.settings import Settings
from codedata.states import Reads, Writes
from codedata.store import Store, View, digest, known
from codedata.texts import printable, text_of

PROJECT = "project"
TRAJECTORIES = "nl2repo/_trajectories"
PROMPTS = ("document_function.md", "document_project.md")
MAX_HAND_INS = 2           # the second one after a round of repair
COMMAND_S = 120            # seconds that a command may take which asks for no more
NO_HISTORY = "find . -name .git -prune -exec rm -rf {} +"
MAX_SHOWN = 30             # findings that an agent is told


# the items ---------------------------------------------------------------------------------------

@dataclass(frozen=True)
class StrippedFunction:
    """Hold a function of a proven patch."""

    repo: str
    repo_name: str
    base_commit: str
    function: str
    source: str              # digest of its source

    @property
    def instance_id(self) -> str:
        """Return the name under which ledgers list it: the repository's."""
        return self.repo_name


@dataclass(frozen=True)
class ProvenRepo:
    """Hold a repository with its proven patches, and the documents of all that they strip."""

    repo: str
    repo_name: str
    base_commit: str
    source: str              # digest of its sources that are no tests
    patches: dict[str, Object]           # {id: {kind, functions, FAIL_TO_PASS}}
    meta: Object | None                  # null: there is none yet
    documents: dict[str, Object] | None  # by name; null: some are not there yet

    @property
    def instance_id(self) -> str:
        """Return the name under which ledgers list it: the repository's."""
        return self.repo_name


def document_name(repo_name: str, function: str) -> str:
    """Return the name of a function's document."""
    return f"{repo_name}.{digest(function)[:8]}"


class ProvenFunctions(View):
    """List the functions of proven patches, each once."""

    cls, derived = StripPatch, True

    def __init__(self, root):
        super().__init__()
        self.patches = Store(root, StripPatch)
        self.by_repo: dict[str, list[StripPatch]] = {}
        self._index: dict[str, StrippedFunction] = {}

    def open(self) -> ProvenFunctions:
        """Read the patches, and return self."""
        self.broken = [*self.patches.open().broken]
        for name in self.patches.names():
            try:
                patch = self.patches.read(name)
            except BrokenRecord as e:
                self.broken.append(e)
                continue
            if patch.proof and patch.proof["proven"]:
                self.by_repo.setdefault(patch.repo_name, []).append(patch)
                for function, source in zip(patch.functions, patch.sources, strict=True):
                    self._index[document_name(patch.repo_name, function)] = StrippedFunction(
                        patch.repo, patch.repo_name, patch.base_commit, function, source)
        return self

    def names(self):
        """Return the names of the documents."""
        return self._index.keys()

    def covers(self, name: str) -> bool:
        """Return whether it is the document of such a function, or a project's."""
        return name in self._index or name.endswith(f".{PROJECT}")

    def read(self, name: str) -> StrippedFunction:
        """Return a function."""
        return self._index[name]

    def failed(self, stage: str, name: str):
        """Return the failed last attempt of a stage to make the patches, or None."""
        return self.patches.failed(stage, name)


class ProvenRepos(View):
    """List the repositories that have proven patches; names end with `suffix`."""

    cls = StripPatch

    def __init__(self, root, suffix: str = ""):
        super().__init__()
        self._root, self._suffix, self.derived = root, suffix, bool(suffix)
        self._functions = ProvenFunctions(root)
        self._stores = {cls: Store(root, cls) for cls in (Document, RepoMeta, SourceCopy)}

    def open(self) -> ProvenRepos:
        """Read the patches, look at what else is there, and return self."""
        self.broken = self._functions.open().broken
        for store in self._stores.values():
            self.broken += store.open().broken
        return self

    def names(self):
        """Return the names of the items."""
        return [f"{name}{self._suffix}" for name in self._functions.by_repo]

    def covers(self, name: str) -> bool:
        """Return whether it is of such a repository, or another kind of document."""
        return name in self.names() or not name.endswith(self._suffix)

    def read(self, name: str) -> ProvenRepo:
        """Return a repository."""
        repo_name = name.removesuffix(self._suffix)
        patches = self._functions.by_repo[repo_name]
        copy, meta = (known(self._stores[cls], repo_name) for cls in (SourceCopy, RepoMeta))
        files = copy.files if copy else {}
        wanted = [f"{repo_name}.{PROJECT}", *sorted(
            {document_name(repo_name, one) for patch in patches for one in patch.functions})]
        found = {one: document for one in wanted
                 if (document := known(self._stores[Document], one))}
        return ProvenRepo(
            patches[0].repo, repo_name, patches[0].base_commit, digest(files),
            {one.instance_id: {"kind": one.kind, "functions": one.functions,
                               "FAIL_TO_PASS": one.proof["FAIL_TO_PASS"]} for one in patches},
            asdict(meta) if meta else None,
            {one: _shown(document) for one, document in found.items()}
            if len(found) == len(wanted) else None)

    def failed(self, stage: str, name: str):
        """Return a failed last attempt of a stage to make one of the documents, or None."""
        return next((failed for one in self._functions.names()
                     if self._functions.read(one).repo_name == name.removesuffix(self._suffix)
                     and (failed := self._stores[Document].failed(stage, one))), None)


def _shown(document: Document) -> Object:
    """Return what step doc reads of a document: the text is printed from the content again, unless
    a person wrote another one."""
    text = document.text
    if digest(text) == document.checks.get("printed"):
        text = (function_text(document.subject, document.content) if document.subject
                else project_text(document.repo_name, document.content))
    return {"subject": document.subject, "text": text, "checks": document.checks}


# what is known of a repository -------------------------------------------------------------------

@dataclass(frozen=True)
class Known:
    """Hold what the documents of a repository are made of, and checked with."""

    project: Project
    hidden: Hidden
    names: dict[str, list[str]]   # that the graded tests of each patch touch
    paths: set[str]
    words: set[str]          # of all its sources, README and Python itself

    @classmethod
    def of(cls, root, repo_name: str, patches: list[StripPatch]) -> Known:
        """Return what is known of a repository. Raise ItemFailed where its sources or its analysis
        are not there."""
        folder = root / SourceCopy.directory / repo_name
        analysis = known(Store(root, Analysis).open(), repo_name)
        copy = known(Store(root, SourceCopy).open(), repo_name)
        if not folder.is_dir() or analysis is None:
            raise ItemFailed("its sources or its analysis are not there.", repo_name,
                             "Run: python nl2repo.py --steps extract,relationship")
        project = Project.of(repo_name, folder, analysis)
        stripped = frozenset(id for patch in patches for id in patch.functions)
        hidden = Hidden(project, stripped, frozenset(one["name"] for one in analysis.tests))
        coverage = known(Store(root, Coverage).open(), repo_name)
        names = names_by_patch(patches, project, coverage) if coverage else {}
        paths = {*copy.files, *copy.faults, *copy.others} if copy else {*project.files}
        return cls(project, hidden, names, paths, known_words(project))

    @property
    def needed(self) -> list[str]:
        """Return all names that graded tests touch."""
        return sorted({name for names in self.names.values() for name in names})


class Writer:
    """Write the documents of functions and of projects."""

    def __init__(self, settings: Settings, models: Models, host: SandboxFactory):
        self._settings, self._host = settings, host
        is_llm = settings.nl2repo.writer == "llm"
        self._client = models.client("agent") if is_llm else None
        self._functions = ProvenFunctions(settings.root)
        self._known: tuple[str, Known | None] = "", None   # of the newest repository
        self._lock = threading.Lock()

    def functions_stage(self, environments: Environments) -> Stage:
        """Return the step that documents the functions of proven patches."""
        return self._stage("doc_part2", self.make_function, environments, Reads(
            self._functions, ("function", "source"), made_by="nl2repo.proof"))

    def project_stage(self, environments: Environments) -> Stage:
        """Return the step that documents projects."""
        self._functions.open()
        return self._stage("doc_part1", self.make_project, environments, Reads(
            ProvenRepos(self._settings.root, f".{PROJECT}"), ("source",), made_by="nl2repo.meta",
            needs=("meta",)))

    def _stage(self, step: str, make: Callable, environments: Environments, reads: Reads) -> Stage:
        """Return a step. Raise Trouble for a sandbox in which no agent may work."""
        settings = self._settings
        identity, note = {"writer": settings.nl2repo.writer}, "no calls: no model is asked"
        if self._client:
            if self._host.name == "local":
                raise Trouble("isolates nothing, and an agent is at work in it.",
                              "--sandbox local", "Choose another, or --writer template.")
            prompts = digest([text_of("codedata.nl2repo", name) for name in PROMPTS])
            identity |= {"agent": self._client.spec.identity(), "prompts": prompts}
            note = f"at most {settings.nl2repo.max_iterations} calls for each document"
        return Stage(
            f"nl2repo.{step}", make=make, identity=identity, cost_note=note, reads=reads,
            joined=Reads(environments, fields=(), made_by="env_setup"),
            writes=Writes(Store(settings.root, Document), tuple(Document.__dataclass_fields__)),
            after="nl2repo.py --steps relationship")

    def make_function(self, item: StrippedFunction, environment: Environment) -> Document:
        """Return the document of a function. Raise Excluded where its source cannot be read,
        ItemFailed where an agent's document does not pass the checks."""
        have = self._of(item.repo_name)
        function = have.project.function(item.function)
        subject = FunctionChecks(have.hidden, have.words, function,
                                 self._settings.nl2repo.max_overlap)
        name = document_name(item.repo_name, item.function)
        return self._document(item, environment, subject, name, function_content(function))

    def make_project(self, item: ProvenRepo, environment: Environment) -> Document:
        """Return the document of a project. Raise ItemFailed where an agent's document does not
        pass the checks."""
        have = self._of(item.repo_name)
        draft = project_content(have.project, RepoMeta(**item.meta), have.needed)
        subject = ProjectChecks(have.hidden, have.words, have.paths, item.repo_name,
                                draft.pop("api"))
        return self._document(item, environment, subject, f"{item.repo_name}.{PROJECT}", draft)

    def _of(self, repo_name: str) -> Known:
        with self._lock:
            if self._known[0] != repo_name:
                patches = self._functions.by_repo[repo_name]
                self._known = repo_name, Known.of(self._settings.root, repo_name, patches)
            return self._known[1]

    def _document(self, item, environment: Environment, subject, name: str,
                  draft: Object) -> Document:
        """Return a document: of the draft, without what does not pass the checks, or an agent's."""
        started = time.monotonic()
        trajectory, usage = "", {}
        with labelled(self._host, item.repo_name, "nl2repo") as label:
            def run(examples: list[Object]) -> list[list]:
                if not examples:
                    return []
                with open_environment(environment, self._host, label) as sandbox:
                    return run_examples(sandbox, examples, environment.test_script)

            tried = len(draft["examples"])
            if self._client:
                trajectory = self._trajectory(name)
                submission = Submission(subject, run)
                usage = self._ask(environment, label, submission, subject.task(item.repo, draft),
                                  trajectory, name)
                content, tried = submission.content, len(submission.content["examples"])
            else:
                content = subject.tidied(draft, run(draft["examples"]))
        text = subject.text(content)
        return Document(
            item.repo, item.repo_name, item.base_commit, PROJECT if not subject.id else "function",
            subject.id, item.source, self._settings.nl2repo.writer, subject.whole(content), text,
            {"findings": subject.findings(content, None), "overlap": subject.overlap(text),
             "examples": {"tried": tried, "run": len(content["examples"])},
             "printed": digest(text)},
            trajectory, usage, round(time.monotonic() - started, 1))

    def _ask(self, environment: Environment, label: str, submission: Submission, task: str,
             trajectory: str, name: str) -> Object:
        """Return what an agent's document cost. Raise ItemFailed where it hands in none that passes
        the checks; its kept replies are dropped then, as it would fail again with them."""
        settings = self._settings
        bash = ToolBashExecutor(COMMAND_S, max_timeout_s=self._host.run_timeout_s)
        with open_environment(environment, self._host, label, is_stateful=True) as sandbox:
            sandbox.run(NO_HISTORY, timeout_s=LOOK_S)
            agent = Agent(
                text_of("codedata.nl2repo", submission.subject.prompt),
                [bash, view_file, search, submission.submit], self._client, sandbox,
                max_iterations=settings.nl2repo.max_iterations,
                trajectory=settings.root / trajectory, max_seconds=settings.agent.max_seconds,
                max_usd=settings.agent.max_usd)
            result = agent.run(task)
        if submission.content is None:
            log = current_reply_log()
            if result.status != "error" or log.served:
                log.discard()
            found = " ".join(submission.findings) or result.error or "it ended without handing in"
            raise ItemFailed(f"its agent's document does not count ({result.status}): "
                             f"{printable(found)}", name)
        return result.usage

    def _trajectory(self, name: str) -> str:
        """Return the path below the root for the next run of an agent; earlier ones stay."""
        n_before = len([*(self._settings.root / TRAJECTORIES).glob(f"{glob.escape(name)}.*.json")])
        return f"{TRAJECTORIES}/{name}.{n_before}.json"


@dataclass
class Submission:
    """Take the document of an agent; submit() is its tool."""

    subject: FunctionChecks | ProjectChecks
    run: Callable[[list[Object]], list[list]]   # the examples, in a fresh container
    n_checked: int = 0
    findings: tuple[str, ...] = ()    # of the last one
    content: Object | None = None     # once there are none

    def submit(self, answer: str) -> str | Stop:
        """Hand in the document. It is checked; findings can be mended once.

        answer: the document as one JSON object, with exactly the fields that were asked for
        """
        try:
            content = storable(json.loads(answer))
        except (ValueError, RecursionError) as e:
            return Failed(f"Not handed in: `answer` is no JSON: {e}")
        if faults := form_findings(content, self.subject.form):
            return Failed("Not handed in:\n" + "\n".join(faults[:MAX_SHOWN]))
        self.n_checked += 1
        content = {key: content[key] for key in self.subject.form}
        self.findings = tuple(self.subject.findings(content, self.run(content["examples"])))
        if not self.findings:
            self.content = content
            return Stop(answer)
        if self.n_checked >= MAX_HAND_INS:
            return Stop(answer, is_success=False)
        return Failed("Not handed in. Mend this, all of it; it is the last time that you may:\n"
                      + "\n".join(self.findings[:MAX_SHOWN]))


# the whole document ------------------------------------------------------------------------------

def document_stage(settings: Settings) -> Stage:
    """Return the step that puts the document of a repository together."""
    root = settings.root
    return Stage(
        "nl2repo.doc", make=partial(make_document, root),
        reads=Reads(ProvenRepos(root), ("patches", "documents"), made_by="nl2repo.doc_part2",
                    needs=("documents",)),
        writes=Writes(Store(root, RepoDocument), tuple(RepoDocument.__dataclass_fields__),
                      optional=("licence",)),
        cost_note="no calls: no model is asked", after="nl2repo.py --steps doc_part2,doc_part1",
        then="export.py --formats nl2repo")


def make_document(root: Path, repo: ProvenRepo) -> RepoDocument:
    """Return the document of a repository, and print it beside its record."""
    documents = sorted(repo.documents.items(), key=lambda pair: (pair[1]["subject"], pair[0]))
    sections = [{"name": name, "subject": one["subject"], "text": one["text"],
                 "title": one["subject"].partition("::")[2] or repo.repo_name}
                for name, one in documents]   # the project's subject is "": it comes first
    patches = ProvenFunctions(root).open().by_repo[repo.repo_name]
    have = Known.of(root, repo.repo_name, patches)
    index, missed = {}, set()
    for id, names in have.names.items():
        patch = repo.patches[id]
        text = "\n".join(one["text"] for one in sections
                         if one["subject"] in ("", *patch["functions"]))
        index[id] = {"kind": patch["kind"], "functions": patch["functions"], "names": names,
                     "missing": missing(names, text)}
        missed |= {*index[id]["missing"]}
    all_checks = [one["checks"] for _, one in documents]
    text = "\n".join(one["text"] for one in sections)
    write_atomic(root / RepoDocument.directory / f"{repo.repo_name}.md", text.encode())
    n_names = len(have.needed)
    return RepoDocument(
        repo.repo, repo.repo_name, repo.base_commit, (repo.meta or {}).get("licence"), sections,
        index, {
            "functions": 1.0,   # it waits for all
            "names": round((n_names - len(missed)) / n_names, 4) if n_names else 1.0,
            "missing": sorted(missed),
            "overlap": max((one.get("overlap", 0.0) for one in all_checks), default=0.0)})
