"""Fetch the pinned releases, make environments for their suites, trace them and keep the traces."""
import hashlib
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from codedata.env.recipes.package_index import tomllib
from codedata.errors import Trouble

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Project:
    """Hold an entry of projects.toml."""

    name: str
    version: str
    sha256: str
    source: str
    tests: str
    style: str
    needs: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    held_out: bool = False

    @property
    def trace(self) -> Path:
        """Return the path of its stored trace."""
        return HERE / f"{self.name}.json.xz"


def projects() -> list[Project]:
    """Return the projects, in the order of the file."""
    text = (HERE / "projects.toml").read_text(encoding="utf-8")
    return [Project(**one) for one in tomllib.loads(text)["project"]]


def pip(python, *words) -> None:
    """Run pip of an interpreter."""
    subprocess.run([python, "-m", "pip", "--quiet", *words], check=True, stdout=sys.stderr)


def fetch(project: Project, cache: Path) -> Path:
    """Return the folder of a project's release; it is downloaded once. Raise Trouble where it is
    not the pinned one."""
    folder = cache / f"{project.name}-{project.version}"
    if not folder.is_dir():
        making = cache / f"{folder.name}.download"
        pip(sys.executable, "download", "--no-deps", "--no-binary", ":all:", "--dest", making,
            f"{project.name}=={project.version}")
        archive, = making.glob("*.tar.gz")
        if hashlib.sha256(archive.read_bytes()).hexdigest() != project.sha256:
            raise Trouble("is not the archive that projects.toml names.", str(archive))
        with tarfile.open(archive) as tar:
            tar.extractall(making, filter="data")
        next(path for path in making.iterdir() if path.is_dir()).rename(folder)
    return folder


def environment(folder: Path, python: str, *needs) -> Path:
    """Return the interpreter of a virtual environment, which is made once."""
    interpreter = folder / "bin" / "python"
    if not (folder / "complete").exists():
        subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
        pip(interpreter, "install", *needs)
        (folder / "complete").touch()
    return interpreter


def suite(project: Project, cache: Path, python: str) -> tuple[Path, Path]:
    """Return the interpreter of an environment for a project's tests, and its copy of the source.
    """
    version = subprocess.check_output([python, "-V"], text=True).split()[1]
    folder = cache / f"{project.name}-{project.version}.python-{version}"
    source = folder / "source"
    if not source.exists():
        shutil.copytree(fetch(project, cache), source)
    return environment(folder / "venv", python, "pytest==9.2.0", *project.needs,
                       "--editable", source), source


def trace(project: Project, python: Path, source: Path) -> dict:
    """Return the trace of the suite in a folder. Raise Trouble where a test fails."""
    out = source / "callgraph.json"
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "callgraph_tracer", *project.arguments, project.tests],
        cwd=source, stdout=sys.stderr, check=False,
        env={**os.environ, "CALLGRAPH_OUT": str(out), "PYTHONPATH": str(HERE)})
    if done.returncode:
        raise Trouble("has tests that fail: it is no measure.", str(source))
    return {"sha256": project.sha256, **json.loads(out.read_text(encoding="utf-8"))}


def store(project: Project, traced: dict) -> None:
    """Write a project's trace."""
    text = json.dumps(traced, separators=(",", ":"))
    project.trace.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


def stored(project: Project) -> dict:
    """Return a project's stored trace. Raise Trouble where it is of another release."""
    traced = json.loads(lzma.decompress(project.trace.read_bytes()))
    if traced["sha256"] != project.sha256:
        raise Trouble("is of another release.", str(project.trace), "Use --retrace.")
    return traced
