"""Requests within max_prompt_tokens: what stays, what is cut first, what the cut says, when an item fails for it."""
from __future__ import annotations

import copy
import json
import random
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from conftest import answers, flags_for, ledger_lines, run_here, settings_for, write_commits, write_prompts, write_toml

import ch
import king
from codedata.duel.answer import challenger_messages
from codedata.errors import ItemFailed
from codedata.llm import Client, Models
from codedata.llm.trim import MESSAGE_TOKENS, SHORTEST_BODY, estimate_tokens, fit
from codedata.records import Answer, Commit

MARKER = re.compile(r"\[… ([\d,]+) messages left out here: ([\d,]+) characters …\]")
BODY_MARKER = re.compile(r"\n\[… [\d,]+ characters left out here …\]\n")


def size(messages, fixed="", patches=()) -> int:
    """Tokens of a whole request; what is fixed may have to be a message of its own."""
    return (sum(estimate_tokens(m["content"]) + MESSAGE_TOKENS for m in messages)
            + (estimate_tokens(fixed) + MESSAGE_TOKENS if fixed else 0) + sum(map(estimate_tokens, patches)))


def history(*bodies, system="You are an agent.") -> list[dict]:
    """System message, then user and assistant in turn."""
    start = [{"role": "system", "content": system}] if system else []
    return start + [{"role": ("user", "assistant")[i % 2], "content": body} for i, body in enumerate(bodies)]


def turns(n: int, chars: int = 300) -> list[dict]:
    """System, task, and `n` further messages of `chars` characters, the last from the user."""
    return history("the task", *[f"{i} " + "x" * (chars - len(str(i)) - 1) for i in range(n)])


def patch_of(*files, lines=20) -> str:
    return "".join(f"diff --git a/{f} b/{f}\n--- a/{f}\n+++ b/{f}\n" + f"+line of {f}\n" * lines for f in files)


# what stays and what goes --------------------------------------------------------------------------------------------

def test_what_fits_is_left_as_it_is():
    long, patches = turns(10), (patch_of("a.py"), "")
    fitted = fit(long, size(long, "fixed", patches), fixed="fixed", patches=patches)
    assert (fitted.messages, fitted.patches, fitted.cut) == (long, list(patches), "")


def test_one_token_less_and_the_middle_is_cut():
    long = turns(10)
    fitted = fit(long, size(long) - 1)
    assert fitted.messages != long and fitted.cut == "2 of 12 messages"


def test_system_task_and_the_last_two_messages_stay():
    long = turns(20)
    fitted = fit(long, 400)
    assert fitted.messages[:2] == long[:2] and fitted.messages[-2:] == long[-2:]
    assert size(fitted.messages) <= 400


def test_the_newest_turns_are_kept_and_the_oldest_go():
    long = turns(20)
    fitted = fit(long, 1200)
    kept = fitted.messages[4:]   # behind system, task and the two marker messages
    assert 2 < len(kept) < 20 and kept == long[-len(kept):]


def test_no_more_is_cut_than_needed():
    long = turns(20)
    for limit in range(400, size(long), 97):
        fitted = fit(long, limit)
        room_for_a_turn = 2 * (100 + MESSAGE_TOKENS)
        assert limit - room_for_a_turn - 10 <= size(fitted.messages) <= limit


def test_a_marker_tells_how_much_is_left_out():
    long = turns(20)
    fitted = fit(long, 1000)
    [(n, chars)] = MARKER.findall(json.dumps(fitted.messages, ensure_ascii=False))
    left_out = [m for m in long if m not in fitted.messages]
    assert int(n) == len(left_out) > 0
    assert int(chars.replace(",", "")) == sum(len(m["content"]) for m in left_out)
    assert fitted.cut == f"{n} of 22 messages"


@pytest.mark.parametrize("n", [10, 11], ids=["ends with the user", "ends with the assistant"])
@pytest.mark.parametrize("system", ["You are an agent.", ""], ids=["system", "no system"])
def test_roles_go_on_alternating(n, system):
    long = history("the task", *["x" * 300] * n, system=system)
    for limit in range(320, size(long), 50):
        roles = [m["role"] for m in fit(long, limit).messages]
        assert all(a != b for a, b in pairwise(roles)), roles
        assert roles[-1] == long[-1]["role"]


