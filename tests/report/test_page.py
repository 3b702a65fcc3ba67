"""Check index.html, the page of a root: what it holds, that nothing in it runs, and its use."""
import base64
import hashlib
import os
import re
import shutil
from argparse import Namespace
from html import unescape
from html.parser import HTMLParser

import fake_judges
import pytest
from a_datapoint import write_approved, write_datapoint
from a_task import a_bug, a_datapoint, a_pull, a_strip, edited, write_foreign, write_task
from an_attempt import MESSAGES, write_attempt
from conftest import edit, run_script
from fake_judges import validated as decide
from heron_environment import an_environment
from recorded import write_checks
from root import filled, read_json, write_json

from codedata.config import load
from codedata.datapoints.datapoint_folder import read_datapoint
from codedata.page.elements import CUT, escaped
from codedata.records import DATAPOINT, AuditCheck, TaskAudit
from codedata.report.index_page import write_index
from codedata.solving.attempt import write_rates
from codedata.tasks.folder.task_folder import audited_digest

HOSTILE = ("</pre></script><script>hacked(1)</script><!--<img src=x onerror=hacked(2)>\"'>"
           "<svg onload=hacked(3)>{body}{script}${hacked(4)}&lt;b&gt; \u202eesrever\u2066")
SHOWN = HOSTILE.replace("\u202e", "⟨U+202E⟩").replace("\u2066", "⟨U+2066⟩")
ELEMENTS = """a body button dd details div dl dt h1 h2 h3 h4 head header html input link meta
    option output p pre script section select strong style summary table tbody td th thead title
    tr"""
ATTRIBUTES = """autocomplete charset class colspan content href http-equiv id lang name rel type
    value"""


@pytest.fixture
def root(tmp_path, fake_llm):
    """Return a root with an item of each kind, and records that cannot be read."""
    root = tmp_path / "nest"
    root.mkdir()
    fake_judges.judged(root, fake_llm, 2)
    root.with_commits(2)
    fake_judges.report_text(root)
    root.with_answers(1, first=3)
    (root / "chain.toml").write_text('[exclude]\nids = ["proj__repo-3"]\n')
    for task in (a_bug(instruction=HOSTILE), a_strip(), a_pull(), a_datapoint()):
        write_task(root, task)
    write_task(root / "x", edited(a_datapoint("draft"), about={
        "status": "in_review", "languages": [HOSTILE]}))
    shutil.move(root / "x/task", root / "dp")
    (root / f"dp/{HOSTILE.replace('/', '')}").mkdir()
    write_foreign(root, "theirs", {"tests/config.json": '{"FAIL_TO_PASS": 3}'})
    root.with_env(an_environment(install_script=HOSTILE, summary=HOSTILE))
    write_attempt(root, why=HOSTILE, model=HOSTILE)
    write_rates(root)
    (root / "env/torn.json").write_text("{" + HOSTILE)
    (root / "env/outside.json").symlink_to("/etc/passwd")
    return root


def page_of(root) -> bytes:
    """Write the page without stages, and return it."""
    return write_index(load(Namespace(root=str(root)))).read_bytes()


def text_of(html: str) -> str:
    """Return the text of HTML, with the elements that part it as blanks."""
    body = re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.DOTALL)
    return unescape(re.sub(r"<[^>]*>", " ", body))


def items_of(html: bytes) -> dict[str, dict[str, str]]:
    """Return the items of a page by path: their cells by column, the `line` and all `text`."""
    text = html.decode()
    columns = re.findall(r"<th><button>(\w+)</button></th>", text)
    items = {}
    for body in re.findall(r"<tbody>.*?</tbody>", text, re.DOTALL):
        row, details = body.split("</tr>", 1)
        cells = [unescape(cell) for cell in re.findall(r"<td>(.*?)</td>", row, re.DOTALL)]
        id = unescape(re.search(r' id="(.*?)"', details)[1])
        items[id] = {**dict(zip(columns, cells, strict=True)), "text": text_of(details),
                     "line": unescape(re.search("<summary>(.*?)</summary>", details)[1])}
    return items


