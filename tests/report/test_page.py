"""Test the page of a duel in a real browser: its texts, use by keyboard, safety.

Rows and records are made here; what hostile hands could put into them is put into every field. The
tests marked `chromium` open the page in a headless Chromium, found by name.
"""
import base64
import hashlib
import html as htmllib
import itertools
import json
import random
import re
from collections import Counter
from dataclasses import replace
from functools import cache, partial
from urllib.parse import quote, urlencode

import fake_judges
import pytest
import root as roots
from browser import block_of, wait
from line_tables import rows
from root import entries, entry

from codedata.disk.store import Store
from codedata.duel.judge_stats import JudgedTurn, statistics
from codedata.duel.scoring import turn_score
from codedata.llm.costs import Cost
from codedata.page.builder import build, pack, visible
from codedata.records import METRICS, Answer, Commit, Duel, Score
from codedata.report import html_page
from codedata.report.buckets import WON, BestPair
from codedata.report.content import ReportContent
from codedata.report.turn_rows import TurnLeaks, TurnRow
from codedata.report.verdict_codes import verdict_codes
from codedata.settings import EMBEDDED_MODEL, ReportSettings

PANEL = ("org/judge-a", "org/judge-b", "judge-c")
COUNTS = [("judged", "60"), ("not judged yet", "3"), ("left out; broken records", "0")]
COSTS = [Cost(60, 0, 0.9, "king", "m-1", 6000, 1200, 180.0),
         Cost(360, 360, 0.0, "validate", "m-2", 36000, 7200, 7200.0)]
HOSTILE = ("<script>hacked(1)</script></script><script>hacked(2)</script>"
           "<!--<script><img src=x onerror=hacked(3)>"
           "\"'><svg onload=hacked(4)>{data}{script}${hacked(5)}&lt;b&gt;\\u003c ]]> "
           "\u202eesrever\u2066 \u2028"
           "NUL\x00 ESC\x1b half\ud800 zero\u200bwidth tag\U000e0041 😀👩\u200d👩\u200d👧 العربية")
SHOWN = ("<script>hacked(1)</script></script><script>hacked(2)</script>"
         "<!--<script><img src=x onerror=hacked(3)>"
         "\"'><svg onload=hacked(4)>{data}{script}${hacked(5)}&lt;b&gt;\\u003c ]]> "
         "⟨U+202E⟩esrever⟨U+2066⟩ ⟨U+2028⟩"
         "NUL␀ ESC␛ half⟨U+D800⟩ zero⟨U+200B⟩width tag⟨U+E0041⟩ 😀👩\u200d👩\u200d👧 العربية")


# made by hand ------------------------------------------------------------------------------------

def judgements(draw: random.Random) -> list[dict]:
    """Return judges that mostly agree with themselves; now and then one could not be read."""
    found = []
    for judge in PANEL:
        first = draw.choices((0, 0.5, 1), (3, 2, 5), k=5)
        second = [value if draw.random() < 0.85 else draw.choice((0, 1)) for value in first]
        found += entries(judge, [[] if draw.random() < 0.03 else scores
                                 for scores in (first, second)])
    return found


def a_turn(i: int) -> tuple[TurnRow, Answer, Score]:
    draw = random.Random(i)
    name, judges = f"prompts_60_1_{i}", judgements(draw)
    meant = turn_score(judges, PANEL)
    commands = (f"grep -rn king_{i} src", f"sed -i s/a/b/ file_{i}.py\npytest -x test_{i}.py")
    repo = f"org/repo-{i % 7}"
    row = TurnRow(name, draw.choice(("python", "go", "c")), meant.score, meant.metrics,
                  styles=(draw.choice(("explore", "edit")), draw.choice(("edit", "test"))),
                  repeats=("king", "challenger")[:i % 3] if i % 4 == 1 else (), injections=(),
                  bucket=bucket(meant.score), instance_id=f"org__repo-{i}", repo=repo,
                  commands=commands, verdicts=verdict_codes(judges, PANEL, "both"),
                  is_edited=i % 20 == 0, files=(f"answer/{name}.json", f"score/{name}.json"))
    messages = [{"role": "system", "content": "You are an agent."},
                {"role": "user", "content": f"task {i}"},
                {"role": "assistant", "content": "THOUGHT: I look.\n\n```bash\nls\n```"},
                {"role": "user", "content": f"file_{i}.py\n" * 200}]
    texts = [f"THOUGHT: {side} {i}.\n\n```bash\n{command}\n```\nDone." for side, command in
             zip(("king", "challenger"), commands, strict=True)]
    return row, Answer(row.instance_id, messages, f"THOUGHT: reference {i}", *texts), Score(
        row.instance_id, f"{name}.json", "king", meant.score is not None, meant.score,
        meant.metrics, "", judges)


