"""Search the files of a container, from outside, for leftovers of an install: read the engine's tar
of the files, and use this machine's git.

No program of the container is run. This machine's git reads only the objects and refs of
repositories, never their settings or hooks. The search misses a history inside an archive or
an encrypted file. It also misses a copy of the project that is imported through links or path files
(shadowed.py finds such copies from inside).
"""
from __future__ import annotations

import posixpath
import re
import shutil
from collections import defaultdict
from pathlib import Path

from codedata.code.git import GIT
from codedata.errors import ItemFailed
from codedata.sandbox import Sandbox, open_sandbox
from codedata.sandbox.archives import PIECE, Bounds, UnsafeArchive, members, read_tar, unpack
from codedata.suites.leftovers import activation
from codedata.suites.source import LOOK_S, Project
from codedata.texts import printable, text_of

BOUNDS = Bounds(max_bytes=100_000_000_000, max_files=5_000_000, max_depth=1_000, max_seconds=LOOK_S)
MAX_NOTED = 100_000   # paths of one file system that are kept in memory
OF_GIT = re.compile(r"(?:\w*HEAD|packed-refs|shallow|refs|logs|objects|config)(?:/.*)?|modules")
BARE = {"HEAD", "objects", "refs"}
BUNDLE = re.compile(rb"# v\d+ git bundle")
EDITABLE = re.compile(rb'"editable":\s*true')   # pip writes a space after the colon, uv does not
# bare repositories in these folders, or among the source's files, count only if they have the
# project's history
OF_DEPENDENCIES = re.compile(r"/\.cargo/|/\.cache/|/pkg/mod/cache/")
SETTINGS = "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tobjectFormat = {}\n"
SITE = r"(?P<prefix>.+)/lib(?:64)?/python3[\d.]*/(?:site|dist)-packages"


def look(files, workdir: str, commit: str, project: Project, test_script: str,
         only_source: bool = False) -> tuple[list[str], list[str]]:
    """Return (traces of another history, copies of the project that would be imported instead of
    its source), a line for each. Files that cannot be read are reported as a trace. With
    `only_source`, search only the source's own repository."""
    source = workdir.strip("/")
    try:
        with open_sandbox("local", scripts=[]) as here:
            traces = _own_history(here, files, source, commit)
            if traces or only_source:
                return traces, []
            traces, bare, installed = _scan(files, source, _copy_pattern(source, project))
            for place in bare:
                is_of_others = place.startswith(f"/{source}/") or OF_DEPENDENCIES.search(place)
                if not is_of_others or _knows(here, files, place, commit):
                    traces.append(f"another repository: {place}")
            return traces, _copies(installed, source, test_script)
    except (ItemFailed, OSError) as e:
        return [f"the files cannot be searched: {printable(str(e), 300)}"], []


# repositories ------------------------------------------------------------------------------------

def _own_history(here: Sandbox, files, source: str, commit: str) -> list[str]:
    """Copy the source's repository to this machine. Return a line for each trace of a history other
    than the commit's, and for each remote."""
    git = Path(here.workdir, ".git")
    if reason := take_repository(files, f"/{source}/.git", git, commit):
        return [reason]
    program = text_of("codedata.suites.programs", "check_history.sh")
    done = here.run(f"set -- . {commit}\n{program}", timeout_s=LOOK_S, env=GIT)
    settings = (git / "original").read_text(errors="replace")
    remotes = re.findall(r"^[ \t]*\[[ \t]*remote\b[^\n]*", settings, re.MULTILINE | re.IGNORECASE)
    return [*done.output.splitlines(), *(f"a remote: {printable(line, 100)}" for line in remotes),
            *([] if done.ok else [f"the search for history had exit code {done.exit_code}"])]


def take_repository(files, place: str, to: Path, commit: str = "") -> str:
    """Copy to the folder `to` the parts of a repository that git may read; its settings become the
    file `original` there. Return why the repository cannot be trusted, or ""."""
    shutil.rmtree(to, ignore_errors=True)
    unpack(files.below(place), to, BOUNDS, strip=1,
           wanted=lambda parts: bool(OF_GIT.fullmatch("/".join(parts))))
    for path in to.rglob("*"):   # this machine's git could not read these objects
        if path.is_symlink() or path.match("objects/info/alternates") or (
                path.suffix == ".pack" and not path.with_suffix(".idx").exists()):
            return f"{place} takes objects from elsewhere: {path.name}"
    shutil.rmtree(to / "objects/info", ignore_errors=True)
    for index in to.glob("objects/pack/multi-pack-index*"):
        index.unlink()
    (to / "config").touch()
    (to / "config").rename(to / "original")
    (to / "config").write_text(SETTINGS.format("sha256" if len(commit) == 64 else "sha1"))
    return ""


