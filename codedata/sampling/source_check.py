"""Report what of a source can be used: its forms, its turns with the reasons against them, and the
PRs that there are records of. Nothing is written, and no model is asked.
"""
from __future__ import annotations

from collections import Counter

from codedata.code.turn import turn_text
from codedata.errors import Trouble
from codedata.progress import plural, say
from codedata.sampling.draw import prompt_problem, prompts_of
from codedata.sampling.pull_requests import fetch_prs
from codedata.sampling.trajectories import Hub, Trajectories, open_source
from codedata.settings import Settings
from codedata.texts import printable

MAX_ROWS = 2000
STEP = 100          # rows to read at a time
MAX_CHARS = 300     # of a turn that is shown


def check_source(settings: Settings, http) -> int:
    """Print the report on [prompt] source; return 0 if it has a usable turn, else 1."""
    prompt = settings.prompt
    hub = Hub(http, settings.hf_token, prompt.rows_url, prompt.hub_url)
    source = open_source(prompt.source, hub, prompt.split, prompt.config)
    n_read = min(source.n_rows, MAX_ROWS)
    rest = f", the first of {source.n_rows:,}" if n_read < source.n_rows else ""
    say(f"prompt  {prompt.source}   {plural(n_read, 'row')} read{rest}")
    ids = _report_turns(source, n_read, settings)
    if not ids:
        say("      docs/data.md has a row of each form.")
        return 1
    try:
        records, problems = fetch_prs(prompt.prs, ids, hub)
    except Trouble as e:
        say(f"      PRs: {e}")
        return 0
    missing = next((name for name in ids if name not in records), None)
    reason = problems.get(missing, "no record")
    first = f"; the first without: {missing} ({reason})" if missing else ""
    say(f"      PRs: {len(records):,} of {plural(len(ids), 'instance')} in {prompt.prs}{first}")
    return 0


def _report_turns(source: Trajectories, n_read: int, settings: Settings) -> list[str]:
    """Print what the first rows hold; return the ids of the instances with usable turns."""
    n_rows: Counter[str] = Counter()     # by form
    n_turns: Counter[str] = Counter()
    n_usable: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    first: dict[bool, str] = {}          # turn that is usable, and that is not
    ids: dict[str, None] = {}
    for row in (row for start in range(0, n_read, STEP)
                for row in source.rows(start, min(STEP, n_read - start))):
        form = row["agent"] or ("unknown form" if "problem" in row else "rows")
        n_rows[form] += 1
        prompts, problem = prompts_of(row)
        n_turns[form] += len(prompts)
        if problem:
            reasons[problem] += 1
            first.setdefault(False, f"{row['instance_id']}: {problem}")
        for prompt in prompts:
            problem = prompt_problem(prompt, settings.prompt, settings.exclude)
            reasons[problem or ""] += 1
            if not problem:
                n_usable[form] += 1
                ids[prompt.instance_id] = None
            text = printable(turn_text(prompt.assistant), MAX_CHARS)
            why = f": {problem}" if problem else ""
            first.setdefault(not problem, f"{prompt.instance_id}, turn {prompt.turn}{why}\n"
                                          f"        {text}")
    for form, n in n_rows.most_common():
        say(f"      {form}: {plural(n, 'row')}, {n_usable[form]:,} of "
            f"{plural(n_turns[form], 'turn')} usable")
    for problem, n in reasons.most_common():
        if problem:
            say(f"      not usable: {n:,} ({problem})")
    if source.unread:
        say(f"      {source.unread}")
    say(f"      the first usable: {first.get(True, 'none')}")
    say(f"      the first refused: {first.get(False, 'none')}")
    return [*ids]