def bucket(score: float | None) -> str:
    if score is None:
        return ""
    if score >= 80:
        return "final"
    return "refined" if score >= 66 else "defeat"


a_duel = partial(roots.a_duel, judges=PANEL)
NO_NUMBERS = {"accepted": False, "metrics": {}, **dict.fromkeys(
    ("margin", "lcb", "interval", "challenger_score", "king_score"))}


def a_page(turns: list, duel: dict | None = None, room: int = 20_000_000, **content) -> bytes:
    records = {row.name: (answer, score) for row, answer, score in turns}
    given = {"costs": COSTS, "counts": COUNTS, "sections": [], "trials": [], "pairs": [], **content}
    return html_page.html(
        ReportContent(Duel.of(duel or a_duel()), [row for row, _, _ in turns], **given),
        ReportSettings(), records.__getitem__, Store("no-root", Commit).open(), room)


TURNS = [a_turn(i) for i in range(60)]
ROWS = [row for row, _, _ in TURNS]


@cache
def the_page() -> bytes:
    """Write the page of all of TURNS, accepted."""
    return a_page(TURNS)


def data_of(html: bytes) -> dict:
    return json.loads(re.search(rb'id="data">(.*?)</script>', html)[1])


# the builder -------------------------------------------------------------------------------------

def test_the_policy_lets_one_script_run_and_nothing_be_fetched():
    html = a_page(TURNS[:2]).decode()
    policy = htmllib.unescape(re.search(r'Security-Policy" content="(.*?)"', html)[1])
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for kind, found in (("script",
                         re.findall(r'<script type="module">(.*?)</script>', html, re.DOTALL)),
                        ("style", re.findall(r"<style>(.*?)</style>", html, re.DOTALL))):
        assert len(found) == 1
        digest = base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert html.index("Security-Policy") < html.index("<style>") < html.index("<script")


def test_no_address_but_that_of_files_beside_it():
    html = a_page(TURNS[:2]).decode()
    assert not re.findall(r"""(?:src|href|action|url)\s*=\s*["']?(?!data:,)[a-z/]""",
                          re.sub(r"<script type=\"text/plain\".*?</script>", "", html))
    assert [word for word in ("http://", "https://", "@import", "url(") if word in html] == []


def test_what_is_not_seen_is_shown():
    assert visible(HOSTILE) == SHOWN
    assert visible("a\tb\nc\r\nd\re\x7f\x85\ufeff\uffff") == (
        "a\tb\nc\nd␍e⟨U+007F⟩⟨U+0085⟩⟨U+FEFF⟩⟨U+FFFF⟩")
    assert visible({"k\x00": ["\u202e", 1, 0.5, None, True, ("x",)]}) == {
        "k␀": ["⟨U+202E⟩", 1, 0.5, None, True, ["x"]]}
    for harmless in ("", "häßlich", "日本語", "👨‍👩‍👧‍👦 ❤️", "a\tb\nc", "नमस्ते", "ﷺ"):
        assert visible(harmless) is harmless


def test_data_comes_back_as_it_went_in_and_ends_no_script():
    value = {"a": SHOWN, "b": [1, None, {"<": "</script>"}]}
    html = build("<title>&", [value], {}, [value], {0: pack(value)})
    assert data_of(html)["sections"] == [value] == block_of(html, "rows")
    assert block_of(html, "row-0") == value
    assert b"<title>&lt;title&gt;&amp;</title>" in html
    assert html.count(b"</script") == 4 and html.count(b"<script") == 4 and b"<!--" not in html
    packed = pack(["x" * 100_000])   # its size is known before it is built in
    assert len(packed) < 1000 and packed in build("t", [], {}, [], {0: packed})


# what goes into the page -------------------------------------------------------------------------

# five metrics of each order: c and r won, d drew; - could not be read
@pytest.mark.parametrize("first, second, order, expected", rows("""
ccrdr | crrdd | both       | ctrdt
ccrdr | crrdd | king_first | ccrdr
ddddd | crddd | both       | ttddd
ccccc | -     | both       | -----
ccccc | -     | king_first | ccccc
-     | ccccc | king_first | -----
"""))
def test_letters_of_a_judge(first, second, order, expected):
    values = [["rdc".index(letter) / 2 for letter in letters.strip("-")]
              for letters in (first, second)]
    judges = [*entries("a", values), entry("gone", "king_first", [1] * 5)]
    assert verdict_codes(judges, ["a", "b"], order) == (expected, "-----")


