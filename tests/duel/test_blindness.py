"""Check that the king is blind, the challenger is not, and nobody sees the reference."""
import re

from conftest import edit, everything_under, flags_for
from fake_judges import run_main
from root import turn_of

import ch
import king

FIELDS = ("issue", "description", "files", "patch", "test_patch")


def marked(field: str, i: int) -> str:
    return f"MARK-{field}-{i}-KRAM"


def answers(root, fake, n: int) -> None:
    """Write `n` turns that the king has answered, with marks in each field of the pull requests."""
    root.with_prompts(n).with_commits(n)
    for i in range(1, n + 1):
        edit(root / f"commit/proj__repo-{i}.json", lambda record, i=i: record.update(
            {field: f"{record[field]} {marked(field, i)}" for field in FIELDS},
            files=[marked("files", i)]))
    asked(root, fake, king)


def asked(root, fake, script, *flags) -> list:
    """Return the requests of a run, and no earlier ones."""
    fake.requests.clear()
    run_main(script.main, root, *flags_for(fake, *flags))
    return fake.requests


def test_no_mark_of_it_is_in_any_request_of_the_blind_candidates(
        tmp_path, fake_llm):
    answers(tmp_path, fake_llm, 3)
    fake_llm.always(
        lambda r: '{"why": "good", "choice": 2}' if "Several agents" in r.text else turn_of("ls"))
    requests = asked(tmp_path, fake_llm, ch, "--how=chosen")
    assert sum(b"MARK" in r.raw for r in requests) == 6 and len(requests) == 12
    assert {(b"MARK" in r.raw, r.body["temperature"]) for r in requests} == {
        (False, 1.0), (True, 0.0)}


def test_marks_of_a_pull_request_are_in_no_request_of_the_king_and_in_all_of_its_challenger(
        tmp_path, fake_llm):
    fake_llm.script("THOUGHT: a very royal look.\n\n```bash\nls royal\n```")
    answers(tmp_path, fake_llm, 6)
    assert fake_llm.n_requests == 6 and not [r for r in fake_llm.requests
                                             if re.search(b"MARK|KRAM|reference", r.raw)]
    assert len(asked(tmp_path, fake_llm, ch)) == 6
    assert not [r for r in fake_llm.requests if re.search(b"royal|reference", r.raw)]
    for request in fake_llm.requests:
        i = int(re.search(r"task (\d)", request.last)[1])
        for field in FIELDS:
            assert [j for j in range(1, 7) if marked(field, j) in request.text] == [i]


def test_the_pull_request_and_the_form_are_the_only_difference(tmp_path, fake_llm):
    answers(tmp_path, fake_llm, 1)
    king_s = fake_llm.requests[0].messages
    challenger_s = asked(tmp_path, fake_llm, ch)[0].messages
    assert challenger_s[:-1] == king_s[:-1]
    task, _, form = king_s[-1]["content"].partition("\n\n")
    assert task == "task 1"
    assert form.startswith("(Your answer is the next turn")
    assert form in challenger_s[-1]["content"]
    # caches serve both from one beginning
    assert challenger_s[-1]["content"].startswith("task 1\n\n# Private note")


def test_the_king_learns_that_a_pull_request_is_oversized_and_nothing_else_of_it(
        tmp_path, fake_llm):
    tmp_path.with_prompts(4).with_commits(4)
    for i, change in ((1, {"patch": "KRAM" * 12_501}), (2, {"patch": "KRAM" * 12_500}),
                      (3, {"test_patch": "KRAM" * 13_000})):
        edit(tmp_path / f"commit/proj__repo-{i}.json", **change)
    (tmp_path / "commit/proj__repo-4.json").write_text("KRAM is not JSON " * 3_000)
    (tmp_path / "commit/nowhere.json").symlink_to("gone")
    printed = run_main(king.main, tmp_path, *flags_for(fake_llm))
    assert "left out: 1 (oversized PR)" in printed and fake_llm.n_requests == 3
    edit(tmp_path / "commit/proj__repo-1.json", patch="KRAM")
    assert [r.last[:6] for r in asked(tmp_path, fake_llm, king)] == ["task 1"]   # below the limit
    assert "KRAM" not in printed + everything_under(tmp_path / "answer")
    edit(tmp_path / "commit/proj__repo-1.json", patch="KRAM" * 12_501)
    assert "done 4" in run_main(king.main, tmp_path, *flags_for(fake_llm))   # what is there stays
    printed = run_main(ch.main, tmp_path, *flags_for(fake_llm), code=1)
    assert "excluded 1" in printed and "is not readable JSON" in printed
    assert {r.last[:6] for r in fake_llm.requests[1:]} == {"task 2", "task 3"}
