"""Try to get the reward without solving a task: by known cheats, and by cheats made from its files.
Look for readable tests, and for the solution in the image. Grade the scripts in rivals/."""
from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from codedata.audit.audited import Audited, CheckResult, GoldRefused, files_in
from codedata.audit.gold_programs import is_program, looks
from codedata.code.patches import edited, edits_of
from codedata.disk.store import digest
from codedata.errors import ItemFailed
from codedata.records import (
    DATAPOINT,
    FAILED,
    NO_CASE,
    PASSED,
    REVIEW,
    UNFINISHED,
    Files,
    RivalledTask,
)
from codedata.run.talk import current_step
from codedata.sandbox.archives import PIECE, UnsafeArchive
from codedata.sandbox.docker import engine
from codedata.sandbox.images.dockerfile import base_of
from codedata.tasks.folder.check import PATCHED
from codedata.tasks.folder.task_folder import (
    CONFIG,
    DOCKERFILE,
    TEST_PATCH,
    agent_of,
    collect_of,
    text_in,
    verifier_config,
)
from codedata.tasks.folder.tests_folder import CASES
from codedata.tasks.image.image_search import LAYER, ImageSearch
from codedata.tasks.prove.grader import BESIDE, Grader
from codedata.texts import fill, printable, text_of, toml_of

# known cheats, and cheats made from the task's files
CHEATS, MADE = toml_of(__package__, "cheats.toml").values()
OF_FILES = ("answer", "source")   # families of known cheats that use a task's own files
# settings of a verifier that differ between the tasks of a repository
OF_TASK = ("FAIL_TO_PASS", "PASS_TO_PASS", "timeout_s")
NAME = re.compile(r"[\w.-]+")
IMPORTED = re.compile(r"\b(?:from|import)\s+(\w+)")
# quoted texts in tests, and patterns of grep
QUOTED = re.compile(r"\"([^\"\n]{1,200})\"|'([^'\n]{1,200})'|\bgrep\s+(?:-\w+\s+)*([\w.]{1,200})")
MAX_NAMED, MAX_QUOTED = 50, 2_000   # maximum of files that tests name, and of quoted texts
SPAN = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
NAMED_FILE = re.compile(r"(?<![\w./-])[\w./-]*[\w-]\.\w{1,5}\b|/[\w./-]+")
MIN_WHOLE = 4                                 # minimum of non-blank bytes for an exact match
MIN_LINES, MIN_SHARE, MIN_INK = 3, 0.25, 12   # minimum number and share of the gold's new lines in
                                              # a file; minimum of non-blank bytes in such a line
SMALL_GOLD, SMALL_SHARE = 10, 0.5             # with fewer new lines, a larger share is needed
READABLE = "a program that the tests start can read their files, or write the reward"
MAX_COPIES = 20                               # maximum of files to try as the answer
# the header of a diff
HEADER = re.compile(r"\A(?:(?:diff|index) .*\n)*--- (?:a/)?([^\t\n]+).*\n\+\+\+ .*\n")
OF_REVIEW = "-review-"                       # part of the name of a reviewer's rival
RIVAL = re.compile(r"(right|wrong|cheat)-[^/]*\.(sh|patch)")


# known cheats ------------------------------------------------------------------------------------

def try_cheats(audited: Audited) -> CheckResult:
    """Try the known cheats, and the cheats made from the task's files: none may be rewarded.
    Known cheats outside OF_FILES run once per group: after they failed on one task, the other tasks
    skip them. Ask for review if the gold is rewarded without its programs."""
    own, shared = ([(one["name"], one["bash"]) for one in CHEATS
                    if (one["family"] in OF_FILES) == uses_files] for uses_files in (True, False))
    own += [("constant output", constant(audited.task.instruction or "")), *made_of(audited)]
    worked = lines_of(graded(audited.grader, own), audited.idle_reward)
    group, groups = group_of(audited), audited.groups
    with groups.locks[group]:
        if shared_here := [] if group in groups.passed else shared:
            rewards = [*graded(audited.grader, shared_here)]
            found = lines_of(rewards, audited.idle_reward)
            worked += found
            is_graded = 2 * sum(reward is not None for _, reward in rewards) > len(rewards)
            if not found and is_graded and is_gold_rewarded(audited):
                groups.passed.add(group)
    alone = data_alone(audited)
    result = FAILED if worked else REVIEW if alone else PASSED
    why = "it can be cheated" if worked else "its tests want no program" if alone else ""
    return CheckResult(result, why, [*worked, *alone],
                       {"tried": len(own) + len(shared_here), "rewarded": len(worked)})