def sections_of(html: bytes) -> dict[str, str]:
    """Return the texts of a page's sections by heading."""
    return {unescape(heading): text_of(body) for heading, body in re.findall(
        r"<section[^>]*><h2>(.*?)</h2>(.*?)</section>", html.decode(), re.DOTALL)}


ITEMS = """answer/t_1: turn, refined
answer/t_2: turn, refined
answer/t_3: turn, not judged
task/heron.agent-1.0123abcd: bug, ready
task/heron.function.0123abcd: stripped patch, ready
task/heron__heron-7: pull request, ready
task/tally: terminal task, approved, edited
dp/draft: terminal task, in review
task/theirs: task of others, ready
env/heron: environment, success
attempt/sums.01234567.own-m-012345.1: attempt, solved"""


# what it holds -----------------------------------------------------------------------------------

def test_every_item_of_a_root_and_nothing_else_is_written(root):
    def files() -> dict:
        return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}

    (root / "index.html").unlink()
    write_json(root / "export/dpo/manifest.json", {"rows": {"train": 8, "validation": 1}})
    before = files()
    done = run_script("status.py", root, "--html")
    assert (done.returncode, done.stdout) == (
        0, f"open:  {root}/index.html   all of it on one page\n"), done.stderr
    after = files()
    assert after.pop(root / "index.html") and after == before
    html = (root / "index.html").read_bytes()
    items = items_of(html)
    assert {f"{id}: {one['kind']}, {one['result']}" for id, one in items.items()} == {
        *ITEMS.splitlines()}
    assert "[exclude] ids" in items["answer/t_3"]["line"]   # why a turn is not judged
    for id, texts in {
            "task/heron.agent-1.0123abcd": (SHOWN, "+    return 2 * depth", "::test_none"),
            "task/heron.function.0123abcd": ("What herons do.",), "task/tally": ("Write /app",),
            "task/heron__heron-7": ("Let herons wade", "FAIL_TO_PASS"),
            "env/heron": (SHOWN, "pytest -q"),
            "attempt/sums.01234567.own-m-012345.1": (SHOWN, "Trajectory: ", "total.py", "2 passed"),
    }.items():
        for text in texts:
            assert text in items[id]["text"], (id, text)
    sections = sections_of(html)
    assert [*sections][:4] == ["Sets and costs", "Failed and left out: 4", (
        "3 records cannot be read"), "Challenger against king"]
    assert "dpo  8 + 1. All " in sections["Sets and costs"]
    assert b'<a href="./export/dpo/README.md">dpo</a>' in html
    assert "[exclude] ids" in sections["Failed and left out: 4"]
    assert "env/torn.json" in sections["3 records cannot be read"]
    assert "challenger’s lead" in sections["Challenger against king"]
    assert "1 of 1" in sections["Attempts by task"]
    assert "validate" in sections["Costs"] and "env_setup" in sections["Stages"]


def test_a_turn_in_full_and_both_duels_are_on_the_page_that_report_writes(tmp_path, fake_llm):
    fake_judges.judged(tmp_path, fake_llm, 2)
    tmp_path.with_commits(2)
    leak = {"kind": "path", "quote": "src/reel.py", "why": "not shown"}
    write_json(tmp_path / "answer/_leaks/t_1.json", {"tries": [
        {"turn": "a try", "findings": [leak], "defence": "a defence"}]})
    judges = read_json(tmp_path / "score/t_1.json")["judges"]
    edit(tmp_path / "score/t_1.json", score=99.5, judges=[
        {**judges[0], "parse_ok": False, "error": "no JSON", "scores": {}, "usage": "none"},
        *judges[1:]])
    tmp_path.with_score("t_1", {"a": [0] * 5}, rival="reference")
    fake_judges.report_text(tmp_path)
    decide(tmp_path, "--mode=reference")
    run_script("report.py", tmp_path, "--mode=reference")
    html = (tmp_path / "index.html").read_bytes()
    assert {"Challenger against king", "Challenger against reference"} <= {*sections_of(html)}
    items = items_of(html)
    assert [(one["kind"], one["score"]) for one in items.values()] == [
        ("turn", "99.5"), ("turn against the reference", "25.0"),
        ("turn", "75.0"), ("turn against the reference", "75.0")]
    turn = items["answer/t_1"]
    assert (turn["repo"], turn["line"]) == ("proj/repo", "ls onyx_1")
    for text in ("quartz 1 comes next", "onyx 1 comes next", "amber 1 comes next", "task 1",
                 "no JSON", "not read", "a try", "a defence", "src/reel.py", "none found",
                 "edited: not what the verdicts give", str(judges[1]["reason"])):
        assert text in turn["text"], text