def test_long_last_messages_lose_their_middle_not_their_ends():
    long = history("the task", "old " * 500, "START" + "a" * 5000 + "END", "BEGIN" + "b" * 6000 + "FINISH")
    fitted = fit(long, 1500)
    first, last = fitted.messages[-2]["content"], fitted.messages[-1]["content"]
    assert first.startswith("START") and first.endswith("END") and last.startswith("BEGIN") and last.endswith("FINISH")
    assert BODY_MARKER.search(last) and size(fitted.messages) <= 1500
    assert "the middle of a last message" in fitted.cut


def test_last_messages_are_whole_where_cutting_the_rest_is_enough():
    long = history("the task", "o" * 9000, "p" * 9000, "q" * 900, "r" * 900)
    assert [m["content"] for m in fit(long, 900).messages[-2:]] == ["q" * 900, "r" * 900]


def test_system_and_task_are_never_cut():
    long = history("task " * 400, "a" * 9000, "b" * 9000, system="system " * 300)
    fitted = fit(long, 2000)
    assert fitted.messages[:2] == long[:2]


# patches -------------------------------------------------------------------------------------------------------------

def test_patches_are_cut_only_after_the_history():
    long, patch = turns(20), patch_of("a.py", "b.py", "c.py")
    whole = size([], patches=[patch])
    for limit in range(400 + whole, size(long, patches=[patch]), 111):
        fitted = fit(long, limit, patches=(patch,))
        assert fitted.patches == [patch] and fitted.messages != long
    fitted = fit(long, 250 + whole, patches=(patch,))
    assert fitted.patches != [patch] and len(fitted.messages) == 6   # system, task, marker (2), the last two


def test_patches_are_cut_at_file_borders_from_the_end_and_say_which():
    files = [patch_of(f) for f in ("a.py", "dir/b.py", "c.py")]
    short = history("the task")
    fitted = fit(short, size(short, patches=files) - 1, patches=("".join(files),))
    assert fitted.patches == [files[0] + files[1] + f"[the patch of c.py is left out: {len(files[2])} characters]\n"]
    assert fitted.cut == "1 files of the patch"
    fitted = fit(short, size(short, patches=files[:1]) + 60, patches=("".join(files),))
    assert fitted.patches[0].startswith(files[0] + "[the patch of dir/b.py is left out")


def test_the_last_patch_goes_first():
    patch, tests = patch_of("a.py"), patch_of("test_a.py", "test_b.py")
    short = history("the task")
    fitted = fit(short, size(short, patches=(patch, "")) + 60, patches=(patch, tests))
    assert fitted.patches[0] == patch and "+line" not in fitted.patches[1]


def test_a_patch_without_file_headers_goes_as_a_whole():
    short = history("the task")
    fitted = fit(short, 100, patches=("@@ -1 +1 @@\n" + "-a\n+b\n" * 300,))
    assert "+b" not in fitted.patches[0] and "left out" in fitted.patches[0]


def test_a_line_that_only_looks_like_a_file_border_is_none():
    patch = "diff --git a/x b/x\n" + "+    diff --git a/y b/y\n" * 50
    short = history("the task")
    [left] = fit(short, 60, patches=(patch,)).patches
    assert left.count("left out") == 1 and "diff --git a/y" not in left


# when it does not fit ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("long, fixed", [
    (history("task " * 300, "a", "b"), ""), (history("the task", "a", "b", system="system " * 300), ""),
    (history("the task"), "rule " * 300), ([], "rule " * 300),
], ids=["task", "system", "fixed", "no history"])
def test_what_may_not_be_cut_and_is_too_long_fails_the_item(long, fixed):
    with pytest.raises(ItemFailed, match="max_prompt_tokens"):
        fit(long, 300, fixed=fixed, patches=(patch_of("a.py"),))


def floor(messages, patches) -> int:
    """Tokens of the shortest request that may be made of these."""
    head = next((i + 1 for i, m in enumerate(messages) if m["role"] != "system"), len(messages))
    last = messages[head:][-2:]
    marker = 2 * (MESSAGE_TOKENS + 30) if len(messages) - head > 2 else 0
    half = SHORTEST_BODY // 2
    bodies = [min(text, text[:half] + "…" * 20 + text[-half:], key=estimate_tokens)
              for text in (m["content"] for m in last)]
    n_files = [max(1, p.count("diff --git ")) * bool(p) for p in patches]
    return size(messages[:head]) + marker + sum(estimate_tokens(b) + MESSAGE_TOKENS for b in bodies) + 40 * sum(n_files)