def test_turns_in_full_stop_where_the_page_would_grow_too_large():
    noise = base64.b64encode(random.Random(0).randbytes(600_000)).decode()
    turns = [(row, Answer("i", [{"role": "user", "content": noise}], ""), score) for row, _,
             score in TURNS]
    html = a_page(turns)
    kept = [int(i) for i in re.findall(rb'id="block-row-(\d+)"', html)]
    assert 20 < len(kept) < 30 and len(
        html) < html_page.DETAIL_BYTES + 1e6
    assert 5 < sum(i < 30 for i in kept) < 20


def test_a_turn_whose_verdicts_were_edited_by_hand_is_shown():
    row, answer, score = a_turn(1)
    for judge in score.judges:
        judge.update(raw=None, reason=["x"], usage="none", seconds="soon", error=None, attempt=None,
                     truncated=1)
    score.judges.append({"judge": "gone", "order": "king_first", "parse_ok": False})
    replies = next(part["replies"] for part in block_of(a_page([(row, answer, score)]), "row-0")
                   if part and part["kind"] == "replies")
    assert replies[0]["usage"] == "none" and replies[0]["reason"] == ["x"] and len(replies) == 7


# in the browser ----------------------------------------------------------------------------------

NAMES = """async () => {
    const frame = document.querySelector('.rows'), found = [];
    for (let top = 0; top <= frame.scrollHeight; top += 1000) {
        frame.scrollTop = top;
        await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
        for (const row of document.querySelectorAll('tr[data-at]'))
            found[Number(row.dataset.at)] = row.querySelector('.name').textContent;
    }
    frame.scrollTop = 0;
    return found;
}"""


FOLLOWED = """async anchor => {
    const changed = new Promise(done => addEventListener('hashchange', done, { once: true }));
    location.hash = anchor;
    await changed;
}"""


def names_shown(tab) -> list[str]:
    """Return the turns in the table, in order: all of them, whichever exist as rows now."""
    n = int(tab.get_attribute("table[role=grid]", "aria-rowcount")) - 1
    names = tab.evaluate(NAMES) if n else []
    assert len(names) == n
    return names


def close(tab) -> None:
    """Close the turn that is open. The browser goes back one step for it, which takes a moment."""
    tab.keyboard.press("Escape")
    tab.wait_for_url(lambda url: "turn=" not in url)


def choose(tab, **chosen) -> None:
    for key, value in chosen.items():
        tab.select_option(f"#filter-{key}", value)


def count(tab) -> str:
    return tab.inner_text("output.count")


def text_of(tab, selector: str = "body") -> str:
    return tab.evaluate("selector => document.querySelector(selector).textContent", selector)


def spaced(tab, selector: str) -> str:
    """Return a text with single spaces."""
    return re.sub(r"\s+", " ", tab.inner_text(selector)).strip()


def open_turn(tab, at: int, name: str = "") -> str:
    """Open the turn of a row in sight, and return what is said of it."""
    tab.click(f"tr[data-at='{at}']")
    # the turn before it stays till this one is there
    tab.wait_for_selector(f"#reader[open]:has-text('{name}')")
    return spaced(tab, "#reader")


@pytest.mark.parametrize("room", [1_000_000, 0], ids=["in full", "in short"])
def test_what_is_hostile_runs_nowhere_and_is_shown_everywhere(show, room):
    fields = []

    def bad(field: str) -> str:
        fields.append(field)
        return f"({field}:{HOSTILE})"
    judge = bad("judge")
    finding = {"kind": bad("kind"), "side": "challenger", "text": bad("evidence")}
    scores = [entry(judge, "king_first", [1, 1, 0, 0, 0.5], raw=bad("raw"), reason=bad("reason")),
              entry(judge, "challenger_first", [], raw=bad("unread"), error=bad("error"))]
    row = TurnRow(bad("name"), bad("language"), 70.0, dict.fromkeys(METRICS, 70.0),
                  (bad("step"), bad("other step")), (bad("repeats"),), (finding,), "final",
                  bad("instance"), bad("repo"),
                  (bad("king's command"), bad("challenger's command")),
                  verdict_codes(scores, [judge], "king_first"), (bad("file") + "/x", "score/x"),
                  is_edited=True)
    fence = "\n\n```" + bad("fence") + "\n" + bad("code") + "\n```\n" + bad("behind")
    answer = Answer("i", [{"role": bad("role"), "content": bad("content") + fence}],
                    bad("reference"),
                    bad("king") + fence, bad("challenger") + fence)
    duel = a_duel(judges=(judge,), order="king_first", accepted=False, reasons=[bad("why")],
                  panel=statistics([JudgedTurn("i", scores)], [judge], {judge: [bad("kin")]},
                                   "king_first"))
    html = a_page([(row, answer, Score("i", "x", "king", True, 70.0, {}, bad("x"), scores))], duel,
                  counts=[(bad("count"), bad("number"))] * 2, room=room,
                  pairs=[BestPair(*map(bad, ("turn", "task", "losing", "winning", "reason")))],
                  costs=[Cost(1, 0, 1.0, bad("stage"), bad("model"), 1, 1, 1.0)],
                  sections=[(bad("heading"), [bad("line")])], trials=[bad("trial")])
    tab = show(html)
    open_turn(tab, 0)
    tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    tab.wait_for_timeout(100)
    shown = text_of(tab, "main") + text_of(tab, "#reader")
    in_full = {"raw", "reason", "unread", "error", "role", "content", "king", "challenger",
               "reference", "behind", "code", "fence"}
    cut = {"instance", "repo", "language", "fence", "kin", "why"}   # or as a record holds it
    absent = {"king's command"} if room else in_full
    for field in {*fields} - cut - absent - {"file", "x"}:
        assert f"({field}:{SHOWN})" in shown, field
    for field in cut - absent:
        assert f"({field}:{SHOWN}"[:50] in shown, field
    assert tab.evaluate("document.scripts.length") == html.count(b"<script")
    assert tab.locator("main img, main svg, #reader img, #reader svg").count() == 0
    assert tab.evaluate("[...document.links].every(link => link.protocol === 'file:')")
    close(tab)
    choose(tab, injections=f"(kind:{SHOWN})")
    assert count(tab) == "1 turn"


