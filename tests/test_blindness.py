"""The king is blind, the challenger is not, and nobody sees the reference."""
import json
import re

from conftest import flags_for, run_script, turn_of, write_commits, write_prompts

FIELDS = ("issue", "description", "files", "patch", "test_patch")


def marked(field: str, i: int) -> str:
    return f"MARK-{field}-{i}-KRAM"


def plant(root, n: int) -> None:
    write_prompts(root, n)
    write_commits(root, n)
    for i in range(1, n + 1):
        path = root / "commit" / f"proj__repo-{i}.json"
        record = json.loads(path.read_text())
        for field in FIELDS:
            record[field] = [marked(field, i)] if field == "files" else f"{record[field]} {marked(field, i)}"
        path.write_text(json.dumps(record))


def test_no_mark_of_the_pull_request_is_in_any_request_of_the_king(tmp_path, fake_llm):
    plant(tmp_path, 6)
    assert run_script("king.py", tmp_path, *flags_for(fake_llm)).returncode == 0
    assert fake_llm.n_requests == 6
    assert not [r for r in fake_llm.requests if b"MARK" in r.raw or b"KRAM" in r.raw]


def test_no_mark_of_it_is_in_any_request_of_the_placebo_nor_of_the_blind_candidates(tmp_path, fake_llm):
    plant(tmp_path, 3)
    run_script("king.py", tmp_path, *flags_for(fake_llm))
    fake_llm.requests.clear()
    assert run_script("ch.py", tmp_path, "--how", "placebo", *flags_for(fake_llm)).returncode == 0
    assert fake_llm.n_requests == 3 and not [r for r in fake_llm.requests if b"MARK" in r.raw]
    fake_llm.requests.clear()
    fake_llm.always(lambda r: '{"why": "good", "choice": 1}' if "Several agents" in r.text else turn_of("ls"))
    assert run_script("ch.py", tmp_path, "--how", "chosen", *flags_for(fake_llm)).returncode == 0
    assert sum(b"MARK" in r.raw for r in fake_llm.requests) == 3 and fake_llm.n_requests == 15


def test_every_mark_of_its_pull_request_is_in_every_request_of_the_challenger(tmp_path, fake_llm):
    plant(tmp_path, 6)
    run_script("king.py", tmp_path, *flags_for(fake_llm))
    fake_llm.requests.clear()
    assert run_script("ch.py", tmp_path, *flags_for(fake_llm)).returncode == 0
    assert fake_llm.n_requests == 6
    for request in fake_llm.requests:
        i = int(re.search(r"task (\d)", request.last)[1])
        assert all(marked(field, i) in request.text for field in FIELDS)
        others = [j for j in range(1, 7) if j != i]
        assert not any(marked(field, j) in request.text for field in FIELDS for j in others)


def test_the_reference_is_in_no_request(tmp_path, fake_llm):
    write_prompts(tmp_path, 4)
    write_commits(tmp_path, 4)
    run_script("king.py", tmp_path, *flags_for(fake_llm))
    run_script("ch.py", tmp_path, *flags_for(fake_llm))
    assert fake_llm.n_requests == 8
    assert not [r for r in fake_llm.requests if b"reference" in r.raw]


def test_the_challenger_is_not_shown_the_king_s_answer(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    write_commits(tmp_path, 1)
    fake_llm.script("THOUGHT: a very royal look.\n\n```bash\nls royal\n```")
    run_script("king.py", tmp_path, *flags_for(fake_llm))
    run_script("ch.py", tmp_path, *flags_for(fake_llm))
    assert b"royal" not in fake_llm.requests[1].raw


def test_the_pull_request_and_the_form_are_the_only_difference(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    write_commits(tmp_path, 1)
    run_script("king.py", tmp_path, *flags_for(fake_llm))
    run_script("ch.py", tmp_path, *flags_for(fake_llm))
    king, challenger = (r.messages for r in fake_llm.requests)
    assert challenger[:-1] == king[:-1]
    task, _, form = king[-1]["content"].partition("\n\n")
    assert task == "task 1" and form.startswith("(Your answer is the next turn") and form in challenger[-1]["content"]
    assert challenger[-1]["content"].startswith("task 1\n\n# Private note")   # caches serve both from one beginning


def test_braces_and_placeholders_in_a_patch_stay_as_they_are(tmp_path, fake_llm):
    write_prompts(tmp_path, 1)
    write_commits(tmp_path, 1, issue="about {patch} and {issue}", patch="+ f'{repo}' {{x}} %s {test_patch}")
    run_script("king.py", tmp_path, *flags_for(fake_llm))
    run_script("ch.py", tmp_path, *flags_for(fake_llm))
    text = fake_llm.requests[1].text
    assert "about {patch} and {issue}" in text and "+ f'{repo}' {{x}} %s {test_patch}" in text
