"""Test requests within max_prompt_tokens: what stays, what is cut first, when an item fails."""
import copy
import itertools
import json
import random
import re

import pytest
from conftest import flags_for, ledger_lines, read_answer, run_here

import ch
import king
from codedata.errors import ItemFailed
from codedata.llm.trim import MESSAGE_TOKENS, MIN_BODY_CHARS, estimate_tokens, fit

MARKER = re.compile(r"\[… ([\d,]+) messages left out here: ([\d,]+) characters …\]")
BODY_MARKER = re.compile(r"\n\[… [\d,]+ characters left out here …\]\n")


def size(messages, fixed="", patches=()) -> int:
    """Count the tokens of a whole request; what is fixed may have to be a message of its own."""
    return (sum(estimate_tokens(m["content"]) + MESSAGE_TOKENS for m in messages)
            + (estimate_tokens(fixed) + MESSAGE_TOKENS if fixed else 0)
            + sum(map(estimate_tokens, patches)))


def history(*bodies, system="You are an agent.") -> list[dict]:
    """Return a system message, then user and assistant in turn."""
    start = [{"role": "system", "content": system}] if system else []
    roles = itertools.cycle(["user", "assistant"])
    return start + [{"role": next(roles), "content": body} for body in bodies]


SHORT = history("the task")


def turns(n: int, chars: int = 300) -> list[dict]:
    """Return system, task, and `n` further messages of `chars` characters; the user has the last.
    """
    return history("the task", *[f"{i} " + "x" * (chars - len(str(i)) - 1) for i in range(n)])


def patch_of(*files, lines=20) -> str:
    return "".join(f"diff --git a/{f} b/{f}\n--- a/{f}\n+++ b/{f}\n" + f"+line of {f}\n" * lines
                   for f in files)


# what stays and what goes ------------------------------------------------------------------------

def test_the_newest_turns_that_fit_are_kept_and_a_marker_counts_the_rest():
    long = turns(20)
    for limit in range(400, size(long), 97):
        fitted = fit(long, limit)
        kept = fitted.messages[4:]   # behind system, task and the two marker messages
        assert fitted.messages[:2] == long[:2] and kept == long[-len(kept):] and len(kept) >= 2
        # no more is cut than needed
        assert limit - size(long[-2:]) - 10 <= size(fitted.messages) <= limit
        left_out = long[2:-len(kept)]
        [(n, chars)] = MARKER.findall(json.dumps(fitted.messages, ensure_ascii=False))
        assert int(chars.replace(",", "")) == sum(len(m["content"]) for m in left_out)
        assert int(n) == len(left_out) and fitted.cut == f"{n} of 22 messages"


def test_long_last_messages_lose_their_middle_not_their_ends():
    long = history("the task", "old " * 500, "START" + "a" * 5000 + "END",
                   "BEGIN" + "b" * 6000 + "FINISH")
    fitted = fit(long, 1500)
    first, last = fitted.messages[-2]["content"], fitted.messages[-1]["content"]
    assert first.startswith("START") and first.endswith("END") and last.startswith("BEGIN")
    assert last.endswith("FINISH")
    assert BODY_MARKER.search(last) and size(fitted.messages) <= 1500
    assert "the middle of a last message" in fitted.cut


# patches -----------------------------------------------------------------------------------------


def test_patches_are_cut_at_file_borders_from_the_end_and_say_which():
    files = [patch_of(f) for f in ("a.py", "dir/b.py", "c.py")]
    fitted = fit(SHORT, size(SHORT, patches=files) - 1, patches=("".join(files),))
    note = f"[the patch of c.py is left out: {len(files[2])} characters]\n"
    assert fitted.patches == [files[0] + files[1] + note]
    assert fitted.cut == "1 files of the patch"
    fitted = fit(SHORT, size(SHORT, patches=files[:1]) + 60, patches=("".join(files),))
    assert fitted.patches[0].startswith(files[0] + "[the patch of dir/b.py is left out")


@pytest.mark.parametrize("patch, gone", [
    ("@@ -1 +1 @@\n" + "-a\n+b\n" * 300, "+b"),
    # looks like a border, and is none
    ("diff --git a/x b/x\n" + "+    diff --git a/y b/y\n" * 50, "diff --git a/y"),
], ids=["no header", "no border"])
def test_a_patch_that_is_one_file_goes_as_a_whole(patch, gone):
    [left] = fit(SHORT, 60, patches=(patch,)).patches
    assert left.count("left out") == 1 and gone not in left


# when it does not fit ----------------------------------------------------------------------------

@pytest.mark.parametrize("long, fixed", [
    (history("task " * 300, "a", "b"), ""),
    (history("the task", "a", "b", system="system " * 300), ""),
    (SHORT, "rule " * 300), ([], "rule " * 300),
], ids=["task", "system", "fixed", "no history"])
def test_what_may_not_be_cut_and_is_too_long_fails_the_item(long, fixed):
    with pytest.raises(ItemFailed, match="max_prompt_tokens"):
        fit(long, 300, fixed=fixed, patches=(patch_of("a.py"),))