def group_of(audited: Audited) -> str:
    """Return a digest of the environment's image, the kind and the verifier of a task. Tasks with
    the same digest differ only in their source, tests and gold. For a kind outside PATCHED, return
    the task's id."""
    task = audited.task
    if task.kind not in PATCHED:
        return task.instance_id
    layers = audited.layers[:-1]   # the last one is the task's, the others are its environment's
    config = {key: value for key, value in verifier_config(task).items() if key not in OF_TASK}
    programs = {path: text_in(task.tests, path) for path in task.tests
                if "/" not in path and path not in (CONFIG, TEST_PATCH)}
    programs[CASES] = str(any(path.startswith(f"{CASES}/") for path in task.tests))
    text = json.dumps([task.kind, agent_of(task), collect_of(task), layers, config, programs])
    for own in ("label", "task_commit"):   # both are in the scripts that collect an agent's work
        text = text.replace(str(config.get(own) or task.about.get(own) or ""), "")
    return digest(text)


def made_of(audited: Audited) -> Iterator[tuple[str, str]]:
    """Yield (name, bash) of cheats: each overwrites files that the tests name, with contents that
    may pass."""
    files = files_in(audited.empty_work)   # raises ItemFailed if no work can be packed
    if audited.task.kind in PATCHED or audited.grader.packs_itself:
        return   # these tests run in the code's own process, or take only source files
    try:
        files = {**files, **audited.outputs[1]}
    except ItemFailed:
        pass   # the files of the image remain
    tests = "\n".join(text_in(audited.task.tests, path) for path in audited.task.tests)
    named, imported = {*NAME.findall(tests)}, {*IMPORTED.findall(tests)}
    quoted = [*dict.fromkeys(map("".join, QUOTED.findall(tests)))][:MAX_QUOTED]
    found = [path for path in sorted(files, key=lambda path: (path.count("/"), path))
             if path.isprintable() and (Path(path).name in named or (
                 path.endswith(".py") and Path(path).stem in imported))]
    programs, data = [], []
    for path in found[:MAX_NAMED]:
        place, text = f"{audited.grader.carried[0]}/{path}", files[path]
        if is_program(path, text):   # quoted texts in the program may be its output
            programs += [place, "\n".join(one for one in quoted if one.encode() in text)]
        else:
            data.append(place)
    for one in MADE:
        scripts = {fill(one["bash"], programs=shlex.join(some), data=shlex.join(others))
                   for some, others in ((programs, data), (programs, []), ([], data))
                   if some or others}
        yield from ((one["name"], script) for script in sorted(scripts))


def data_alone(audited: Audited) -> list[str]:
    """Return a list with a line if the gold is rewarded without its programs, else []."""
    try:
        before, after = audited.outputs
    except ItemFailed:
        return []
    programs = [path for path in after if is_program(path, after[path])]
    data = ", ".join(path for path in after if path not in programs)
    if audited.task.kind in PATCHED or not (programs and data):
        return []
    grade = audited.grade_files({path: before.get(path, b"") for path in programs})
    return [f"{data} rewarded without {', '.join(programs)}"] if grade.reward == 1.0 else []


def graded(grader: Grader, scripts: list[tuple[str, str]]) -> Iterator[tuple[str, float | None]]:
    """Yield (name, reward) of each script; None for work that cannot be packed."""
    for k, (name, script) in enumerate(scripts, 1):
        current_step().count = f"cheat {k} of {len(scripts)}"
        try:
            work, _ = grader.work(script)
        except ItemFailed:
            yield name, None
            continue
        yield name, grader.grade(work).reward


def lines_of(rewards: Iterable[tuple[str, float | None]], kept: float) -> list[str]:
    """Return a line for each reward over `kept`, the reward for doing nothing."""
    return [f"{name}: {reward}" for name, reward in rewards if (reward or 0) > kept]


def is_gold_rewarded(audited: Audited) -> bool:
    """Return whether the gold is rewarded: if not, the verifier may refuse everything."""
    try:
        return bool(audited.gold)
    except GoldRefused:
        return False


