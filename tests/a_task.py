"""Make folders of tasks as their makers leave them, without running any test.

    write_task(root, a_bug())                          # task/heron.agent-1.0123abcd/, with a report
    write_task(root, a_bug("crane.agent-1.0123abcd", instruction=None))
    write_task(root, a_strip()), write_task(root, a_datapoint(category="Networking"))
    write_foreign(root, "theirs")                      # of somebody else: nothing is known of it
    edited(a_bug(), tests={"hidden/test_a.py": b""})   # no longer what was proven
    proven_again(a_bug(), tests={"hidden/test_a.py": b""})
"""
import base64
import io
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from proof_heron import GOLD_LINE, HERON
from root import write_files

from codedata.code.patches import diff_of
from codedata.disk.layouts import FolderDraft, content_of
from codedata.disk.store import Store
from codedata.records import (
    BUG,
    DATAPOINT,
    PULL_REQUEST,
    STRIPPED_PATCH,
    Files,
    Object,
    Task,
)
from codedata.tasks.folder.task_folder import (
    ARCHIVE,
    BEFORE_DOCUMENT,
    Container,
    config_of,
    from_image,
    proven,
    with_about,
)
from codedata.tasks.folder.tests_folder import suite_tests, weighted_tests

BUG_ID, STRIP_ID, DATAPOINT_ID = "heron.agent-1.0123abcd", "heron.function.0123abcd", "tally"
PULL_ID = "heron__heron-7"
IMAGE_ID = "sha256:" + "1" * 64
COMMIT, TASK_COMMIT = "a" * 40, "b" * 40   # of the repository, in the image
CREATED_AT = "2024-05-01T00:00:00Z"
COLLECT = f"tar -C /testbed -cf {ARCHIVE} heron.py\ntrue\n"
SOLVE = ("cd /testbed || exit 1\n"
         "git -c safe.directory='*' apply --whitespace=nowarn /solution/gold.patch\n")
REPORT = "Herons wade half as deep as they should.\n"
PULLED = "Let herons wade deeper than up to their knees.\n"   # of a pull request
DOCUMENT = "# heron\n\nWhat herons do.\n\n## words\n\nReturn the lower-case words of a text.\n"
TEST = b"import heron\n\n\ndef test_none():\n    assert heron.words('') == []\n"
HIDDEN = {"tests/test_words.py": TEST}
EARLIER = {"tests/test_words.py": b"import heron\n"}   # before a pull request
WADES = b"def wade(depth):\n    return 2 * depth\n"
BUG_PATCH = diff_of({"heron.py": WADES}, {"heron.py": WADES.replace(b"2 * ", b"")})
HEALS = diff_of({"heron.py": WADES.replace(b"2 * ", b"")}, {"heron.py": WADES})
WORDS = "heron.py::words"
BODY, STRIPPED = f"{GOLD_LINE}\n", '    raise NotImplementedError("words")\n'
WITH, WITHOUT = (HERON.encode(), HERON.replace(BODY, STRIPPED).encode())
STRIP, WRITES = diff_of({"heron.py": WITH}, {"heron.py": WITHOUT}), diff_of(
    {"heron.py": WITHOUT}, {"heron.py": WITH})
FAIL_TO_PASS, PASS_TO_PASS = "tests/test_words.py::test_none", "tests/test_depths.py::test_fly"
TESTS = """import subprocess


def test_sum():
    assert subprocess.check_output(["/app/tally"], input=b"1\\n2\\n") == b"3\\n"


def test_none():
    assert subprocess.check_output(["/app/tally"], input=b"") == b"0\\n"
"""
FOREIGN = ('schema_version = "1.4"   # theirs\n[task]\nname = "them/theirs"\n[metadata]\n'
           'author = "Them"\n[environment]\ncpus = 2\n')
DOCKERFILE = """FROM codedata-base:bookworm
RUN useradd --create-home agent && install -d -o agent -g agent /app
WORKDIR /app
COPY amounts.csv .
"""
SUMS = """cat >/app/tally <<'END'
#!/bin/sh
exec awk '{ sum += $1 } END { print sum + 0 }'
END
chmod +x /app/tally
"""


def a_bug(instance_id: str = BUG_ID, instruction: str | None = REPORT,
          hidden: Mapping[str, str] | None = None, *, patch: str = HEALS,
          bug_patch: str = BUG_PATCH, proof: Object | None = None,
          image: str = "", FAIL_TO_PASS=(FAIL_TO_PASS,), **about) -> Task:
    """Return a bug that was proven, with tests that are hidden from the agent; `about` adds to
    [metadata.codedata], `proof` to its proof."""
    known = {"method": "agent", "symbol": "heron.py::wade", "language": "python",
             **about}
    bug = _of_repository(BUG, instance_id, instruction, patch, bug_patch, hidden, known,
                         image=image, failing=FAIL_TO_PASS)
    return replace(bug, proof={**bug.proof, **(proof or {})})


def a_strip(instance_id: str = STRIP_ID, instruction: str | None = "", **about) -> Task:
    """Return a stripped patch that was proven, with its document; "" is the usual instruction."""
    if instruction == "":
        instruction = f"# Write the missing bodies\n\n{BEFORE_DOCUMENT}\n\n{DOCUMENT}"
    known = {"method": "function", "functions": [WORDS], "language": "python", "licence": "MIT",
             **about}
    return _of_repository(STRIPPED_PATCH, instance_id, instruction, WRITES, STRIP, None, known,
                          counts=["heron.py"])