def test_tasks_have_their_status_and_the_worst_of_their_checks(tmp_path):
    def audit(folder, content="", **checks) -> None:
        tries = [{"path": "m.py", "line": 4, "diff": "-a\n+b\n"}]
        found = [filled(AuditCheck, name=name, result=result, evidence=["seen"],
                        figures={"tried": 8}, tries=tries, command="python audit.py")
                 for name, result in checks.items()]
        content = content or audited_digest(read_datapoint(folder))
        tmp_path.with_record(TaskAudit, folder.name, kind=DATAPOINT, content=content, checks=found)

    a = write_approved(tmp_path / "task/a")
    write_checks(tmp_path, a)
    audit(a, gold="passed", cheats="review")
    (write_approved(tmp_path / "task/b") / "instruction.md").write_text("Add up, quickly.")
    c = write_datapoint(tmp_path / "dp/c", tests="1 / 0")
    write_checks(tmp_path, c, "solvable", "run 1 gets 0.3")
    audit(c, "of old", solvable="passed")   # of the folder as it was earlier
    write_datapoint(tmp_path / "dp/d", {"status": "cancelled", "languages": ["t" * 900] * 99},
                    weights="[", tests="#" * 30_000)
    (write_datapoint(tmp_path / "dp/e") / "tests/test_outputs.py").unlink()
    f = write_datapoint(tmp_path / "dp/f")
    audit(f, gold="of a later version")
    with open(os.fsencode(write_datapoint(tmp_path / "dp/g") / "environment") + b"/\xff", "w"):
        pass   # a name that is no UTF-8
    html = page_of(tmp_path)
    items = items_of(html)
    assert [(id, one["result"], one["checks"]) for id, one in items.items()] == [
        ("task/a", "approved", "review"), ("task/b", "approved, edited", "not validated"),
        ("dp/c", "in review", "failed"), ("dp/d", "cancelled", "not validated"),
        ("dp/f", "in review", "not checked")]
    for text in ("cheats", "seen", "tried", "m.py", "+b", "python audit.py"):
        assert text in items["task/a"]["text"], text
    assert "run 1 gets 0.3" in items["dp/c"]["text"] and "print the sum" in items["dp/c"]["text"]
    assert len(items["dp/d"]["language"]) == 300
    assert CUT.replace("{n}", "20000") in items["dp/d"]["text"]
    broken = next(text for heading, text in sections_of(html).items() if "cannot be" in heading)
    assert re.findall(r"dp/(\w+)", broken) == ["e", "g"]


def test_long_attempts_are_cut(tmp_path):
    long = {"role": "assistant", "content": "x" * 1_000_000}
    write_attempt(tmp_path, messages=[*MESSAGES, *[long] * 9, *MESSAGES * 80])
    (tmp_path / "attempt" / write_attempt(tmp_path, "a") / "trajectory.json").write_text("{}")
    html = page_of(tmp_path)
    shown, = items_of(html).values()
    assert len(html) < 400_000 and "414 steps" in shown["text"]
    assert CUT.replace("{n}", "990000") in shown["text"] and "1 record cannot be read" in (
        sections_of(html))


def test_more_items_go_on_to_further_pages_and_pages_that_are_left_go(tmp_path):
    tmp_path.with_env(*(an_environment(f"e{i}") for i in range(2_001)))
    (tmp_path / "index-3.html").write_text("left")
    (tmp_path / "index-mine.html").write_text("of a user")
    html = page_of(tmp_path)
    assert len(items_of(html)) == 2_000
    assert b'(the filter searches one page):<div><a href="index-2.html"' in html
    second = (tmp_path / "index-2.html").read_bytes()
    assert [*items_of(second)] == ["env/e2000"] and b'href="index.html"' in second
    assert "environment success 2,001" in " ".join(sections_of(html)["Items"].split())
    assert not (tmp_path / "index-3.html").exists()
    (tmp_path / "env/e5.json").unlink()
    page_of(tmp_path)
    assert {path.name for path in tmp_path.glob("*.html")} == {"index.html", "index-mine.html"}
    for i in range(8_001):
        (tmp_path / f"env/f{i}.json").hardlink_to(tmp_path / "env/e0.json")
    assert b"Of 10,001 in env/, the first 10,000" in page_of(tmp_path)