def assert_fit(messages, limit, fixed="", patches=()):
    """All that fit() promises, for one case."""
    before = copy.deepcopy(messages)
    try:
        fitted = fit(messages, limit, fixed=fixed, patches=patches)
    except ItemFailed:
        assert floor(messages, patches) + size([], fixed) > limit, "it could have been made to fit"
        return
    assert messages == before
    assert fit(messages, limit, fixed=fixed, patches=patches) == fitted
    assert size(fitted.messages, fixed, fitted.patches) <= limit
    assert bool(fitted.cut) == (fitted.messages != messages or fitted.patches != list(patches))
    head = next((i + 1 for i, m in enumerate(messages) if m["role"] != "system"), len(messages))
    assert fitted.messages[:head] == messages[:head]
    assert [m["role"] for m in fitted.messages[-2:]] == [m["role"] for m in messages[-2:]]
    if fitted.patches != list(patches):   # the history gave all it could
        assert len(fitted.messages) <= head + 4
        assert all(len(m["content"]) <= max(len(o["content"]) if len(o["content"]) <= SHORTEST_BODY + 60 else 0,
                                            SHORTEST_BODY + 60)
                   for m, o in zip(fitted.messages[head:][-2:], messages[head:][-2:], strict=True))


TEXTS = {"ascii": "lorem ipsum ", "accents": "größe à côté ", "cjk": "数据训练", "emoji": "🙂🙃"}


@pytest.mark.parametrize("seed", range(40))
def test_any_history_fits_whole_or_fails_rightly(seed):
    rng = random.Random(seed)

    def body():
        text = TEXTS[rng.choice(list(TEXTS))]
        return text * int(rng.paretovariate(0.8))
    messages = history(body()[:300], *[body()[:6000] for _ in range(2 * rng.randrange(12))],
                       system=rng.choice(["", "You are an agent."]))
    patches = tuple(patch_of(*[f"f{i}.py" for i in range(rng.randrange(5))], lines=rng.randrange(1, 60))
                    for _ in range(2))
    for _ in range(12):
        limit = rng.randrange(50, size(messages, patches=patches) + 100)
        assert_fit(messages, limit, rng.choice(["", "rule " * 30]), patches)


@pytest.mark.parametrize("ends, middle", [("数", "x"), ("x", "数"), ("🙂", " ")])
def test_a_body_whose_ends_weigh_more_than_its_middle_is_cut_enough(ends, middle):
    """The cut is made in characters, the limit is in tokens."""
    body = ends * 500 + middle * 3000 + ends * 500
    messages = history("the task", "ls", body)
    for limit in range(floor(messages, ()), size(messages), 50):
        assert_fit(messages, limit)


def test_tokens_are_counted_by_the_function_that_is_given():
    long = turns(10)
    fitted = fit(long, 200, tokens=lambda text: len(text.split()))
    assert fitted.messages == long
    with pytest.raises(ItemFailed):
        fit(long, 200, tokens=len)


# in the scripts ------------------------------------------------------------------------------------------------------

def request_tokens(request) -> int:
    return size(request.messages)


def long_prompts(root, n=1):
    write_prompts(root, n, messages=turns(30))


def test_king_sends_what_fits_and_the_ledger_says_what_was_cut(tmp_path, fake_llm):
    long_prompts(tmp_path)
    write_toml(tmp_path, {"max_prompt_tokens": 900})
    assert run_here(king.main, tmp_path, *flags_for(fake_llm)) == 0
    assert request_tokens(fake_llm.requests[0]) <= 900
    assert "left out here" in fake_llm.requests[0].text
    [line] = ledger_lines(tmp_path / "answer")
    assert re.fullmatch(r"\d+ of 32 messages", line["cut"])


def test_without_a_limit_nothing_is_cut(tmp_path, fake_llm):
    long_prompts(tmp_path)
    assert run_here(king.main, tmp_path, *flags_for(fake_llm)) == 0
    assert fake_llm.requests[0].messages[:-1] == turns(30)[:-1] and "cut" not in ledger_lines(tmp_path / "answer")[0]


def test_the_record_keeps_the_whole_history(tmp_path, fake_llm):
    long_prompts(tmp_path)
    write_toml(tmp_path, {"max_prompt_tokens": 900})
    run_here(king.main, tmp_path, *flags_for(fake_llm))
    [path] = (tmp_path / "answer").glob("[!_]*.json")
    assert json.loads(path.read_text())["messages"] == turns(30)


