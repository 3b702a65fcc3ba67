"""Check that roots of text turns are asked for as before tool calls were known: byte for byte.

The table has a digest of all requests of a run. It changes only with a prompt's text, on purpose.
"""
import hashlib
import itertools
import json

from fake_judges import run_main, verdict
from root import a_prompt, turn_of, write_json

import ch
import check_judges
import king
import report
import validate

RUNS = [   # script, flags; number of requests and their digest
    (king, "", "6 2ccbd1efac1f9671"), (ch, "", "6 c76e055be8283bd7"),
    (validate, "", "9 91531a1379dd16d1"), (report, "", "0 e3b0c44298fc1c14"),
    (ch, "--how chosen", "15 b78ca6abc1e2e627"),   # the endpoint ignores n: it is sent once
    (check_judges, "", "108 ea02584bbd82efb9")]
COMMANDS = itertools.cycle(("ls -la", "cat a.py", "make"))
LONG = "seen before and now too long " * 60
REPLIES = {   # a part of the request: the reply
    "Several agents": json.dumps({"why": "It looks.", "choice": 1}),
    "MODEL 1": verdict("00000"), "hedged_claims": json.dumps(
        {"findings": [], "hedged_claims": 0, "leak": False}),
    "the pull request that later solved this task\n":
        turn_of("ls informed", "I know where to look.")}


def reply(request):
    """Answer once in a wrong form, then as the request asks."""
    known = next((text for part, text in REPLIES.items() if part in request.text), None)
    if known:
        return known
    again = "could not be used" in request.last
    return turn_of(next(COMMANDS), "I look around.") if again else "No block here."


def test_requests_of_text_turns_are_what_they_were(tmp_path, fake_llm):
    tmp_path.with_model(fake_llm,
        '[leak]\nmodels = ["auditor"]\n[judge]\nmodels = ["j"]\n[duel]\nmin_turns = 1\n'
        "min_instances = 1\n[king]\nmax_prompt_tokens = 900\n",
        workers=1)
    talk = [{"role": "system", "content": "You run one bash command at a time."},
            {"role": "user", "content": "Fix the parser."},
            *[{"role": role, "content": text} for i in range(4) for role, text in (
                ("assistant", turn_of(f"cat {i}.py", f"Look at {i}.")), ("user", LONG))]]
    write_json(tmp_path / "prompt/p.json", [
        a_prompt(1), a_prompt(2, messages=talk), a_prompt(3, messages=talk[:3])])
    tmp_path.with_commits(3)
    fake_llm.always(reply)
    found = []
    for script, flags, _ in RUNS:
        fake_llm.requests.clear()
        run_main(script.main, tmp_path, *flags.split())
        raw = sorted(request.raw for request in fake_llm.requests)
        found.append(f"{len(raw)} {hashlib.sha256(b'|'.join(raw)).hexdigest()[:16]}")
    assert found == [digest for _, _, digest in RUNS]