def constant(prompt: str) -> str:
    """Return the script of a cheat that makes each file named in the prompt print, or contain, the
    prompt's longest example."""
    spans = sorted((span.strip("`\n") for span in SPAN.findall(prompt)), key=len)
    shown = spans[-1] if spans else prompt.strip()
    lines = []
    for path in dict.fromkeys(NAMED_FILE.findall(prompt)):
        text = {".py": f"print({shown!r})", ".js": f"console.log({json.dumps(shown)})",
                ".sh": f"cat <<'END'\n{shown}\nEND"}.get(Path(path).suffix, shown)
        lines.append(f"mkdir -p \"$(dirname '{path}')\"; cat > '{path}' <<'END-OF-CHEAT'\n{text}\n"
                     f"END-OF-CHEAT\nchmod +x '{path}'")
    return "\n".join(lines) or "true"


# the tests, read while they run ------------------------------------------------------------------

def spy_on_tests(audited: Audited) -> CheckResult:
    """Let a process of the agent's user search for the tests while they grade the gold, since a
    program that the tests start could read the same files. In tasks made by others, the gold's
    programs search."""
    task, grader = audited.task, audited.grader
    if task.kind not in (DATAPOINT, ""):
        return CheckResult(NO_CASE, "its tests run in the process of the code that they test")
    if not task.kind:
        return _looked(audited)
    marks = {line.strip() for path in task.tests if path.endswith(".py")
             for line in text_in(task.tests, path).splitlines() if "def test" in line}
    if not marks:
        return CheckResult(NO_CASE, "its tests are not in Python")
    start = f"runuser -u {agent_of(task)} -- sh -c 'python3 {BESIDE}/spy.py >/dev/null 2>&1 &'; "
    spy = {"spy.py": text_of("codedata.audit", "spy.py").encode(),
           "marks.json": json.dumps(sorted(marks)).encode()}
    with grader.graded(audited.gold[0], before=start, beside=spy) as (sandbox, _):
        output = sandbox.run("cat /tmp/spied").output.strip()
    if not output.startswith("looked"):
        why = "the spy has not looked: the image has no python3, or the tests end too soon"
        return CheckResult(REVIEW, why)
    found = output.splitlines()[1:]
    return CheckResult(FAILED if found else PASSED, READABLE if found else "", found,
                       {"files": len(found)})


def _looked(audited: Audited) -> CheckResult:
    """Let the gold's programs look into /tests when the tests start them. A readable file is only
    for review, since a test may pass it to a program on purpose."""
    _, found = audited.with_programs(looks)
    if found is None:
        return CheckResult(NO_CASE, "the tests start no program that the gold has written")
    return CheckResult(REVIEW if found else PASSED, READABLE if found else "", found,
                       {"files": len(found)})


# the answer, found in the image ------------------------------------------------------------------

def find_answer(audited: Audited) -> CheckResult:
    """Search the image for files with the gold's new text, and grade each as the answer. An agent
    may find such a file even in an earlier layer."""
    task, image = audited.task, audited.grader.image
    if task.kind in PATCHED and audited.proven_runs():
        return CheckResult(PASSED, "", [], {"files": 0})   # the proof has searched its image
    before, after = audited.outputs
    texts = {path: "\n".join(new_lines(before.get(path, b""), text))
             for path, text in audited.changed[1].items()}
    search = AnswerSearch([text for text in texts.values() if text], after)
    api = engine.connect()
    base = base_of(text_in(task.environment, DOCKERFILE))
    try:
        search.look_into(api.get_image(image), base if base != image else "")
    except UnsafeArchive as e:
        return CheckResult(UNFINISHED, f"the layers of its image cannot be read: {e}")
    copies = [*search.found.items()][:MAX_COPIES]
    path_of = {place: search.same.get(place) or _nearest(data, texts) for place, data in copies}
    # if no test needs the file, any content is rewarded
    needed = {path for path in {*path_of.values()}
              if audited.grade_files({path: before.get(path, b"")}).reward != 1.0}
    worked = [f"{place.removeprefix(LAYER)} is rewarded in place of {path_of[place]}"
              for place, data in copies if path_of[place] in needed
              and audited.grade_files({path_of[place]: data}).reward == 1.0]
    why = "its image holds the answer" if search.found else ""
    result = FAILED if worked else REVIEW if search.found else PASSED
    return CheckResult(result, why, [*worked, *search.traces], {"files": len(search.found)})


def new_lines(before: bytes, after: bytes) -> list[str]:
    """Return the lines of `after` that `before` does not have, ignoring indentation."""
    known = {*map(bytes.strip, before.splitlines())}
    return [line.decode() for line in after.splitlines() if line.strip() not in known]