def test_the_browser_holds_the_page_to_its_policy(show, fake_llm):
    tab = show(a_page(TURNS[:3]))
    refused = tab.evaluate("""async url => {
        await new Promise(done => setTimeout(done));   // else it has the caller's privileges
        const tries = {
            markup: () => { document.body.innerHTML = '<b>x</b>'; },
            code: () => eval('1'), made: () => Function('1')(),
            script: () => { document.createElement('script').text = '1'; },
            fetched: () => fetch(url), file: () => fetch(location.href)};
        const refused = [];
        for (const [name, attempt] of Object.entries(tries))
            try { await attempt(); } catch { refused.push(name); }
        document.body.append(Object.assign(new Image(), { src: url + '/x.png' }));
        await new Promise(done => setTimeout(done, 100));
        return refused;
    }""", fake_llm.url)
    assert refused == ["markup", "code", "made", "script", "fetched", "file"]
    assert fake_llm.n_requests == 0
    show.wrong.clear()   # what it said of them


def test_the_overview_says_what_came_of_it(show):
    tab = show(the_page())
    assert spaced(tab, ".outcome").startswith("✓ Accepted: ")
    assert tab.title() == "Challenger against king"
    shown = tab.inner_text("#overview")
    for part in ("is 20.00 points in 60 turns; at least 2 wanted", "95 %: 15.50 to 24.25",
                 "16.00, more than 0 wanted", "resamples of the 55 instances",
                 "3 judges compared the two answers in both orders", "not judged yet"):
        assert part in shown, part
    assert "broken records" not in shown   # a count of 0
    tab.click("summary:has-text('each of the others')")
    assert "broken records" in tab.inner_text("#overview")
    titles = tab.locator("#overview .column span[title]").evaluate_all(
        "all => all.map(one => one.title)")
    scored = [row for row in ROWS if row.score is not None]
    assert sum(int(title.rpartition(": ")[2]) for title in titles) == len(scored)
    first = tab.locator("#panel .split").first.locator("span").evaluate_all(
        "all => all.map(one => one.title.match(/, (.*):/)[1])")
    assert first == ["challenger", "king", "draw", "changes with the order"]
    assert tab.locator("#panel .split").count() == 3 + 5
    assert "org/judge-a" in tab.inner_text("#panel tbody tr:first-child")
    assert "at least $0.9000" in tab.inner_text("#costs tfoot") and "2.0 h" in tab.inner_text(
        "#costs")
    assert "Noise" not in shown and "How the judges judge" not in tab.inner_text("#panel")


def test_the_best_pairs_stand_first_and_lead_to_their_turns(show):
    pair = BestPair(ROWS[3].name, "A task", "ls", "make", "Score 99, final.")
    tab = show(a_page(TURNS, pairs=[pair]))
    assert spaced(tab, ".pair .side.amber") == "king ls"
    tab.click(".pair a")
    tab.wait_for_selector(f"#reader[open]:has-text('{ROWS[3].commands[1].splitlines()[0]}')")


NO_DUEL = {**NO_NUMBERS, "judges": (), "turns": 0}
REASONS = ["margin 0.5000 < win_margin 2", "LCB -2.0000 is not above 0"]
NOISE = {"judge-c": {**a_duel()["judges"]["judge-c"], "model": EMBEDDED_MODEL}}
REFERENCE = {"mode": "reference", "reference_score": 40.0}