def split(messages) -> tuple[list, list]:
    """Return (system and task, the rest)."""
    n_head = next((i + 1 for i, m in enumerate(messages) if m["role"] != "system"), len(messages))
    return messages[:n_head], messages[n_head:]


def floor(messages, patches) -> int:
    """Count the tokens of the shortest request that may be made of these."""
    head, rest = split(messages)
    marker = 2 * (MESSAGE_TOKENS + 30) if len(rest) > 2 else 0
    half = MIN_BODY_CHARS // 2
    bodies = [min(text, text[:half] + "…" * 20 + text[-half:], key=estimate_tokens)
              for text in (m["content"] for m in rest[-2:])]
    n_files = sum(max(1, patch.count("diff --git ")) for patch in patches if patch)
    n_bodies = sum(estimate_tokens(body) + MESSAGE_TOKENS for body in bodies)
    return size(head) + marker + n_bodies + 40 * n_files


def assert_fit(messages, limit, fixed="", patches=()):
    """Check all that fit() promises, for one case."""
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
    assert bool(fitted.cut) == (size(messages, fixed, patches) > limit)   # what fits is left
    head, _ = split(messages)
    fitted_head, fitted_rest = fitted.messages[:len(head)], fitted.messages[len(head):]
    roles = [m["role"] for m in fitted.messages]
    assert fitted_head == head and all(a != b for a, b in itertools.pairwise(roles))
    assert roles[-2:] == [m["role"] for m in messages[-2:]]
    if fitted.patches != list(patches):   # the history gave all it could
        assert len(fitted_rest) <= 4
        for cut in fitted_rest[-2:]:
            assert len(cut["content"]) <= MIN_BODY_CHARS + 60


TEXTS = {"ascii": "lorem ipsum ", "accents": "größe à côté ", "cjk": "数据训练", "emoji": "🙂🙃"}


@pytest.mark.parametrize("seed", range(40))
def test_any_history_fits_whole_or_fails_rightly(seed):
    rng = random.Random(seed)

    def body():
        text = TEXTS[rng.choice(list(TEXTS))]
        return text * int(rng.paretovariate(0.8))
    messages = history(body()[:300], *[body()[:6000] for _ in range(rng.randrange(24))],
                       system=rng.choice(["", "You are an agent."]))
    patches = tuple(patch_of(*[f"f{i}.py" for i in range(rng.randrange(5))],
                             lines=rng.randrange(1, 60))
                    for _ in range(2))
    for _ in range(12):
        fixed = rng.choice(["", "rule " * 30])
        whole = size(messages, fixed, patches)
        for limit in (rng.randrange(50, whole + 100), whole, whole - 1):
            assert_fit(messages, limit, fixed, patches)


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


# in the scripts ----------------------------------------------------------------------------------

@pytest.fixture
def trimmed(tmp_path, fake_llm):
    """Return a function that runs a script on a prompt with a long history and returns its ledger
    line.
    """
    def run(main, limit: int) -> dict:
        if main is king.main:
            tmp_path.with_prompts(1, messages=turns(30))
        tmp_path.with_settings({"max_prompt_tokens": limit})
        run_here(main, tmp_path, *flags_for(fake_llm, "--force"))
        return ledger_lines(tmp_path / "answer")[-1]
    return run


def test_king_sends_what_fits_and_the_ledger_says_what_was_cut_and_the_record_is_whole(
        trimmed, tmp_path, fake_llm, capsys):
    assert re.fullmatch(r"\d+ of 32 messages", trimmed(king.main, 900)["cut"])
    assert "cut to fit" in capsys.readouterr().err
    [request] = fake_llm.requests
    assert size(request.messages) <= 900 and "left out here" in request.text
    assert read_answer(tmp_path, "prompts_1_1_1")["messages"] == turns(30)


def test_ch_cuts_history_then_patch_and_never_issue_description_or_files_and_the_ledger_says_so(
        trimmed, tmp_path, fake_llm):
    kept = {"issue": "ISSUE " * 100, "description": "DESCRIPTION " * 50,
            "files": ["a.py", "b.py", "test_a.py"]}
    tmp_path.with_commits(1, patch=patch_of("a.py", "b.py", lines=200),
                          test_patch=patch_of("test_a.py", lines=200), **kept)
    trimmed(king.main, 0)
    for limit, cut, left in ((4500, "28 of 32 messages, 1 files of the patch", ["a.py", "b.py"]),
                             (2250, "28 of 32 messages, 3 files of the patch", [])):
        assert trimmed(ch.main, limit)["cut"] == cut
        request = fake_llm.requests[-1]
        assert size(request.messages) <= limit and "the task" in request.text
        assert [name for name in kept["files"] if f"+line of {name}\n" in request.text] == left
        assert kept["issue"] in request.text and kept["description"] in request.text
        assert "\na.py\nb.py\ntest_a.py\n" in request.text