def test_a_prompt_that_cannot_be_made_to_fit_fails_its_item_without_a_call(tmp_path, fake_llm):
    write_prompts(tmp_path, 1, stem="long", messages=history("task " * 900))
    write_prompts(tmp_path, 1, stem="short")
    write_toml(tmp_path, {"max_prompt_tokens": 600})
    assert run_here(king.main, tmp_path, *flags_for(fake_llm)) == 1
    [line] = ledger_lines(tmp_path / "answer", state="failed")
    assert line["item"] == "long_1" and "max_prompt_tokens" in line["error"]
    assert answers(tmp_path) == ["short_1"] and fake_llm.n_requests == 1


@pytest.fixture
def challenger_request(fake_llm):
    """A function: what ch.py would send within `limit` tokens."""
    with Models(settings_for(fake_llm)) as models:
        spec = models.settings.model_spec("challenger")

        def request(limit: int, messages: list[dict], commit: Commit) -> list[dict]:
            client = Client(replace(spec, max_prompt_tokens=limit), models)
            return challenger_messages(client, Answer("i", messages, "a", "k"), commit)
        yield request


def test_ch_cuts_history_then_patch_and_never_issue_description_or_files(challenger_request):
    messages, files = turns(30), ["a.py", "b.py", "test_a.py"]
    commit = Commit("i", "r", "python", "0", "ISSUE " * 100, "DESCRIPTION " * 50, files, patch_of("a.py", "b.py"),
                    patch_of("test_a.py"))
    whole_patches = []
    for limit in range(4000, 0, -25):
        try:
            request = challenger_request(limit, messages, commit)
        except ItemFailed:
            break
        text = "\n".join(m["content"] for m in request)
        assert request[-1]["content"].startswith(messages[-1]["content"]) and "the task" in text
        assert "ISSUE " * 100 in text and "DESCRIPTION " * 50 in text and "\na.py\nb.py\ntest_a.py\n" in text
        left = [name for name in files if f"+line of {name}\n" in text]
        if left != files:
            assert len(request) == 6   # of the history there is no more to cut
        if left not in whole_patches:
            whole_patches.append(left)
    assert whole_patches == [["a.py", "b.py", "test_a.py"], ["a.py", "b.py"], ["a.py"], []]


def test_ch_notes_in_the_ledger_what_was_cut(tmp_path, fake_llm):
    long_prompts(tmp_path)
    write_commits(tmp_path, 1, patch=patch_of("a.py", "b.py", lines=200), test_patch=patch_of("test_a.py"))
    run_here(king.main, tmp_path, *flags_for(fake_llm))
    write_toml(tmp_path, {"max_prompt_tokens": 2400})
    assert run_here(ch.main, tmp_path, *flags_for(fake_llm)) == 0
    [line] = ledger_lines(tmp_path / "answer", stage="ch")
    assert line["cut"] == "28 of 32 messages, 2 files of the patch"


def test_ch_fails_the_item_where_issue_and_note_do_not_fit(tmp_path, fake_llm):
    write_prompts(tmp_path, 1), write_commits(tmp_path, 1, issue="issue " * 2000)
    run_here(king.main, tmp_path, *flags_for(fake_llm))
    write_toml(tmp_path, {"max_prompt_tokens": 2000})
    assert run_here(ch.main, tmp_path, *flags_for(fake_llm)) == 1
    [line] = ledger_lines(tmp_path / "answer", stage="ch")
    assert "max_prompt_tokens" in line["error"] and fake_llm.n_requests == 1


@pytest.mark.parametrize("system", ["You are an agent.", ""], ids=["system", "no system"])
@pytest.mark.parametrize("patches", [("", ""), (patch_of("a.py"), "")], ids=["no patches", "one patch"])
def test_the_limit_bounds_the_whole_request_to_the_token(challenger_request, system, patches):
    messages, fitted = history("the task", *["y" * 100] * 4, system=system), 0
    commit = Commit("i", "r", "python", "0", "issue", "description", ["a.py"], *patches)
    for limit in range(600, 1100, 3):
        try:
            request = challenger_request(limit, messages, commit)
        except ItemFailed:
            continue
        fitted += 1
        assert size(request) <= limit
    assert fitted > 100