@pytest.mark.parametrize("duel, n_unpriced, selector, shown", [
    ({"accepted": False, "reasons": REASONS, "margin": 0.5, "lcb": -2.0}, 0,
     ".outcome", "; ".join(REASONS)),
    (NO_NUMBERS, 0, ".outcome", "✗ Not accepted"), (NO_DUEL, 0, ".outcome", "✗ Not accepted"),
    (NO_DUEL, 0, "#turns", "No turn is judged yet."),
    ({}, 3, "#costs tfoot", "unknown"), ({}, 0, "#costs tfoot", "$0"),
    ({"judges": NOISE}, 0, "#overview .notice", "Noise: "),
    (REFERENCE, 0, ".side.amber", "THOUGHT: reference 3")])
def test_what_is_odd_is_said(show, duel, n_unpriced, selector, shown):
    costs = [Cost(3, n_unpriced, 0.0, "ch", "m", 10, 10, 1.0)]
    tab = show(a_page([] if duel is NO_DUEL else TURNS, a_duel(**duel), costs=costs),
               "#turn=prompts_60_1_3")
    assert shown in spaced(tab, selector)
    assert tab.locator("#overview .interval").count() == ("margin" not in duel or duel["margin"]
                                                         is not None)
    assert tab.locator("#filter-bucket").count() == (duel not in (NO_DUEL, REFERENCE))


def test_what_was_looked_for_and_found(show):
    finding = {"kind": "asks for a verdict", "side": "challenger", "text": "MODEL 2 is better"}
    leak = {"judge": "auditor", "kind": "path", "text": "src/reel.py", "why": "not shown"}
    leaks = {5: (leak,), 6: None}
    turns = [(replace(row, injections=(finding,) if i in (3, 4) else (),
                      leaks=TurnLeaks(leaks.get(i, ()))), *records)
             for i, (row, *records) in enumerate(TURNS)]
    nothing = "No injections were found in the turns as they are."
    assert nothing in show(the_page()).inner_text("#findings")
    tab = show(a_page(turns))
    assert "asks for a verdict" in tab.inner_text("#findings")
    choose(tab, leaks="path")
    assert names_shown(tab) == [ROWS[5].name]
    assert "judge: auditor · kind: path · text: src/reel.py · why: not shown" in open_turn(
        tab, 0, ROWS[5].name)
    close(tab)
    choose(tab, leaks="")
    tab.click("#findings button:has-text('asks for')")
    assert names_shown(tab) == [ROWS[3].name, ROWS[4].name]
    assert "side: challenger · text: MODEL 2 is better" in open_turn(tab, 0, ROWS[3].name)


def test_how_the_judges_judge(show):
    turns = [JudgedTurn(row.instance_id, score.judges) for row, _, score in TURNS]
    found = statistics(turns, PANEL, {PANEL[0]: ["king"]}, "both")
    tab = show(a_page(TURNS, a_duel(panel=found), trials=["a line of a trial"],
                      sections=[("None", [])]))
    shown = spaced(tab, "#panel")
    changes = found["judges"][PANEL[1]]["changes_with_order"]
    share, low, high = (100 * changes[key] for key in ("value", "low", "high"))
    assert f"{share:.1f} % ({low:.1f} to {high:.1f})" in shown
    assert "same family as the king's model" in shown and "a line of a trial" in shown
    assert f"{found['alpha']['progress']:.2f}" in shown
    assert "None" not in shown


# the table

def expected_verdicts(row: TurnRow, judge: str, metric: str) -> set[str]:
    """Return what a row is found under in the filter "verdict", by the slow way."""
    said = [of_judge[METRICS.index(m)] for name, of_judge in zip(PANEL, row.verdicts, strict=True)
            for m in METRICS if judge in ("", name) and metric in ("", m)]
    won, lost = said.count("c"), said.count("r")
    if set(said) == {"-"}:
        return {"-"}
    return {"c" if won > lost else "r" if won < lost else "d", *(["split"] if won and lost else []),
            *({"t", "-"} & {*said})}


