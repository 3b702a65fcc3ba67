"""Test that long ledgers, with settled items, give the states of short ones."""
import os
import random
import shutil
from dataclasses import replace
from itertools import product

from root import a_prompt, read_json, write_json

from codedata.disk.ledger import LEDGER, to_line
from codedata.disk.store import Lists, Store, digests_of, values_of
from codedata.records import Answer, Commit, Prompt
from codedata.run.plan import States, read_digest
from codedata.run.stage import Parts, Reads, Writes
from codedata.run.states import Selection
from codedata.settings import Exclude

FIELDS = "instance_id", "messages"
SHARDS = "answer", "answer_0"
KING = *FIELDS, "assistant", "tools", "king"
TOOLS = [{"type": "function", "function": {"name": "run", "description": "", "parameters": {}}}]
PARTS = Parts({"a": "1"}, lambda record: {"a": "1"}, lambda *_: True, view="v")
RUNS = ((Selection(), None), (Selection(refresh=True), None), (Selection(only=("*1?",)), PARTS),
        (Selection(shard=(0, 2)), PARTS))
# no attempt, and so long that settled items are kept
FORMS = ("new", "behind", "missing", "torn", "older", "odd", "of an edited ledger", "grown",
         "behind", "behind")
LONG = to_line({"pad": "x" * 9_000_000})


def happen(root, draw: random.Random, name: str, prompt: Prompt) -> None:
    """Let an attempt at an item, or a user's change of its record, happen."""
    path = next((path for shard in SHARDS if (path := root / shard / f"{name}.json").exists()),
                root / draw.choice(SHARDS) / f"{name}.json")
    stage = draw.choice(["king", "ch"])
    known = digests_of(prompt)   # king reads the PR record, too, of which this test needs `repo`
    read = read_digest((known, FIELDS), *[(known, ("repo",))] * (stage == "king"))
    line = {"stage": stage, "item": name, "instance_id": prompt.instance_id, "read": read}
    what = draw.choice(["made"] * 9 + ["failed"] * 4 + [
        "excluded", "pruned", "odd", "edited", "touched", "deleted", "moved"])
    if what == "made":
        old = (Answer(**read_json(path)) if path.exists() else
               Answer(prompt.instance_id, prompt.messages, prompt.assistant, king="a"))
        owned = KING if stage == "king" else ("challenger",)
        record = replace(old, **{owned[-1]: draw.choice("ab")}, **(
            {"tools": draw.choice([None, TOOLS])} if stage == "king" else {}))
        if draw.random() < 0.95 or not path.exists():   # else a kill came before the record
            write_json(path, values_of(record))
        stat, digests = path.stat(), digests_of(record)
        line |= {"state": "done", "size": stat.st_size, "mtime_ns": stat.st_mtime_ns,
                 "settings": draw.choice("SSST"), "parts": draw.choice([{"a": "1"}, {"a": "2"}]),
                 "view": "v", "wrote": {f: digests[f] for f in owned if f in digests}}
    elif what in ("failed", "excluded", "pruned"):
        line |= {"state": what, "error": "no"}
    elif what == "odd":
        line |= draw.choice([{"found": {"king": ""}}, {"size": 2**70}, {"wrote": {"king": "zz"}}])
        line["state"] = "done"
    elif path.exists():
        {"edited": lambda: write_json(path, {**read_json(path), "king": "mine"}),
         "touched": lambda: os.utime(path, ns=(1, draw.randrange(10**9))), "deleted": path.unlink,
         "moved": lambda: path.rename(root / draw.choice(SHARDS) / path.name)}[what]()
    if "state" in line:
        with open(path.parent / LEDGER, "ab") as file:
            file.write(to_line({**line, "calls": [{"id": f"{draw.random()}", "cost_usd": 0.5}]}))


