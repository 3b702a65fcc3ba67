"""Read the environments that env_setup.py has verified, or rows of --input, and open them.

A row of --input is {repo, image_name, test_case_result}, with `base_commit` if it is known. It
needs no scripts: the image has the installed source in its working directory, and pytest runs the
tests.
"""
from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from codedata.bounded import numbered_lines, row_in
from codedata.disk.store import Derived, Readers, Store, digest
from codedata.errors import BrokenRecord, Excluded, ItemFailed
from codedata.records import CaseResult, Environment, parse
from codedata.run.talk import current_step
from codedata.sandbox import Sandbox
from codedata.sandbox.copies import at_hand, is_folder
from codedata.sandbox.docker.container import LOST
from codedata.sandbox.docker.engine import connect, reason
from codedata.sandbox.factory import WORKDIR, KeptImage, SandboxFactory
from codedata.sandbox.images.registry import image_name
from codedata.suites.project_suite import run_script
from codedata.suites.repo_names import repo_name_of
from codedata.suites.source import Project, put_source, restore
from codedata.texts import safe_name, text_of

SUCCESS = "success"
IMAGES = f"codedata-{Environment.directory}/"
TRIES = f"codedata-{Environment.directory}-try/"   # temporary images of an attempt
# the fields that an analysis reads, and the fields that determine a suite's results
READ = ("base_image", "base_commit", "image_name", "install_script", "test_case_result", "flaky")
JUDGED_BY = (*READ, "test_script")
FORM = "A row is {repo, image_name, test_case_result}, with base_commit."


@dataclass(frozen=True)
class EnvironmentRow:
    """Hold the fields that are read from a row of --input. Other fields are ignored."""

    title = "an environment"
    repo: str
    image_name: str
    test_case_result: list[CaseResult]
    base_commit: str = ""
    repo_name: str = ""


class Environments(Derived):
    """Hold the environments that later stages use, by repo_name. Leave out records whose `status`
    is not success, and unhealthy ones (unless `unhealthy_too`). With `newest`, keep only the newest
    of the remaining commits of each repository."""

    def __init__(self, root: Path, unhealthy_too: bool = False, rows: Path | None = None,
                 newest: bool = False):
        """Read env/*.json of a root, or the rows of a file of JSON lines."""
        store = Store(root, Environment)
        first: dict[str, str] = {}           # {name: its first row}
        commits: dict[str, tuple] = {}       # {name: (its repository, time of its commit)}
        self.left_out: dict[str, str] = {}   # {name: reason}

        def usable(name: str, environment: Environment) -> dict[str, Environment]:
            if environment.status != SUCCESS:
                self.left_out[name] = f"its status is {environment.status}"
            elif not (unhealthy_too or environment.verified.get("healthy")):
                self.left_out[name] = "its suite is not healthy (--unhealthy-too)"
            else:
                date = environment.verified.get("committed_at")
                # without a date, treat it as the only commit of a repository
                commits[name] = (environment.repo if date else name, date or 0)
                return {name: environment}
            return {}

        def newest_of(names: Iterable[str]) -> list[str]:
            by_date = sorted(names, key=lambda name: (commits[name][1], name))
            newest = {*{commits[name][0]: name for name in by_date}.values()}
            self.left_out |= dict.fromkeys({*names} - newest,
                                           "there is a newer commit (--all-commits)")
            return [name for name in names if name in newest]

        def read_rows() -> Readers:
            return {where: partial(_environment_of, line, where)
                    for where, line in numbered_lines(rows, FORM).items()}

        def of_row(where: str, environment: Environment) -> dict[str, Environment]:
            name = environment.repo_name
            if not safe_name(name) or first.setdefault(name, where) != where:
                raise BrokenRecord(f"has a name that is taken or refused: {name[:80]!r}.", where,
                                   "Give the row another `repo_name`.")
            return {name: environment}

        if rows:
            super().__init__(read_rows, of_row, place=rows.name, derived=False)
        else:
            super().__init__(store, usable, keeps=store.covers, derived=False,
                             choose=newest_of if newest else list)


def chosen_by(args, root: Path) -> Environments:
    """Return the environments that the flags of cli.environment_flags() choose."""
    return Environments(root, args.unhealthy_too, args.input and Path(args.input),
                        newest=not (args.all_commits or args.only))


def _environment_of(line: str, where: str) -> Environment:
    try:
        data = row_in(line)
    except ValueError as e:
        raise BrokenRecord(f"is not JSON: {e}", where, FORM) from e
    row = parse(EnvironmentRow, data, where, FORM)
    return of_image(
        repo=row.repo, repo_name=row.repo_name or repo_name_of(row.repo), row=data,
        base_commit=row.base_commit, image_name=row.image_name,
        test_script=text_of("codedata.suites.programs", "pytest.sh"),
        test_case_result=row.test_case_result)