def _knows(here: Sandbox, files, place: str, commit: str) -> bool:
    """Return whether the repository at `place` cannot be trusted, or has the commit or the first
    commit of its history."""
    if take_repository(files, place, Path(here.workdir, "other"), commit):
        return True
    ask = f"git rev-list --max-parents=0 {commit} | head -1; echo {commit}"
    return any(here.run(f"git cat-file -e {known}", env=GIT | {"GIT_DIR": "other"}).ok
               for known in here.run(ask, timeout_s=LOOK_S, env=GIT).output.split())


# everything else ---------------------------------------------------------------------------------

def _scan(files, source: str, copy: re.Pattern) -> tuple[list[str], list[str], dict[str, bytes]]:
    """Read all files once. Return (a line for each repository and bundle, the paths of bare
    repositories, {path that matches `copy`: its content if it is a direct_url.json, else b""})."""
    traces, bare, installed = [], defaultdict(set), {}
    count = BOUNDS.meter()
    with read_tar(files.all()) as tar:
        for member in members(tar):
            name = member.name.strip("/")
            count(name, member.size)
            if f"{name}/".startswith(f"{source}/.git/"):
                continue
            folder, _, last = name.rpartition("/")
            kind = _kind(tar, member, name, copy)
            if kind == "bare":
                bare[f"/{folder}"].add(last)
            if kind == "copy":
                has_text = last == "direct_url.json" and member.isreg() and member.size <= PIECE
                installed[name] = tar.extractfile(member).read() if has_text else b""
            if kind not in ("", "bare", "copy"):
                traces.append(f"{kind}: /{name}")
            if len(traces) + len(bare) + len(installed) > MAX_NOTED:
                raise UnsafeArchive(f"has more than {MAX_NOTED:,} paths that have to be looked at")
    return traces, [place for place, names in bare.items() if names == BARE], installed


def _kind(tar, member, name: str, copy: re.Pattern) -> str:
    """Return "bare" for a part of a bare repository, "copy" for a path that matches `copy`, a
    description for another trace of a repository, "" for any other file."""
    folder, _, last = name.rpartition("/")
    if last == ".git":
        return "another repository"
    if last in BARE and not folder.endswith("/.git"):
        return "bare"
    if copy.fullmatch(name) and (last == "python3" or not member.issym()):
        return "copy"
    is_bundle = member.isreg() and BUNDLE.match(tar.extractfile(member).read(20))
    return "a bundle of a repository" if is_bundle else ""


def _copy_pattern(source: str, project: Project) -> re.Pattern:
    """Return the pattern of the paths that _copies() needs: paths that show which Python
    environments exist, and whether the project is installed in them."""
    none = "(?!)"   # matches nothing
    modules = "|".join(re.escape(module.replace(".", "/")) for module in project.modules) or none
    name = re.sub("[-_.]+", "[-_.]+", project.distribution) or none
    top, package = re.escape(source), re.escape(project.node_package) or none
    return re.compile(rf"{SITE}/(?:(?:{modules})(?:/__init__)?\.(?:py|[\w.-]+\.so)|"
                      rf"(?i:{name})-[^/]+\.(?:dist|egg)-info(?:/direct_url\.json)?)|"
                      rf"usr/local/bin/python3|{top}/(?:[^/]+/){{0,3}}pyvenv\.cfg|"
                      rf"{top}/node_modules/{package}")


def _copies(installed: dict[str, bytes], source: str, test_script: str) -> list[str]:
    """Return a line for each copy of the project in the tests' Python environment, or in an
    environment inside the source folder. Neither a source file next to its compiled module nor the
    metadata of an editable install is a copy."""
    used = re.match(r"(?:\. |PATH=)([^\s$]+)/bin[/:]", activation(test_script))
    if used:
        prefixes = {posixpath.join(f"/{source}", used[1]).strip("/")}
    elif "usr/local/bin/python3" in installed:
        prefixes = {"usr/local"}
    else:
        prefixes = {"usr", "usr/local", "root/.local"}
    prefixes |= {posixpath.dirname(path) for path in installed if path.endswith("/pyvenv.cfg")}
    used_paths = [path for path in installed if (site := re.match(SITE, path))
                  and site["prefix"] in prefixes]
    compiled = {re.sub(r"\.[^/]+$", ".py", path) for path in used_paths if path.endswith(".so")}
    is_editable = any(EDITABLE.search(installed[path]) for path in used_paths)
    ends = (".py",) if is_editable else (".py", "-info")
    copies = [path for path in used_paths if path.endswith(ends) and path not in compiled]
    copies += [path for path in installed if path.startswith(f"{source}/node_modules/")]
    return [f"a copy of the project itself: /{path}" for path in copies]