# nothing in it runs ------------------------------------------------------------------------------

def hostile(value):
    """Return a value of JSON with a hostile text added to each text."""
    if isinstance(value, str):
        return value + HOSTILE
    if isinstance(value, dict):
        return {key: hostile(one) for key, one in value.items()}
    return [*map(hostile, value)] if isinstance(value, list) else value


@pytest.fixture
def hostile_root(root):
    """Return the root with hostile texts in its turns, verdicts, audit and set."""
    for path in (root / "answer").glob("t_*.json"):
        fields = read_json(path)
        edit(path, **{key: hostile(fields[key]) for key in ("king", "challenger", "assistant")},
             messages=[{**one, "content": hostile(one["content"])} for one in fields["messages"]])
    for path in (root / "score").glob("t_*.json"):
        edit(path, judges=[{**one, "reason": HOSTILE, "raw": HOSTILE, "usage": HOSTILE}
                           for one in read_json(path)["judges"]])
    for path in (root / "commit").glob("*.json"):
        edit(path, repo=HOSTILE, language=HOSTILE, description=HOSTILE, patch=HOSTILE)
    edit(root / "score/_duel.json", accepted=False, reasons=[HOSTILE])
    texts = dict.fromkeys(("name", "result", "why", "command"), HOSTILE)
    check = filled(AuditCheck, figures={HOSTILE: 1}, evidence=[HOSTILE],
                   tries=[{"diff": HOSTILE, HOSTILE: [HOSTILE]}], **texts)
    content = audited_digest(read_datapoint(root / "task/tally"))
    root.with_record(TaskAudit, "tally", kind=DATAPOINT, content=content, checks=[check])
    write_json(root / "export/dpo/manifest.json", {"rows": {"train": HOSTILE}})
    return root


def test_hostile_texts_become_no_element_and_no_attribute(hostile_root):
    html, found = page_of(hostile_root).decode(), []
    parser = HTMLParser()
    parser.handle_starttag = lambda name, attributes: found.append((name, dict(attributes)))
    parser.feed(html)
    assert {name for name, _ in found} <= {*ELEMENTS.split()}
    assert {key for _, attributes in found for key in attributes} <= {*ATTRIBUTES.split()}
    assert [name for name, _ in found].count("script") == 1 and "<!--" not in html
    links = [attributes["href"] for name, attributes in found if name == "a"]
    assert all(re.fullmatch(r"[#./\w%-]+", link) and ":" not in link for link in links)
    assert text_of(html).count(SHOWN) > 30 and "\u202e" not in html