def test_filters_leave_the_turns_that_are_so(show):
    tab = show(the_page())
    assert count(tab) == "60 turns" and names_shown(tab) == [row.name for row in ROWS]
    plain = [
        ({"repo": "org/repo-3"}, lambda row: row.repo == "org/repo-3"),
        ({"rival": "explore", "challenger": "test"}, lambda row: row.styles == ("explore", "test")),
        ({"edited": "edited"}, lambda row: row.is_edited),
        ({"repeats": "king"}, lambda row: "king" in row.repeats),
        ({"bucket": "defeat", "language": "python", "challenger": "edit"},
         lambda row: (row.label, row.language, row.styles[1]) == ("defeat", "python", "edit"))]
    verdicts = itertools.product(("", PANEL[1]), ("", "progress"),
                                 ("c", "r", "d", "t", "-", "split"))
    said = [({"judge": judge, "metric": metric, "verdict": verdict},
             lambda row, at=(verdict, judge, metric): at[0] in expected_verdicts(row, *at[1:]))
            for judge, metric, verdict in verdicts]
    for chosen, holds in plain + said:
        wanted = [row.name for row in ROWS if holds(row)]
        if not wanted:
            continue   # the option says (0) and cannot be chosen
        tab.evaluate(FOLLOWED, urlencode(chosen))
        assert names_shown(tab) == wanted, chosen
        assert count(tab) == ("60 turns" if len(wanted) == 60 else f"{len(wanted)} of 60 turns")
    tab.click("button.clear")
    assert count(tab) == "60 turns" and tab.url.endswith("#")


def test_the_numbers_behind_the_options_are_what_a_choice_would_give(show):
    tab = show(the_page(), "#language=go")
    of_go = [row for row in ROWS if row.language == "go"]
    options = dict(re.fullmatch(r"(.+) \((\d+)\)", text).groups()
                   for text in tab.locator("#filter-bucket option").all_inner_texts()[1:]
                   if text[0] != "(")
    assert options == {name: str(sum(row.label == name for row in of_go))
                       for name in ("final", "refined", "defeat (won)", "defeat")}
    assert tab.locator("#filter-language option").all_inner_texts()[1:] == [
        f"{name} ({n})" for name, n in sorted(Counter(row.language for row in ROWS).items())]


def test_search_finds_names_repositories_and_commands(show):
    tab = show(the_page())
    for words, holds in {
            "prompts_60_1_17": lambda row: row.name.endswith("_17"),
            "ORG/REPO-2": lambda row: row.repo == "org/repo-2",
            "king_5 grep": lambda row: "king_5" in row.commands[0],
            "nowhere": lambda row: False,   # no two in turn find as many
            "org__repo-44": lambda row: row.instance_id == "org__repo-44"}.items():
        tab.fill("#search", words)
        wanted = [row.name for row in ROWS if holds(row)]
        wait(tab, f"document.querySelector('output').textContent === '{len(wanted)} of 60 turns'")
        assert names_shown(tab) == wanted and tab.is_visible(".nothing") == (not wanted)


@pytest.mark.parametrize("title, value", [
    ("score", lambda row: row.score), ("turn", lambda row: int(row.name.split("_")[-1])),
    ("bucket", lambda row: ["", "final", "refined", WON, "defeat"].index(row.label)),
    ("step", lambda row: row.styles)])
def test_columns_sort_both_ways_and_back(show, title, value):
    tab = show(the_page())
    head = tab.locator(".rows thead th").nth(
        tab.locator(".rows thead th").all_text_contents().index(title))
    there, lost = ([row for row in ROWS if (value(row) is None) == is_lost]
                   for is_lost in (False, True))
    for way in ("ascending", "descending")[::-1 if title == "score" else 1]:
        head.locator("button").press("Enter")
        assert head.get_attribute("aria-sort") == way
        # equals stay in their order, and what has no value is last, either way
        ordered = sorted(there, key=value, reverse=way == "descending") + lost
        assert names_shown(tab) == [row.name for row in ordered]
    head.locator("button").press("Enter")
    assert head.get_attribute("aria-sort") == "none"
    assert names_shown(tab) == [row.name for row in ROWS]


def test_of_many_turns_only_those_in_sight_exist(show):
    turns = [(replace(ROWS[i % 60], name=f"t_{i}"), *TURNS[i % 60][1:]) for i in range(5000)]
    tab = show(a_page(turns, room=0))
    assert tab.locator("tr[data-at]").count() < 80
    tab.focus("table[role=grid]")
    tab.keyboard.press("End")
    assert tab.inner_text("tr[aria-selected=true] .name") == "t_4999" and tab.locator(
        "tr[data-at]").count() < 80
    tab.keyboard.press("PageUp")
    assert tab.locator("tr[aria-selected=true]").bounding_box()["y"] > 0
    tab.keyboard.press("Home")
    assert tab.inner_text("tr[aria-selected=true] .name") == "t_0"


# a turn

