"""Provide small projects as folders of files, and images of them that are made once.

    HERON = Project("heron")
    HERON.texts["heron.py"]        # what tests/projects/heron/heron.py holds
    HERON.diff("heron.py", "2 *", "3 *")
    HERON.make()                   # its image exists now; HERON.image is what it is called

An image is named by the digest of all that goes into it. All workers and later runs share it, so
nothing removes it, and it has no label: `docker rmi $(docker images -q codedata-tests/*)` does.
"""
import difflib
import fcntl
import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

FOLDER = Path(__file__).parent
BASE = "codedata-base:bookworm"
LEAN = "codedata-tests/lean:bookworm"   # half of the base: whole images are searched in tests
NOT_IN_LEAN = ("/var/cache/* /var/lib/apt/* /var/lib/dpkg/info/* /usr/share/locale/* "
               "/usr/share/doc/* /usr/share/man/* /usr/share/zoneinfo/* /usr/share/i18n/* "
               "/usr/share/perl* /usr/bin/perl* /usr/lib/x86_64-linux-gnu/*perl* "
               "/usr/lib/x86_64-linux-gnu/gconv /usr/lib/x86_64-linux-gnu/libdb-* /usr/bin/scalar "
               "/usr/bin/git-shell /usr/lib/git-core/git-http-* /usr/lib/git-core/git-imap-send "
               "/usr/lib/git-core/git-remote-http* /usr/lib/git-core/git-daemon "
               "/usr/lib/git-core/git-shell /usr/lib/git-core/scalar "
               "/usr/lib/python3.11/lib2to3 /usr/lib/python3.11/pydoc_data "
               "/usr/lib/python3/dist-packages/setuptools* "
               "/usr/lib/python3/dist-packages/pkg_resources "
               "/usr/lib/python3/dist-packages/wheel*")
COMMIT = "git init -q; git add -A; git commit -qm one"
DOCKERFILE = f"""FROM {LEAN}
WORKDIR WORKDIR_OF_PROJECT
COPY project .
COPY commands /tmp/commands
RUN export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b.c GIT_COMMITTER_NAME=a \
        GIT_COMMITTER_EMAIL=a@b.c GIT_AUTHOR_DATE=2024-05-01T12:00:00+02:00 \
        GIT_COMMITTER_DATE=2024-05-01T12:00:00+02:00; \
    bash -e /tmp/commands && rm /tmp/commands
"""


@dataclass(frozen=True)
class Project:
    """A folder beside this file, with further files (or others in their place); the commands run
    in the image, after its files were put there."""
    name: str
    commands: str = COMMIT
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    workdir: str = "/testbed"

    @cached_property
    def contents(self) -> dict[str, bytes]:
        """Return what each file holds, by path."""
        folder = FOLDER / self.name
        found = {str(path.relative_to(folder)): path.read_bytes()
                 for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}
        more = {path: text.encode() if isinstance(text, str) else text
                for path, text in self.files.items()}
        return dict(sorted((found | more).items()))

    @cached_property
    def texts(self) -> dict[str, str]:
        return {path: content.decode() for path, content in self.contents.items()}

    @cached_property
    def image(self) -> str:
        """Return the name of the image, which need not exist."""
        made_of = [DOCKERFILE, self.workdir, self.commands,
                   {path: content.hex() for path, content in self.contents.items()}]
        digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
        return f"codedata-tests/{self.name}:{digest[:16]}"

    def make(self) -> str:
        """Make the image unless it is there, and return its name."""
        make_lean()
        with held_lock():
            base, made = layers_of(LEAN), layers_of(self.image)
            if made[:len(base)] != base:   # or of an earlier base
                docker("build", "-q", "-t", self.image, "-", input=self._context())
        return self.image

    def _context(self) -> bytes:
        packed = io.BytesIO()
        context = {f"project/{path}": content for path, content in self.contents.items()}
        context["commands"] = self.commands.encode()
        context["Dockerfile"] = DOCKERFILE.replace("WORKDIR_OF_PROJECT", self.workdir).encode()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for path, content in context.items():
                entry = tarfile.TarInfo(path)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        return packed.getvalue()

    def diff(self, path: str, old: str, new: str) -> str:
        """Return the patch that replaces a part of a file, where it stands first."""
        before = self.texts[path]
        assert old in before
        sides = (text.splitlines(True) for text in (before, before.replace(old, new, 1)))
        return "".join(difflib.unified_diff(*sides, f"a/{path}", f"b/{path}"))


@contextmanager
def held_lock() -> Iterator[None]:
    """Keep all other processes of this user from making images."""
    with open(Path(tempfile.gettempdir(), f"tests-projects-{os.getuid()}.lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@cache
def make_lean() -> str:
    """Make the image that projects begin from, unless it is there, and return its name."""
    base = json.loads(docker("image", "inspect", BASE))[0]
    made_of = hashlib.sha256(f"{base['Id']} {NOT_IN_LEAN}".encode()).hexdigest()
    label = f"tests.made-of={made_of}"
    with held_lock():
        if docker("image", "ls", "-q", "--filter", f"label={label}", LEAN):
            return LEAN
        made = docker("create", BASE, "sh", "-c", f"rm -rf {NOT_IN_LEAN}")
        docker("start", "-a", made)
        settings = [f"-c=ENV {one}" for one in base["Config"]["Env"]] + [f"-c=LABEL {label}"]
        with tempfile.TemporaryDirectory() as folder:
            docker("export", "-o", f"{folder}/files.tar", made)
            docker("import", *settings, f"{folder}/files.tar", LEAN)
        docker("rm", made)
    return LEAN


def layers_of(image: str) -> list[str]:
    """Return the layers of an image, none where there is no such image."""
    asked = subprocess.run(["docker", "image", "inspect", image], capture_output=True)
    return json.loads(asked.stdout)[0]["RootFS"]["Layers"] if asked.returncode == 0 else []


def docker(*words: str, **options) -> str:
    """Return what the engine's client prints."""
    done = subprocess.run(["docker", *words], capture_output=True, **options)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()