def test_the_policy_lets_one_script_run_and_nothing_be_fetched(tmp_path):
    html = page_of(tmp_path).decode()
    policy = unescape(re.search(r'Security-Policy" content="(.*?)"', html)[1])
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for kind in ("script", "style"):
        found, = re.findall(rf"<{kind}>(.*?)</{kind}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(found.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert html.index("Security-Policy") < html.index("<style>") < html.index("<script")
    assert [word for word in ("http://", "https://", "@import", "url(", " src=") if word in html
            ] == []


def test_characters_that_cannot_be_seen_are_shown():
    assert escaped("a\tb\nc\r\nd\re\x7f\x85\ufeff\uffff NUL\x00 half\ud800 tag\U000e0041") == (
        "a\tb\nc\nd␍e⟨U+007F⟩⟨U+0085⟩⟨U+FEFF⟩⟨U+FFFF⟩ NUL␀ half⟨U+D800⟩ tag⟨U+E0041⟩")
    for harmless in ("", "häßlich", "日本語", "👨‍👩‍👧‍👦 ❤️", "a\tb\nc", "नमस्ते", "ﷺ"):
        assert escaped(harmless) == harmless
    assert escaped(HOSTILE).count("<") == 0


def test_the_browser_runs_nothing_hostile_and_holds_the_page_to_its_policy(
        hostile_root, show, fake_llm):
    tab = show(page_of(hostile_root))   # the fixture sees what runs
    tab.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert tab.locator("img, svg, pre script").count() == 0
    assert tab.inner_text("body").count(SHOWN) > 30
    refused = tab.evaluate("""async url => {
        await new Promise(done => setTimeout(done));   // else it has the caller's privileges
        const tries = {markup: () => { document.body.innerHTML = '<b>x</b>'; },
            code: () => eval('1'), script: () => { document.createElement('script').text = '1'; },
            fetched: () => fetch(url), file: () => fetch(location.href)};
        const refused = [];
        for (const [name, attempt] of Object.entries(tries))
            try { await attempt(); } catch { refused.push(name); }
        document.body.append(Object.assign(new Image(), { src: url + '/x.png' }));
        await new Promise(done => setTimeout(done, 100));
        return refused;
    }""", fake_llm.url)
    assert refused == ["markup", "code", "script", "fetched", "file"]
    assert fake_llm.n_requests == 0 and "hacked" not in str(show.wrong)
    show.wrong.clear()   # what the policy refused


# its use -----------------------------------------------------------------------------------------

def names(tab) -> list[str]:
    """Return the items in sight, in order."""
    return tab.locator(".rows > tbody > tr:first-child > td:first-child:visible").all_inner_texts()


def test_words_and_a_kind_choose_items(root, show):
    tab = show(page_of(root))
    everything = names(tab)
    assert len(everything) == 11 and tab.inner_text("#count") == "11 of 11"
    tab.fill("#text", "ONYX refined")   # in the line and in a cell
    assert names(tab) == ["t_1", "t_2"] and tab.inner_text("#count") == "2 of 11"
    tab.fill("#text", "2 onyx refined")
    assert names(tab) == ["t_2"]
    tab.fill("#text", "")
    tab.select_option("#kind", "terminal task")
    assert names(tab) == ["tally", "draft"]
    tab.fill("#text", "nowhere")
    assert names(tab) == []
    tab.fill("#text", "")
    tab.select_option("#kind", "")
    assert names(tab) == everything


def test_columns_sort_both_ways_and_empty_cells_are_last(tmp_path, show):
    rewards = {1: 0.25, 2: 0.3, 3: 0.0, 10: 1.0}
    for k, reward in rewards.items():
        write_attempt(tmp_path, k=k, reward=reward)
    tmp_path.with_env(an_environment())
    tab = show(page_of(tmp_path))
    by_reward = [f"sums.01234567.own-m-012345.{k}" for k in (3, 1, 2, 10)]
    by_name = [f"sums.01234567.own-m-012345.{k}" for k in (1, 2, 3, 10)]
    for column, ways in (("reward", ([*by_reward, "heron"], [*by_reward[::-1], "heron"])),
                         ("name", (["heron", *by_name], [*by_name[::-1], "heron"]))):
        for expected, way in zip(ways, ("ascending", "descending"), strict=True):
            tab.click(f"th button:text-is('{column}')")
            assert names(tab) == expected
            assert tab.get_attribute(f"th:has-text('{column}')", "aria-sort") == way


def test_a_turn_opens_with_its_answers_side_by_side(tmp_path, show, fake_llm):
    fake_judges.judged(tmp_path, fake_llm, 1)
    html = page_of(tmp_path)
    boxes = {}
    for width in (1300, 360):
        tab = show(html, width=width)
        assert not tab.is_visible("text=quartz 1 comes next")
        tab.click(".rows summary:has-text('onyx_1')")
        king, challenger = tab.locator(".rows .sides >> nth=0 >> > div").all()
        assert "quartz 1" in king.inner_text() and "onyx 1" in challenger.inner_text()
        boxes[width] = king.bounding_box(), challenger.bounding_box()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    (left, right), (upper, lower) = boxes.values()
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
    assert upper["x"] == lower["x"] and upper["y"] + upper["height"] <= lower["y"]