def test_a_turn_is_opened_read_and_closed_with_the_keyboard(show):
    tab = show(the_page())
    active = "document.activeElement"
    tab.keyboard.press("/")
    assert tab.evaluate(f"{active}.id") == "search"
    while tab.evaluate(f"{active}.getAttribute('role')") != "grid":
        tab.keyboard.press("Tab")
        assert tab.evaluate(f"{active} !== document.body")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowDown")
    row = tab.get_attribute("table[role=grid]", "aria-activedescendant")
    assert tab.inner_text(f"#{row} .name") == ROWS[2].name
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#reader[open]")
    assert tab.evaluate(f"{active}.id") == "reader-title" and tab.inner_text(
        "#reader-title") == ROWS[2].name
    assert tab.url.endswith(f"#turn={ROWS[2].name}") and tab.inner_text(".position") == "3 of 60"
    tab.keyboard.press("ArrowRight")
    wait(tab, f"document.getElementById('reader-title').textContent === '{ROWS[3].name}'")
    for _ in range(40):   # the focus does not leave the reader
        tab.keyboard.press("Tab")
        assert tab.evaluate(
            f"document.getElementById('reader').contains({active}) || {active} === document.body")
    tab.keyboard.press("Escape")
    assert tab.locator("#reader[open]").count() == 0 and tab.evaluate(
        f"{active}.getAttribute('role')") == "grid"
    assert tab.inner_text("tr[aria-selected=true] .name") == ROWS[3].name
    wait(tab, "!location.hash.includes('turn')")


def test_a_turn_in_full(show):
    tab = show(the_page(), f"#turn={ROWS[7].name}")
    assert tab.inner_text(".side.amber .code pre") == ROWS[7].commands[0]
    assert tab.inner_text(".side.blue .code pre") == ROWS[7].commands[1]
    assert "THOUGHT: king 7." in tab.inner_text(".side.amber")
    grid = tab.locator("#reader .plain tr:has(.chip)")
    by_word = {"challenger": "c", "king": "r", "draw": "d", "not read": "-"}
    shown = [[by_word[text] for text in grid.nth(k).locator(".chip").all_inner_texts()]
             for k in range(6)]
    scores = {1: "c", 0: "r", 0.5: "d"}
    assert shown == [[scores[value] for value in judge["scores"].values()] or ["-"] * 5
                     for judge in TURNS[7][2].judges]
    assert tab.locator("#reader .chip.outlined").count() == 2 * "".join(ROWS[7].verdicts).count("t")
    assert tab.locator(".reply").count() == 6 and tab.locator(".message").count() == 5
    tab.locator(".raw summary").first.click()
    assert tab.locator(".raw pre").first.inner_text() == "as it came"
    assert tab.locator(".message[open]").count() == 1   # the last one of the history
    links = tab.evaluate(
        "[...document.querySelectorAll('.facts a')].map(a => a.getAttribute('href'))")
    assert links == [f"../answer/{ROWS[7].name}.json", f"../score/{ROWS[7].name}.json"]


def test_a_turn_that_is_not_in_the_page_names_its_files(show):
    tab = show(a_page(TURNS, room=1600), f"#turn={ROWS[9].name}")
    shown = tab.inner_text("#reader")
    assert f"answer/{ROWS[9].name}.json" in shown and "it holds 1 of 60 turns in full" in shown
    assert ROWS[9].commands[1] in text_of(tab,
                                          "#reader") and tab.locator("#reader .chip").count() == 15


def test_a_long_text_is_cut_until_it_is_asked_for(show):
    row, _, score = a_turn(1)
    long = Answer("i", [{"role": "user", "content": "x\n" * 3000}], "", ("a" * 999 + "\n") * 1000,
                  "```bash\n" * 40_000)
    tab = show(a_page([(row, long, score)]), f"#turn={row.name}")
    shown = []
    while button := next(iter(tab.locator(".side.amber button.more").all()), None):
        shown.append(f"{len(text_of(tab, '.side.amber pre'))}: {button.inner_text()}")
        button.click()
    assert text_of(tab, ".side.amber pre") == long.king.strip() and len(shown) == 5
    assert shown[0] == "3000: Show 200,000 more of 999,999 characters"
    assert shown[-1] == "803000: Show all 999,999 characters"
    assert tab.locator(".message[open] button.more").inner_text() == "Show all 5,999 characters"
    assert text_of(tab, ".side.blue").startswith(
        "challenger```bash\n```bash\n")   # a block without an end


def test_the_address_holds_what_was_chosen(show):
    html = the_page()
    tab = show(html)
    choose(tab, language="python", bucket="defeat")
    tab.locator("thead button").first.click()
    tab.fill("#search", "prompts")
    wait(tab, "location.hash.includes('q=prompts')")
    anchor = "#" + tab.url.split("#")[1]
    first = names_shown(tab)
    open_turn(tab, 1)
    again = show(html, "#" + tab.url.split("#")[1])
    assert again.inner_text("#reader-title") == tab.inner_text("#reader-title")
    close(again)
    assert names_shown(again) == first and again.input_value("#search") == "prompts"
    tab.go_back()
    wait(tab, "!document.getElementById('reader').open")
    assert "#" + tab.url.split("#")[1] == anchor and names_shown(tab) == first