def of_image(**known) -> Environment:
    """Return an environment for an image that was made without codedata. `known` sets fields."""
    fields = {"row": {}, "base_image": "", "status": SUCCESS, "install_script": "", "summary": "",
              "planner": "", "messages": [], "error": "", "test_case_result": [], "flaky": [],
              "verified": {}, "usage": {}, "seconds": 0.0, **known}
    return Environment(**fields)


@contextmanager
def open_environment(environment: Environment, factory: SandboxFactory, label: str,
                     **options) -> Iterator[Sandbox]:
    """Yield a sandbox with the installed source. Use the environment's image, and pull it if
    needed; if there is none, install the source again in the base image. `options` go to
    factory.open(). Raise Excluded if neither is possible, ItemFailed if the install fails."""
    image = environment.image_name
    if factory.has_image(image, id_of(environment)):
        with factory.open(image, label, factory.workdir_of(image), **options) as sandbox:
            yield sandbox
        return
    project = _project(environment)
    workdir = WORKDIR if project.source else factory.workdir_of(environment.base_image)
    with factory.open(environment.base_image, label, workdir, **options) as sandbox:
        with at_hand(project.source) as source:
            _install(environment, replace(project, source=source), sandbox, factory.run_timeout_s)
        yield sandbox


def id_of(environment: Environment) -> str:
    """Return the id of an environment's image, "" if its record has none."""
    return str(environment.verified.get("image_id") or "")


def image_of(environment: Environment, factory: SandboxFactory, label: str) -> KeptImage:
    """Return the environment's image. If there is none, for instance after a run in pods, make one
    on this machine and keep it. Raise Excluded or ItemFailed if that is not possible."""
    if factory.has_image(environment.image_name, id_of(environment)):
        return KeptImage(environment.image_name)
    if factory.no_images:
        raise Excluded(f"has no image, and {factory.no_images}.", environment.repo_name)
    name = image_name_of(environment.repo_name, environment.base_commit, environment.base_image,
                         environment.install_script)
    with open_environment(environment, factory, label) as sandbox:
        image_id = sandbox.commit(factory.temporary_name(TRIES), keep=False)
    kept = factory.keep(image_id, name)
    factory.forget(label)
    return kept


@contextmanager
def labelled(host: SandboxFactory, name: str, what: str = "bug") -> Iterator[str]:
    """Yield a label for the work on an item. At the end, remove the images with this label. Raise
    ItemFailed if the engine fails, RunStopped if the engine is gone."""
    label = f"{what}-{name[:40]}-{secrets.token_hex(4)}"
    try:
        yield label
    except LOST as e:
        connect()
        raise ItemFailed(f"the engine fails: {reason(e)}", name) from e
    finally:
        host.forget(label)


@contextmanager
def fresh_sandbox(environment: Environment, host: SandboxFactory, what: str = "bug"
                  ) -> Iterator[Sandbox]:
    """Yield a sandbox as open_environment() does, with a label as labelled() makes it."""
    with (labelled(host, environment.repo_name, what) as label,
          open_environment(environment, host, label) as sandbox):
        yield sandbox


def image_name_of(repo_name: str, *made_of: str) -> str:
    """Return the name of an image, with a digest of `made_of` as its tag."""
    return f"{image_name(IMAGES, repo_name)}:{digest([*made_of])[:12]}"


def _project(environment: Environment) -> Project:
    """Return the project, whose source is in a folder of this machine or in the base image. Raise
    Excluded if the folder is missing, or if no script installs the project."""
    folder = environment.verified.get("source_path") or environment.row.get("reformat_path")
    folder = str(folder or "")   # an edited record may have another type
    source = Path(folder) if folder else None
    if environment.install_script and (source is None or is_folder(source)):
        return Project(source)
    reason = f"its source is not in {folder}"
    if not environment.install_script:
        reason = "no script installs it"
    raise Excluded(f"cannot be opened: its image {environment.image_name or '(none)'} is not "
                   f"available, and {reason}.", environment.repo_name,
                   "Name an image that this machine has, or put its registry before its name.")


def _install(environment: Environment, project: Project, sandbox: Sandbox,
             timeout_s: float) -> None:
    """Put the source into a fresh sandbox, and install it with the network on. Raise ItemFailed if
    the source is not the verified one, or cannot be installed."""
    commit, error = put_source(sandbox, replace(project, commit=environment.base_commit))
    if error:   # the environment was made from uncommitted changes
        commit, error = put_source(sandbox, project)
    if commit != environment.base_commit:   # a record may name any folder of this machine
        raise ItemFailed(f"its source is not the verified one: {error}", environment.repo_name)
    sandbox.network(True)
    current_step().count = "installing it first"
    done = run_script(sandbox, environment.install_script, timeout_s)
    current_step().count = ""
    output = done.output.strip()[-500:]
    if done.ok:
        output = restore(sandbox, commit)[1]
    sandbox.network(False)
    if output or not done.ok:
        raise ItemFailed(f"cannot be installed again: {output}", environment.repo_name)