def plans(root, chunk_bytes: int = 256 << 20) -> list:
    """Return what the plans of two stages hold, for several selections. Run each stage twice, so
    that its second plan finds settled items if the ledger is long."""
    found = []
    for stage, (selection, parts) in product(("king", "ch"), RUNS):
        answers = Store(root, Answer)
        reads = Reads(answers, FIELDS, made_by="king")
        writes = Writes(answers, ("challenger",), parts=parts)
        if stage == "king":
            reads = Reads(Lists(root, Prompt), FIELDS)
            writes = Writes(answers, KING, copies=("assistant",), optional=("tools",), parts=parts)
        also = (Reads(Store(root, Commit), ("repo",), optional=True, same="repo"),)
        plan = States(stage, reads, writes, Exclude(), "S", also * (stage == "king"),
                      selection, chunk_bytes).plan()
        plan.names["done"].sort()
        plan.counting.sort()
        ledger, names = answers.ledger, {item.name for item in plan.todo}
        found.append((plan.names, plan.todo, plan.adopted, plan.counting, plan.reasons,
                      plan.n_edited_stale, plan.n_other_settings, str(ledger.spent),
                      sorted(reads.store.names()),
                      *({key: fact for key, fact in facts.items() if key[1] in names}
                        for facts in (ledger.succeeded, ledger.failed, ledger.excluded))))
    return found


def a_root(root) -> Lists:
    """Write prompts in lists of three, a PR record for each, and empty directories of answers."""
    lists, commits = Lists(root, Prompt).open(), Store(root, Commit).open()
    for stem in range(20):
        prompts = [a_prompt(3 * stem + i, order=i) for i in (1, 2, 3)]
        lists.put_file(f"p{stem}", [Prompt(**one) for one in prompts], stage="prompt", state="done")
        for one in prompts:
            known = commits.put(id := one["instance_id"], Commit(
                id, one["repo"], "python", "0" * 40, "", "", [], "", ""), FIELDS)
            commits.note(id, stage="prompt", state="done", **known.line())
    for shard in SHARDS:
        (root / shard).mkdir()
    return lists


def test_settled_items_in_any_form_give_the_states_that_all_lines_give(tmp_path):
    draw, short, long = random.Random(1), tmp_path / "short", tmp_path / "long"
    lists = a_root(short)
    kept: dict[str, list[bytes]] = {}
    for form in FORMS:
        for name in lists.names():
            for _ in range(draw.choice([1, 2, 5]) if form == "new" else draw.random() < 0.03):
                happen(short, draw, name, lists.read(name))
        for path in (long / "answer").glob("_settled.*"):
            kept.setdefault(path.name, []).append(path.read_bytes())
        shutil.rmtree(long, ignore_errors=True)
        shutil.copytree(short, long)
        for directory in "prompt", "answer":
            ledger = long / directory / LEDGER
            lines = ledger.read_bytes() if ledger.exists() else b""
            ledger.write_bytes(LONG + lines + LONG * (form == "grown"))
        for name, old in kept.items() if form != "missing" else ():
            (long / "answer" / name).write_bytes(
                {"torn": old[-1][:-9], "older": old[0],
                 "odd": old[-1] + draw.choice([b'{"p0":["x"]}\n', b"[]\n"])}.get(form, old[-1]))
        if form == "of an edited ledger":
            for root in short, long:
                text = (root / "answer" / LEDGER).read_bytes()
                (root / "answer" / LEDGER).write_bytes(
                    text.replace(b'"settings":"S"', b'"settings":"T"'))
        expected = plans(short)
        assert plans(long, draw.choice([3 << 20, 256 << 20])) == expected, form
        assert plans(long) == expected, form   # as the first plans have left the file
        assert (long / "answer/_settled.king.jsonl").read_bytes().count(b'"p') > 5


def test_files_with_other_times_than_the_ledger_s_are_read_by_every_plan(tmp_path):
    lists, draw = a_root(tmp_path), random.Random(1)
    for name in lists.names():
        happen(tmp_path, draw, name, lists.read(name))
    with open(tmp_path / "answer" / LEDGER, "ab") as file:
        file.write(LONG)
    done = plans(tmp_path)[0][0]["done"]
    paths = [path for name in done for path in tmp_path.glob(f"answer*/{name}.json")]
    for old, new in (b"", b""), (b'"king": "', b'"king":" '):
        for path in paths:   # as in a copy that lost the times
            path.write_bytes(path.read_bytes().replace(old, new) if old else path.read_bytes())
            os.utime(path, ns=(1, 7))
        found = plans(tmp_path)[0][0]
    assert done and found["done"] == [] and {*done} <= {*found["edited"]}