@pytest.mark.parametrize("anchor",
                         ["#bucket=nowhere&sort=-none&judge=x&turn=gone", "#%F0%9F",
                          "#__proto__=1&sort=verdicts", "#" + quote(HOSTILE.replace("\ud800", ""))])
def test_an_address_that_says_nothing_is_passed_over(show, anchor):
    tab = show(the_page(), anchor)
    assert count(tab) == "60 turns" and tab.locator("#reader[open]").count() == 0


# how it looks

LOOKS = """() => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 });
    const pen = canvas.getContext('2d', { willReadFrequently: true });
    const over = (colour, ground) => {
        pen.fillStyle = `rgb(${ground.join(' ')})`; pen.fillRect(0, 0, 1, 1);
        pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
        return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = rgb => rgb.map(v => v / 255)
        .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    const poor = [];
    for (const element of document.querySelectorAll('body *')) {
        const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
        const skipped = element.closest('svg, option, .hidden, :disabled');
        if (!own || !element.checkVisibility() || skipped) continue;
        const line = [];
        for (let at = element; at; at = at.parentElement)
            line.unshift(getComputedStyle(at).backgroundColor);
        const ground = line.reduce((below, colour) => over(colour, below), [255, 255, 255]);
        const text = over(getComputedStyle(element).color, ground);
        const [a, b] = [light(ground), light(text)].sort((x, y) => y - x);
        const ratio = (a + .05) / (b + .05);
        const start = element.textContent.slice(0, 30);
        if (ratio < 4.5) poor.push([element.className, start, ratio.toFixed(2)]);
    }
    return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(show, scheme):
    tab = show(a_page(TURNS, a_duel(accepted=scheme == "dark", reasons=["why"]), is_outdated=True),
               scheme=scheme)
    assert tab.evaluate(LOOKS) == []
    open_turn(tab, 1)
    assert tab.evaluate(LOOKS) == []


def test_dark_and_light_by_the_system_and_by_choice(show):
    def ground(tab) -> str:
        return tab.evaluate("getComputedStyle(document.body).backgroundColor")
    html = a_page(TURNS[:3])
    light, dark = show(html), show(html, scheme="dark")
    white, black = ground(light), ground(dark)
    assert white != black
    light.select_option("#top select", "dark")
    dark.select_option("#top select", "light")
    assert (ground(light), ground(dark)) == (black, white)
    light.reload()
    assert ground(light) == black   # kept


@pytest.mark.parametrize("width", [320, 400, 720, 1024, 1300, 2200])
def test_nothing_is_wider_than_the_window(show, width):
    tab = show(the_page(), width=width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.evaluate("document.getElementById('turns').scrollIntoView()")
    assert tab.evaluate("document.querySelector('.rows').scrollWidth <= "
                        "document.querySelector('.rows').clientWidth")
    open_turn(tab, 1)
    assert tab.evaluate(
        "(reader => reader.scrollWidth <= reader.clientWidth)(document.getElementById('reader'))")


def test_a_page_that_cannot_be_read_says_so(show):
    html = a_page(TURNS[:3])
    torn = re.sub(rb'(id="block-rows">)[^<]{40}', rb"\1" + b"A" * 40, html)
    tab = show(torn)
    assert "This page cannot be shown whole" in tab.inner_text("[role=alert]")
    show.wrong.clear()


# from the directories ----------------------------------------------------------------------------

def test_report_writes_the_page_beside_the_report(tmp_path, fake_llm):
    fake_judges.judged(tmp_path, fake_llm, 3)
    tmp_path.with_commits(3)
    fake_judges.report_text(tmp_path)
    html = (tmp_path / "report/report.html").read_bytes()
    turns = block_of(html, "rows")
    sections = {section["id"]: section for section in data_of(html)["sections"]}
    points = sections["overview"]["body"][-1]["body"][0]["body"][0]["body"][0]
    assert points["rows"][0] == ["challenger", "75.00"]
    assert [turn["id"] for turn in turns] == ["t_1", "t_2", "t_3"]
    assert {turn["repo"] for turn in turns} == {"proj/repo"}
    assert [side[1] for side in turns[2]["short"][-2]["sides"]] == ["ls quartz_3", "ls onyx_3"]
    assert {turn["verdicts"] for turn in turns} == {"ccccc" + "ttttt"}
    assert turns[0]["files"] == ["answer/t_1.json", "score/t_1.json"]
    sides = next(part for part in block_of(html, "row-0") if part and part["kind"] == "sides")
    assert sides["sides"][0][1].startswith("THOUGHT: quartz 1")
    assert [cost["stage"] for cost in sections["costs"]["body"][-1]["costs"]] == ["validate"] * 2
