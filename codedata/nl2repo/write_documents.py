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
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from codedata.agent import Agent, Failed, Stop, ToolBashExecutor, search, view_file
from codedata.code.environments import Environments, labelled, open_environment
from codedata.code.leftovers import activation
from codedata.code.source import LOOK_S
from codedata.errors import BrokenRecord, ItemFailed, Trouble
from codedata.layouts import write_atomic
from codedata.llm import Models
from codedata.llm.reply_log import current_reply_log
from codedata.nl2repo.document_checks import (
    Checks,
    HiddenParts,
    form_findings,
    known_words,
    run_examples,
)
from codedata.nl2repo.documents import (
    Codebase,
    function_content,
    function_text,
    project_content,
    project_text,
    public_api,
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

PROJECT = "project"        # kind of a project's document, and the end of its name
TRAJECTORIES = "nl2repo/_trajectories"
PROMPTS = ("document_function.md", "document_project.md")
MAX_HAND_INS = 2           # the second one after a round of repair
MAX_KNOWN = 2              # repositories whose sources are kept: of workers at a border between two
MAX_SHOWN = 30             # findings that an agent is told
COMMAND_S = 120            # seconds that a command may take which asks for no more
NO_HISTORY = "find . -name .git -prune -exec rm -rf {} +"


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
    """Hold a repository with proven patches. What other steps make of it is null till it is there.
    """

    repo: str
    repo_name: str
    base_commit: str
    function: str            # "": it is a project
    source: str | None       # digest of its sources
    meta: Object | None      # its RepoMeta
    patches: dict[str, Object]           # {id: {kind, functions, FAIL_TO_PASS}}
    documents: dict[str, Object] | None  # {name: {subject, text, checks}}, the project's first

    @property
    def instance_id(self) -> str:
        """Return the name under which ledgers list it: the repository's."""
        return self.repo_name


def document_name(repo_name: str, function: str) -> str:
    """Return the name of a function's document."""
    return f"{repo_name}.{digest(function)[:8]}"


class ProvenFunctions(View):
    """List the functions of proven patches by the names of their documents, each once."""

    cls, derived = StripPatch, True

    def __init__(self, root: Path):
        super().__init__()
        self._store = Store(root, StripPatch)
        self.by_repo: dict[str, list[StripPatch]] = {}
        self._index: dict[str, StrippedFunction] = {}

    def open(self) -> ProvenFunctions:
        """Read the patches, and return self."""
        self.broken = [*self._store.open().broken]
        for name in self._store.names():
            try:
                patch = self._store.read(name)
            except BrokenRecord as e:
                self.broken.append(e)
                continue
            if patch.proof and patch.proof["proven"]:
                self.by_repo.setdefault(patch.repo_name, []).append(patch)
                self._index |= {document_name(patch.repo_name, function): StrippedFunction(
                    patch.repo, patch.repo_name, patch.base_commit, function, source)
                    for function, source in zip(patch.functions, patch.sources, strict=True)}
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


class ProvenRepos(View):
    """List the repositories that have proven patches, by the names of their documents: with the
    `suffix` of _docs/, or without one."""

    cls = StripPatch

    def __init__(self, root: Path, suffix: str = ""):
        super().__init__()
        self._suffix, self.derived = suffix, bool(suffix)
        self._functions = ProvenFunctions(root)
        self._documents, self._meta, self._copies = (
            Store(root, cls) for cls in (Document, RepoMeta, SourceCopy))

    def open(self) -> ProvenRepos:
        """Read the patches, list what else is there, and return self."""
        stores = (self._functions, self._documents, self._meta, self._copies)
        self.broken = [e for store in stores for e in store.open().broken]
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
        copy, meta = known(self._copies, repo_name), known(self._meta, repo_name)
        documents = {one: known(self._documents, one) for one in self._wanted(repo_name)}
        return ProvenRepo(
            patches[0].repo, repo_name, patches[0].base_commit, "", copy and digest(copy.files),
            meta and asdict(meta),
            {one.id: {"kind": one.kind, "functions": one.functions,
                               "FAIL_TO_PASS": one.proof["FAIL_TO_PASS"]} for one in patches},
            None if None in documents.values() else {
                one: _shown(document) for one, document in documents.items()})

    def failed(self, stage: str, name: str):
        """Return a failed last attempt of a stage to make one of the documents, or None."""
        wanted = self._wanted(name.removesuffix(self._suffix))
        return next(filter(None, (self._documents.failed(stage, one) for one in wanted)), None)

    def _wanted(self, repo_name: str) -> list[str]:
        """Return the names of the documents of a repository."""
        ids = {id for one in self._functions.by_repo[repo_name] for id in one.functions}
        return [f"{repo_name}.{PROJECT}", *(document_name(repo_name, id) for id in sorted(ids))]


def _shown(document: Document) -> Object:
    """Return what step doc reads of a document: its text as it follows from the content, unless a
    person wrote another one."""
    text, content = document.text, document.content
    if digest(text) == document.checks.get("printed"):
        text = (function_text(document.subject, content) if document.subject
                else project_text(document.repo_name, content))
    return {"subject": document.subject, "text": text, "checks": document.checks}


# what is known of a repository -------------------------------------------------------------------

@dataclass(frozen=True)
class Known:
    """Hold what the documents of a repository are made of, and checked with."""

    project: Codebase
    hidden: HiddenParts
    names: dict[str, list[str]]   # that the graded tests of each patch touch
    paths: set[str]
    words: set[str]

    @classmethod
    def of(cls, root: Path, repo_name: str, patches: list[StripPatch]) -> Known:
        """Return what is known of a repository. Raise ItemFailed where its sources or what was
        measured are not there."""
        copy, analysis, coverage = (known(Store(root, one).open(), repo_name)
                                    for one in (SourceCopy, Analysis, Coverage))
        folder = root / SourceCopy.directory / repo_name
        if not (copy and analysis and coverage and folder.is_dir()):
            raise ItemFailed("its sources, coverage/ or analysis/ are not there.", repo_name,
                             "Run: python nl2repo.py --steps extract,coverage,relationship")
        project = Codebase.of(repo_name, folder, analysis)
        stripped = frozenset(id for patch in patches for id in patch.functions)
        hidden = HiddenParts(project, stripped, frozenset(one["name"] for one in analysis.tests))
        return cls(project, hidden, names_by_patch(patches, project, coverage),
                   {*copy.files, *copy.faults, *copy.others}, known_words(project))

    @property
    def needed(self) -> set[str]:
        """Return all names that graded tests touch."""
        return {name for names in self.names.values() for name in names}


# the steps of documents --------------------------------------------------------------------------

class Writer:
    """Write the documents of functions and of projects."""

    def __init__(self, settings: Settings, models: Models, host: SandboxFactory):
        self._settings, self._host = settings, host
        is_llm = settings.nl2repo.writer == "llm"
        self._client = models.client("agent") if is_llm else None
        self._functions = ProvenFunctions(settings.root)
        self._known: dict[str, Known] = {}   # of the newest repositories
        self._lock = threading.Lock()

    def functions_stage(self, environments: Environments) -> Stage:
        """Return the step that documents the functions of proven patches."""
        return self._stage("doc_part2", self.make_function, environments, Reads(
            self._functions, ("function", "source")))

    def project_stage(self, environments: Environments) -> Stage:
        """Return the step that documents projects."""
        self._functions.open()
        return self._stage("doc_part1", self.make_project, environments, Reads(
            ProvenRepos(self._settings.root, f".{PROJECT}"), ("source",), needs=("source", "meta")))

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
        return self._document(item, environment, storable(function_content(function)), Checks(
            have.hidden, have.paths, have.words, self._settings.nl2repo.max_overlap, function))

    def make_project(self, item: ProvenRepo, environment: Environment) -> Document:
        """Return the document of a project. Raise ItemFailed where an agent's document does not
        pass the checks."""
        have = self._of(item.repo_name)
        draft = storable(project_content(have.project, RepoMeta(**item.meta)))
        document = self._document(item, environment, draft, Checks(
            have.hidden, have.paths, have.words, self._settings.nl2repo.max_overlap))
        content = {**document.content, "api": storable(public_api(have.project, have.needed))}
        text = project_text(item.repo_name, content)
        checks = {**document.checks, "printed": digest(text)}
        return replace(document, content=content, text=text, checks=checks)

    def _of(self, repo_name: str) -> Known:
        with self._lock:
            if repo_name not in self._known:
                for oldest in [*self._known][:1 - MAX_KNOWN]:
                    del self._known[oldest]
                patches = self._functions.by_repo[repo_name]
                self._known[repo_name] = Known.of(self._settings.root, repo_name, patches)
            return self._known[repo_name]

    def _document(self, item: StrippedFunction | ProvenRepo, environment: Environment,
                  draft: Object, checks: Checks) -> Document:
        """Return a document: the draft without what does not pass the checks, or an agent's."""
        started = time.monotonic()
        trajectory, usage = "", {}
        with labelled(self._host, item.repo_name, "nl2repo") as label:
            run = partial(self._answers, environment, label)
            if self._client:
                trajectory = self._trajectory(item)
                submission = HandIn(checks, run)
                usage = self._ask(item, environment, label, submission, trajectory)
                content, findings = submission.content, []
                n_tried = len(content["examples"])
            else:
                answers = run(draft["examples"])
                content, n_tried = checks.tidied(draft, answers), len(answers)
                findings = checks.findings(
                    content, [[one["output"]] * 2 for one in content["examples"]])
        text = checks.text(content)
        return Document(
            item.repo, item.repo_name, item.base_commit, "function" if item.function else PROJECT,
            item.function, item.source, self._settings.nl2repo.writer, content, text,
            {"findings": findings, "overlap": checks.overlap(text), "printed": digest(text),
             "examples": {"tried": n_tried, "run": len(content["examples"])}},
            trajectory, usage, round(time.monotonic() - started, 1))

    def _answers(self, environment: Environment, label: str, examples: list[Object]) -> list[list]:
        """Return what examples print, run in a fresh sandbox of their own."""
        if not examples:
            return []
        with open_environment(environment, self._host, f"{label}-examples") as sandbox:
            return run_examples(sandbox, examples, environment.test_script)

    def _ask(self, item: StrippedFunction | ProvenRepo, environment: Environment, label: str,
             submission: HandIn, trajectory: str) -> Object:
        """Return what an agent's document cost. Raise ItemFailed where it hands in none that passes
        the checks; its kept replies are dropped then, as it would fail again with them."""
        settings = self._settings
        bash = ToolBashExecutor(COMMAND_S, max_timeout_s=self._host.run_timeout_s)
        prompt, what = PROMPTS[not item.function], item.function or "the whole project"
        with open_environment(environment, self._host, label, is_stateful=True) as sandbox:
            sandbox.run(NO_HISTORY, timeout_s=LOOK_S)
            sandbox.run(f"{activation(environment.test_script)}true")
            result = Agent(
                text_of("codedata.nl2repo", prompt),
                [bash, view_file, search, submission.submit], self._client, sandbox,
                max_iterations=settings.nl2repo.max_iterations,
                trajectory=settings.root / trajectory, max_seconds=settings.agent.max_seconds,
                max_usd=settings.agent.max_usd,
            ).run(f"Document {what} of {item.repo}, whose source is in {sandbox.workdir}.")
        if submission.content is None:
            log = current_reply_log()
            if result.status != "error" or log.served:
                log.discard()
            found = " ".join(submission.findings) or result.error or "it ended without handing in"
            raise ItemFailed(f"its agent's document does not count ({result.status}): "
                             f"{printable(found)}", item.function or item.repo_name)
        return result.usage

    def _trajectory(self, item: StrippedFunction | ProvenRepo) -> str:
        """Return the path below the root for the next run of an agent; earlier ones stay."""
        name = document_name(item.repo_name, item.function) if item.function else (
            f"{item.repo_name}.{PROJECT}")
        n_before = len([*(self._settings.root / TRAJECTORIES).glob(f"{glob.escape(name)}.*.json")])
        return f"{TRAJECTORIES}/{name}.{n_before}.json"


@dataclass
class HandIn:
    """Take the document of an agent; submit() is its tool."""

    checks: Checks
    run: Callable[[list[Object]], list[list]]   # the examples, in a fresh sandbox
    n_checked: int = 0
    findings: tuple[str, ...] = ()    # of the last one
    content: Object | None = None     # once there are none

    def submit(self, answer: str) -> str | Stop:
        """Hand in the document. It is checked; what is found can be mended once.

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
            return Failed("Not handed in. Mend all of this, it is the last time that you may:\n"
                          + "\n".join(self.findings[:MAX_SHOWN]))
        return Stop(answer, is_success=not self.findings)


# the whole document ------------------------------------------------------------------------------

def document_stage(root: Path) -> Stage:
    """Return the step that puts the document of a repository together."""
    return Stage(
        "nl2repo.doc", make=partial(make_document, root), cost_note="no calls: no model is asked",
        reads=Reads(ProvenRepos(root), ("patches", "documents"), made_by="nl2repo.doc_part2",
                    needs=("documents", "meta")),
        writes=Writes(Store(root, RepoDocument), tuple(RepoDocument.__dataclass_fields__),
                      optional=("licence",)),
        after="nl2repo.py --steps doc_part2,doc_part1", then="export.py --formats nl2repo")


def make_document(root: Path, repo: ProvenRepo) -> RepoDocument:
    """Return the document of a repository, and print it beside its record."""
    sections = [{"name": name, "subject": one["subject"], "text": one["text"],
                 "title": one["subject"].rpartition("::")[2] or repo.repo_name}
                for name, one in repo.documents.items()]
    names = Known.of(root, repo.repo_name, ProvenFunctions(root).open().by_repo[repo.repo_name])
    index = {}
    for id, patch in repo.patches.items():
        text = "".join(one["text"] for one in sections
                       if one["subject"] in ("", *patch["functions"]))
        touched = names.names[id]
        index[id] = {"kind": patch["kind"], "functions": patch["functions"], "names": touched,
                     "missing": missing(touched, text)}
    path = root / RepoDocument.directory / f"{repo.repo_name}.md"
    write_atomic(path, "\n".join(one["text"] for one in sections).encode())
    missed = {name for one in index.values() for name in one["missing"]}
    overlaps = [one["checks"].get("overlap", 0.0) for one in repo.documents.values()]
    n_needed = max(1, len(names.needed))
    return RepoDocument(
        repo.repo, repo.repo_name, repo.base_commit, repo.meta["licence"], sections, index,
        {"functions": 1.0,   # it waits for all
         "names": round(1 - len(missed) / n_needed, 4), "overlap": max(overlaps),
         "findings": [f"No document has the name `{name}`, which a graded test touches."
                      for name in sorted(missed)]})