class AnswerSearch(ImageSearch):
    """Search the layers of an image for files that equal one of `files`, or that contain a long run
    or many lines of one of `texts`. `found` is {place of a match: its data}, `same` {place of an
    equal file: the path in `files`}."""

    def __init__(self, texts: list[str], files: Files):
        super().__init__(texts)
        self.found: Files = {}
        self.same: dict[str, str] = {}
        self._path_of = {data[:PIECE]: path for path, data in files.items()
                         if len(data[:PIECE].translate(None, b"\0 \t\r\n")) >= MIN_WHOLE}
        self._files = files
        self._lines = {line for text in texts for line in _lines_of(text.encode())}

    def _trace_in(self, place: str, data: bytes) -> str:
        if path := self._path_of.get(data):
            self.same[place], self.found[place] = path, self._files[path]
            return f"is the same as {path} of the solution"
        share = len(_lines_of(data) & self._lines)
        least = SMALL_SHARE if len(self._lines) < SMALL_GOLD else MIN_SHARE
        is_long = next(self.all_windows[1].all_in(data), b"")   # at least 200 bytes
        if is_long or (share >= MIN_LINES and share >= least * len(self._lines)):
            self.found[place] = data
            return f"holds {share} of {len(self._lines)} lines of the solution"
        return ""


def _nearest(data: bytes, texts: dict[str, str]) -> str:
    """Return the path of the text that has the most lines in common with some data."""
    return max(texts, key=lambda path: len(_lines_of(texts[path].encode()) & _lines_of(data)))


def _lines_of(data: bytes) -> set[bytes]:
    return {line for line in map(bytes.strip, data.splitlines())
            if len(b"".join(line.split())) >= MIN_INK}


# scripts in rivals/ ------------------------------------------------------------------------------

def try_rivals(audited: Audited) -> CheckResult:
    """Grade the scripts in rivals/: right-* must be rewarded, wrong-* and cheat-* must not. Raise
    ItemFailed if a patch in rivals/ does not apply."""
    found = rivals_in(audited.task)
    faults, figures = [], Counter()
    for k, (name, script) in enumerate(found.items(), 1):
        current_step().count = f"rival {k} of {len(found)}"
        kind = name.partition("-")[0]
        is_right = kind == "right"
        is_rewarded = audited.grade_script(script).reward == 1.0
        if is_rewarded != is_right:
            what = "is right but refused" if is_right else f"is rewarded: {breaks(script)}"
            faults.append(f"{name} {what}")
        figures[kind] += 1
        figures["right refused" if is_right else f"{kind} accepted"] += is_rewarded != is_right
    if not found:
        return CheckResult(NO_CASE, "it has no rivals/")
    why = "the verdict on a rival is wrong" if faults else ""
    return CheckResult(FAILED if faults else PASSED, why, faults, dict(figures))


def rivals_in(task: RivalledTask) -> dict[str, str]:
    """Return the scripts in a task's rivals/ by name. Apply a patch (.patch) to the script that it
    changes; a reviewer's patch, to a reviewer's script of that name if there is one. Raise
    ItemFailed if a patch does not apply."""
    rivals = task.rivals or {}
    texts = {name: text_in(rivals, name) for name in sorted(rivals) if RIVAL.fullmatch(name)}
    scripts = {name: text for name, text in texts.items() if name.endswith(".sh")}
    of_review = scripts | {name.replace(OF_REVIEW, "-"): text for name, text in scripts.items()
                           if OF_REVIEW in name}
    return {name: text if name in scripts
            else patched(name, text, of_review if OF_REVIEW in name else scripts)
            for name, text in texts.items()}


def patched(name: str, patch: str, scripts: Mapping[str, str]) -> str:
    """Return the result of a patch that changes one of the given scripts. Raise ItemFailed if it
    does not apply."""
    patch = HEADER.sub(r"diff --git a/\1 b/\1\n--- a/\1\n+++ b/\1\n", patch)
    try:
        (path, edits), = edits_of(patch, scripts).items()
    except ValueError as e:
        raise ItemFailed(f"rivals/{name} is not a patch of a script in rivals/: {e}",
                         todo="Make it again: diff -u right-1.sh changed.sh") from e
    return edited(scripts[path], edits)


def breaks(script: str) -> str:
    """Return the first comment of a wrong rival: the sentence that it breaks."""
    lines = (line.lstrip("# ") for line in script.splitlines() if line.startswith("#"))
    return printable(next((line for line in lines if not line.startswith("!")), ""), 200)