def a_pull(instance_id: str = PULL_ID, instruction: str | None = PULLED,
           **about) -> Task:
    """Return a pull request that was proven; its image has earlier tests."""
    known = {"method": PULL_REQUEST, "language": "python", "repo": "birds/heron",
             "split": "birds/heron", **about}
    task = _of_repository(PULL_REQUEST, instance_id, instruction, HEALS, BUG_PATCH, None, known)
    return proven_again(task, tests={"test.patch": diff_of(EARLIER, HIDDEN).encode()})


def _of_repository(kind: str, instance_id: str, instruction: str | None, gold: str, reverse: str,
                   hidden: Mapping[str, str] | None, known: Object, counts: list[str] | None = None,
                   image: str = "", failing=(FAIL_TO_PASS,)) -> Task:
    hidden = HIDDEN if hidden is None else _encoded(hidden)
    repo = f"birds/{instance_id.partition('.')[0]}"
    about = {"kind": kind, "repo": repo, "source_commit": COMMIT, "task_commit": TASK_COMMIT,
             "created_at": CREATED_AT, "tests_visible": "", "split": repo, **known}
    image = image or f"codedata-bug/{instance_id.lower()}:1"
    tests = suite_tests("python3 -m pytest", hidden, workdir="/testbed", user="nobody",
                        timeout_s=540, FAIL_TO_PASS=[*failing], PASS_TO_PASS=[PASS_TO_PASS],
                        canary="tests", counts=counts)
    tests = {**tests, "test.patch": diff_of({}, hidden)}
    solution = {"solve.sh": SOLVE.encode(), "gold.patch": gold.encode(),
                "reverse.patch": reverse.encode()}
    container = Container("/testbed", image, collect=COLLECT)
    return _proven(Task(instance_id, kind, config_of(instance_id, container, about,
                                                     {"tags": ["python"]}),
                        from_image(image), solution, _encoded(tests), instruction))


def a_datapoint(instance_id: str = DATAPOINT_ID, instruction: str | None = "Write /app/tally.\n",
                category: str = "Data Processing", difficulty: str = "easy", **about) -> Task:
    """Return a datapoint that was proven, whose image is built with a context."""
    known = {"kind": DATAPOINT, "repo": instance_id, "licence": "MIT", "split": instance_id,
             "language": "python", **about}
    tests = weighted_tests({"test_none": 0.3, "test_sum": 0.7}, "agent", "/app", 600)
    labels = {"difficulty": difficulty, "category": category, "tags": ["python"]}
    container = Container("/app", agent_user="agent", network="public")
    return _proven(Task(
        instance_id, DATAPOINT, config_of(instance_id, container, known, labels),
        {"Dockerfile": DOCKERFILE.encode(), "amounts.csv": b"1\n2\n"},
        {"solve.sh": SUMS.encode()},
        _encoded({**tests, "test_outputs.py": TESTS}), instruction))


def _encoded(texts: Mapping[str, str]) -> Files:
    return {name: text.encode() for name, text in texts.items()}


def _proven(task: Task) -> Task:
    return proven(task, {"runs": [{"of": "image", "seconds": 1.0}], "log": "3 failed",
                         "image_id": IMAGE_ID})


def edited(task: Task, about: Object | None = None, **parts) -> Task:
    """Return a task with other `about`, an entry that is null falling out, and with files or keys
    laid over its parts: tests={path: bytes}, config={table: {…}}, instruction="…"."""
    for name, part in parts.items():
        old = getattr(task, name)
        if name == "config":
            part = {table: {**old.get(table, {}), **keys} if isinstance(keys, dict) else keys
                    for table, keys in part.items()}
        merged = {**old, **part} if isinstance(part, dict) and old is not None else part
        if isinstance(merged, dict):
            merged = {key: value for key, value in merged.items() if value is not None}
        task = replace(task, **{name: merged})
    return with_about(task, **about) if about else task


def proven_again(task: Task, about: Object | None = None, **parts) -> Task:
    """Return an edited task whose proof is of what it is now."""
    return _proven(edited(task, about, **parts))


def write_task(root: Path, task: Task) -> Path:
    """Write a task's folder; what else is there stays. Return it."""
    folder = root / Task.directory / task.instance_id
    values = {place: getattr(task, field) for field, place in Task.places.items()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    FolderDraft(folder, values, task.kind).place()
    return folder


def read_task(root: Path, instance_id: str) -> Task:
    return Store(root, Task).open().read(instance_id)


def write_foreign(root: Path, instance_id: str = "theirs",
                  files: Mapping[str, str] | None = None) -> Path:
    """Write the folder of a task that somebody else made, with other texts or files by path; return
    it."""
    usual = {"task.toml": FOREIGN, "instruction.md": "Say hello.\n",
             "environment/Dockerfile": "FROM codedata-base:bookworm\nCOPY run /bin/run\n",
             "environment/run": "#!/bin/sh\n", "solution/solve.sh": "echo hello\n",
             "tests/test.sh": "echo 1 >/logs/verifier/reward.txt\n", "README.md": "Theirs.\n"}
    folder = root / Task.directory / instance_id
    write_files(folder, {**usual, **(files or {})})
    (folder / "environment/run").chmod(0o755)
    return folder


def file_of(task: Task, part: str, name: str) -> str:
    """Return the text of a file of a part: file_of(task, "tests", "config.json")."""
    return content_of(getattr(task, part)[name]).decode()


def files_in(script: str) -> dict[str, str]:
    """Return {path: text} of what an evaluation script carries, unpacked as its comment says."""
    packed = base64.b64decode(script.partition("END_OF_FILES'")[2].partition("\n")[2].partition(
        "END_OF_FILES\n")[0])
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        return {member.name: tar.extractfile(member).read().decode() for member in tar}
