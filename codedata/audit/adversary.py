"""Let a model that sees a task's tests write cheats for it, and grade them.

A cheat counts only if the verifier rewards its script. A rewarded edge case is only for review,
since nearly every suite misses some. Not promised: that a rewarded script really breaks the
sentence that it quotes.
"""
from __future__ import annotations

from functools import partial
from importlib.resources import files

from codedata.audit.audited import Audited, CheckResult
from codedata.audit.reading import AGAIN, asked, list_in, quoted_in, shown, texts_of
from codedata.code.patches import diff_of
from codedata.errors import ItemFailed
from codedata.llm import Client, Reply
from codedata.llm.asking import Rejected
from codedata.records import FAILED, NO_CASE, PASSED, REVIEW, Object
from codedata.run.talk import current_step
from codedata.tasks.folder.check import PATCHED, PROGRAMS
from codedata.texts import printable

PROMPT, SCHEMA = "write_cheats.md", "write_cheats.json"
TEXTS = PROMPT, AGAIN, SCHEMA
MAX_SCRIPTS = 3
EDGE = "edge case"
KINDS = "tampered", "played back", "false success", "untested", EDGE
FORM = {"scripts": [{"why": "…", "kind": " | ".join(KINDS), "quote": "…", "script": "…"}]}


def try_adversary(client: Client, audited: Audited) -> CheckResult:
    """Grade the scripts of a model. A rewarded cheat fails the check, a rewarded edge case is for
    review. Raise ItemFailed if the model's reply cannot be read."""
    task = audited.task
    if task.kind in PATCHED:
        return CheckResult(NO_CASE, "its tests run in the process of the code that they test")
    instruction, verifier = "\n\n".join(texts_of(task)), ()
    if task.kind:   # our own verifier, the same for all kinds
        verifier = {one.name for one in files(PROGRAMS.replace("/", ".")).iterdir()}
    scripts = asked(
        client, partial(_scripts_in, instruction), PROMPT, SCHEMA, FORM,
        instruction=task.instruction or "", workdir=audited.grader.workdir,
        files=shown(task.environment), tests=shown(task.tests, verifier))
    tries, found = [], []
    for k, one in enumerate(scripts, 1):
        current_step().count = f"script {k} of {len(scripts)}"
        try:
            reward = audited.grade_script(one["script"]).reward
        except ItemFailed:
            continue   # work that cannot be packed is not graded
        if reward == 1.0:
            found.append(f"{one['kind']}: rewarded though it breaks {one['quote']!r}: "
                         f"{one['why']}")
            name = f"cheat-{k}.sh"
            tries.append({"path": name, "line": 1, "operator": one["kind"], "place": k,
                          "verdict": "wrong", "quote": one["quote"], "why": one["why"],
                          "gold_keeps_it": True,
                          "diff": diff_of({}, {name: one["script"].encode() + b"\n"})})
    n_cheats = sum(one["operator"] != EDGE for one in tries)
    figures = {"scripts": len(scripts), "rewarded": len(found), "cheats": n_cheats}
    why = f"{len(found)} of {len(scripts)} scripts of a model are rewarded" if found else ""
    result = FAILED if n_cheats else REVIEW if found else PASSED
    return CheckResult(result, why, found, figures, tries)


def _scripts_in(instruction: str, reply: Reply) -> list[Object]:
    """Return the scripts of a reply. Raise Rejected if it has another form, or quotes a sentence
    that is not in the instruction."""
    scripts = [{key: str(one.get(key) or "") for key in FORM["scripts"][0]}
               for one in list_in(reply, "scripts")[:MAX_SCRIPTS]]
    if unknown := {one["kind"] for one in scripts} - {*KINDS}:
        raise Rejected(f"{printable(min(unknown), 50)!r} is no kind of script")
    return [{**one, "quote": quoted_in(instruction, one["quote"]),
             "why": printable(one["why"], 1000)} for one in scripts if one["script"].strip()]
