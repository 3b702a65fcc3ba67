"""Ask a model to classify each survivor of `strength`: it breaks a sentence of the instruction, has
the same meaning as the gold, or differs in a point that the instruction leaves open. Ask about the
gold, too, since it may be wrong itself, unless it is the original code of a repository."""
from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import PurePosixPath

from codedata.audit.audited import Audited, CheckResult
from codedata.llm import Client, Reply
from codedata.llm.asking import Rejected, ask, object_in
from codedata.records import FAILED, NO_CASE, PASSED, UNFINISHED, Files, Object, Task
from codedata.run.talk import current_step
from codedata.tasks.folder.check import PATCHED
from codedata.tasks.folder.task_folder import text_in
from codedata.texts import fill, printable, squeezed, text_of

PROMPT, AGAIN, SCHEMA = "read_survivor.md", "read_again.md", "read_survivor.json"
OF_GOLD = GOLD_PROMPT, GOLD_SCHEMA = "read_gold.md", "read_gold.json"
TEXTS = PROMPT, AGAIN, SCHEMA, *OF_GOLD
VERDICTS = WRONG, EQUAL, UNSAID = "wrong", "equal", "not said"
AROUND = 150             # lines of the gold shown before and after a survivor
MAX_CHARS = 40_000       # limit for mentioned files, and for the context lines
GOLD_FORM = {"faults": [{"quote": "…", "why": "the input, what is demanded, what happens"}]}
packaged_text = partial(text_of, __package__)


def read_survivors(client: Client, audited: Audited) -> CheckResult:
    """Ask once about each survivor, and once about the gold unless it is the original code. A
    survivor that is wrong shows that the tests accept too much. Raise ItemFailed if a reply
    cannot be read."""
    if audited.survivors is None:
        return CheckResult(UNFINISHED, "no variants were tried: --checks strength,reading")
    of_patch = audited.task.kind in PATCHED   # the gold is the original code
    if of_patch and not audited.survivors:
        return CheckResult(NO_CASE, "no variant of the gold is rewarded")
    instruction = "\n\n".join(texts_of(audited.task))
    wrong = [] if of_patch else asked(
        client, partial(_faults_in, instruction), GOLD_PROMPT, GOLD_SCHEMA, GOLD_FORM,
        instruction=instruction, files=shown(audited.changed[1]))
    faults = [f"the gold breaks {one['quote']!r}: {one['why']}" for one in wrong]
    read, counts = [], Counter()
    for k, survivor in enumerate(audited.survivors, 1):
        current_step().count = f"survivor {k} of {len(audited.survivors)}"
        answer = _asked(client, audited, instruction, survivor)
        counts[answer["verdict"]] += 1
        is_wrong_gold = bool(answer["quote"]) and not answer["gold_keeps_it"]
        counts["wrong gold"] += is_wrong_gold
        read.append({**survivor, **answer})
        if answer["verdict"] == WRONG or is_wrong_gold:
            who = "the gold itself breaks" if is_wrong_gold else "accepted though it breaks"
            faults.append(f"{survivor['path']}:{survivor['line']} {who} {answer['quote']!r}: "
                          f"{answer['why']}")
    figures = {"read": len(read), "gold_faults": len(wrong),
               **{name.replace(" ", "_"): n for name, n in counts.items()}}
    why = f"{len(faults)} faults in the gold, or shown by a survivor" if faults else ""
    return CheckResult(FAILED if faults else PASSED, why, faults, figures, read)


def texts_of(task: Task) -> Iterator[str]:
    """Yield the instruction of a task, and the files in environment/ that it mentions by name."""
    instruction, n_left = task.instruction or "", MAX_CHARS
    yield instruction
    for path in sorted(task.environment):
        text = text_in(task.environment, path)
        if PurePosixPath(path).name in instruction and 0 < len(text) <= n_left:
            n_left -= len(text)
            yield f"{path}:\n\n{text}"


def shown(parts: Files, without: Iterable[str] = ()) -> str:
    """Return the texts of files, tests first, up to MAX_CHARS, except files named in `without`."""
    texts, left = [], MAX_CHARS
    for path in sorted(parts, key=lambda one: ("test_" not in one, one)):
        text = text_in(parts, path)
        if PurePosixPath(path).name not in without and len(text) <= left:
            left -= len(text)
            texts.append(f"--- {path}\n{text}")
    return "\n".join(texts)


def asked(client: Client, read: Callable[[Reply], list | dict], prompt: str, schema: str,
          form: Object, **values: str) -> list | dict:
    """Ask a model with a prompt, filled with `values`, and return read(reply); ask again if `read`
    raises Rejected. `form` shows the wanted reply to the model, and `schema` enforces it."""
    request = fill(packaged_text(prompt), form=json.dumps(form), **values)
    return ask(client, read, request, packaged_text(AGAIN),
               schema=json.loads(packaged_text(schema)))


def _faults_in(instruction: str, reply: Reply) -> list[Object]:
    """Return the faults in a reply. Raise Rejected if it has another form, or quotes a sentence
    that is not in the instruction."""
    return [{"quote": quoted_in(instruction, str(one.get("quote") or "")),
             "why": printable(str(one.get("why") or ""), 1000)}
            for one in list_in(reply, "faults")]


def list_in(reply: Reply, key: str) -> list[Object]:
    """Return the list of objects under a key of a reply's JSON object. Raise Rejected if there is
    none."""
    found = object_in(reply.text, lambda one: isinstance(one.get(key), list),
                      f"with a list of {key}")
    return [one for one in found[key] if isinstance(one, dict)]


def _asked(client: Client, audited: Audited, instruction: str, survivor: Object) -> Object:
    """Return the model's answer about a survivor."""
    lines = audited.changed[1][survivor["path"]].decode().splitlines()
    first = max(0, survivor["line"] - 1 - AROUND)
    context = "\n".join(lines[first:survivor["line"] + AROUND])[:MAX_CHARS]
    return asked(client, partial(answer_in, instruction), PROMPT, SCHEMA, FORM, context=context,
                 instruction=instruction, diff=survivor["diff"], path=survivor["path"])


FORM = {"why": "…", "verdict": " | ".join(VERDICTS), "quote": "… or empty", "gold_keeps_it": True}


def answer_in(instruction: str, reply: Reply) -> Object:
    """Return {why, verdict, quote, gold_keeps_it} of a reply. Raise Rejected if it has another
    form, or quotes a sentence that is not in the instruction."""
    what = f"whose verdict is one of {', '.join(VERDICTS)}"
    found = object_in(reply.text, lambda one: "verdict" in one, what)
    if found["verdict"] not in VERDICTS:
        raise Rejected(f"it has no JSON object {what}")
    quote = str(found.get("quote") or "")
    if found["verdict"] == WRONG or quote.strip():
        quote = quoted_in(instruction, quote)
    return {"why": printable(str(found.get("why") or ""), 1000), "verdict": found["verdict"],
            "quote": quote, "gold_keeps_it": found.get("gold_keeps_it") is not False}


def quoted_in(instruction: str, quote: str) -> str:
    """Return a quote, stripped. Raise Rejected if it is empty or not in the instruction."""
    if not quote.strip():
        raise Rejected("it quotes no sentence of the instruction that is broken")
    if squeezed(quote) not in squeezed(instruction):
        raise Rejected(f"the instruction does not say {printable(quote, 200)!r}")
    return quote.strip()
