"""Play judges at the fake endpoint, and count what they were asked.

    tmp_path.with_answers(3).with_judges(fake_llm, "a", "b")
    fake_llm.always(by_model(a=prefers("onyx"), b=verdict("12021")))
    assert "accepted" in validated(tmp_path) and asked(fake_llm) == calls("ab", 1, 2, 3)
    assert duel(tmp_path)["turns"] == 3

The sides' texts do not tell whose they are: quartz is the king, onyx the challenger, amber the
reference.
"""
import json
import re
from contextlib import redirect_stderr
from functools import partial
from io import StringIO
from pathlib import Path

import pytest
from conftest import run_here
from root import TEXTS, read_json

import export
import report
import validate
from codedata.records import METRICS

N = 5
ALL = range(1, N + 1)   # the turns of the fixture `root`
A_CALL = 0.01   # USD: the fake's usage is 100 tokens in, 20 out
PRICES = "[prices]\n" + "".join(f"{model} = {{ in = 50.0, out = 250.0 }}\n" for model in "abc")
BOTH = ("king_first", "challenger_first")
BUCKETS = ("final", "refined", "defeat")


def turn(word: str, i: int) -> str:
    return f"THOUGHT: {word} {i} comes next.\n\n```bash\nls {word}_{i}\n```"


def set_up(root: Path, fake, n: int, replies, *models, **toml) -> None:
    """Write `n` answers and a panel as write_panel() does, and set what the judges reply."""
    root.with_answers(n).with_judges(fake, *models, **toml)
    fake.always(replies)


def judged(root: Path, fake, n: int) -> Path:
    """Judge `n` turns by a and b, who disagree: 75 for the challenger, 50 the classic way. c takes
    the king. Counting starts afterwards.
    """
    set_up(root, fake, n, by_model(a=prefers("onyx"), b=verdict(1), c=prefers("quartz")), "a", "b")
    validated(root)
    fake.requests.clear()
    return root


@pytest.fixture
def root(tmp_path, fake_llm):
    """Return a root with N turns, as judged() leaves it."""
    return judged(tmp_path, fake_llm, N)


def run_main(main, root: Path, *flags, code: int | None = 0) -> str:
    """Run a script in this process and return its stderr. Its exit code has to be `code`, if that
    is no None.
    """
    stderr = StringIO()
    with redirect_stderr(stderr):
        found = run_here(main, root, *flags)
    assert code in (found, None), stderr.getvalue()
    return stderr.getvalue()


validated = partial(run_main, validate.main)
exported = partial(run_main, export.main)   # its result is what export.py prints


# judges ------------------------------------------------------------------------------------------

def verdict(picks="00000", reason: str = "because", **more) -> str:
    """Return a verdict as the judges are asked to write it: "12021", or one pick for all five."""
    picks = str(picks) * 5 if len(str(picks)) == 1 else picks
    return json.dumps({"reason": reason, **dict(zip(METRICS, map(int, picks), strict=True)),
                       **more})


def marker(request) -> str:
    """Return the digest that stands around the answers of a request: no candidate has a word behind
    the last line of it.
    """
    return re.findall(r"^\[\[(\w+) end of MODEL 2\]\]$", request.last, re.MULTILINE)[-1]


def shown(request) -> tuple[str, str]:
    """Return MODEL 1 and MODEL 2 of a request, each read between its markers."""
    mark = marker(request)
    _, _, text = request.last.partition(f"\n[[{mark} MODEL 1]]\n")
    one, _, text = text.partition(f"\n[[{mark} end of MODEL 1]]\n\n[[{mark} MODEL 2]]\n")
    two, _, _ = text.partition(f"\n[[{mark} end of MODEL 2]]")
    return one, two


def order_of(request) -> str:
    one, two = shown(request)
    if TEXTS["challenger"] in one and TEXTS["challenger"] not in two:
        return "challenger_first"
    return "reference_first" if TEXTS["assistant"] in one else "king_first"


def ranks(value):
    """Return a judge by whom the answer with the higher value(answer, request) wins every metric.
    """
    def judge(request):
        one, two = (value(text, request) for text in shown(request))
        return verdict(0 if one == two else 1 if one > two else 2)
    return judge


def prefers(word: str):
    """Return a judge that sees the word and nothing else: an answer with it wins every metric."""
    return ranks(lambda text, _: word in text)


def by_model(**replies):
    """Return a reply by which each judge answers as its model's name says."""
    return lambda request: replies[request.body["model"]]


def by_order(**replies):
    """Return a judge that replies by order: king_first=…, challenger_first=…"""
    return lambda request: replies[order_of(request)]


def asks(root: Path, fake, models: str = "", *turns: int, orders=BOTH) -> None:
    """Check that validate.py asks these models (a letter each) of these turns, and nobody else."""
    fake.requests.clear()
    validated(root)
    assert asked(fake) == calls(models, *turns, orders=orders)


def report_text(root: Path) -> str:
    """Run report.py; return the text of report.md."""
    run_main(report.main, root)
    return (root / "report/report.md").read_text()


# what was asked, what was written ----------------------------------------------------------------

def asked(fake) -> list[tuple]:
    """Return (model, number of the turn, order) of each request since the last call, sorted."""
    # a kill may have cut one short
    requests = [request for request in fake.requests if request.body]
    fake.requests.clear()
    return sorted((r.body["model"],
                   int(re.search(r"user\]\]\ntask (\d+)", r.last, re.MULTILINE)[1]), order_of(r))
                  for r in requests)


def calls(models: str, *turns: int, orders=BOTH) -> list[tuple]:
    """Return the result of asked() where each of the models (a letter each) was asked for each of
    these turns in each order.
    """
    return sorted((model, i, order) for model in models for i in turns for order in orders)


def score_path(root: Path, name: str, directory: str = "score") -> Path:
    return Path(root) / directory / f"{name}.json"


def score(root: Path, name: str, directory: str = "score") -> dict:
    return read_json(score_path(root, name, directory))


def entry(record: dict, judge: str, order: str) -> dict:
    """Return the one entry of a judge and order."""
    found, = [e for e in record["judges"] if (e["judge"], e["order"]) == (judge, order)]
    return found


def duel(root: Path, directory: str = "score") -> dict:
    return read_json(Path(root) / directory / "_duel.json")


def turns_in(root: Path) -> tuple[int, int]:
    """Return how many turns the duel counts, and how many are left."""
    outcome = duel(root)
    return outcome["turns"], outcome["turns_left"]


def everything(root: Path) -> dict[str, dict]:
    """Return every score on disk by name."""
    return {name: score(root, name) for name in scores(root)}


def scores(root: Path) -> list[str]:
    """Return the names of all scores on disk, sorted."""
    return sorted(p.stem for p in (Path(root) / "score").glob("[!_]*.json"))


def in_buckets(root: Path) -> dict[str, list[str]]:
    """Return {turn: [the buckets that it is in]}; every copy is read, so a torn one is an error."""
    found: dict[str, list[str]] = {}
    for bucket in BUCKETS:
        for path in (root / bucket).glob("[!_]*.json"):
            json.loads(path.read_bytes())
            found.setdefault(path.stem, []).append(bucket)
    return found
