"""Report what can be used of a source: its forms, its turns with the reasons against them, and how
many of its instances have a PR record. Nothing is written, and no model is asked.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from codedata.conversation.turn import turn_text
from codedata.errors import Trouble
from codedata.sampling.draw import prompt_problem, prompts_of
from codedata.sampling.pull_requests import fetch_prs
from codedata.sampling.trajectories import Hub, open_source
from codedata.settings import Settings
from codedata.terminal import plural, say
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
    rows = (row for start in range(0, n_read, STEP)
            for row in source.rows(start, min(STEP, n_read - start)))
    ids = _report_turns(rows, settings)
    if source.unread:
        say(f"      {source.unread}")
    if not ids:
        say("      docs/data.md has a row of each form.")
        return 1
    try:
        records, problems = fetch_prs(prompt.prs, ids, hub)
    except Trouble as e:
        say(f"      PRs in {prompt.prs} (--prs): {e}")
        return 1
    missing = next((name for name in ids if name not in records), None)
    reason = problems.get(missing, "no record")
    first = f"; the first without: {missing} ({reason})" if missing else ""
    say(f"      PRs: {len(records):,} of {plural(len(ids), 'instance')} in {prompt.prs}{first}")
    if not records:
        say('      docs/data.md, "Which pull request": files may have to be renamed.')
    return 0 if records or prompt.keep_unmatched else 1


def _report_turns(rows: Iterable[dict], settings: Settings) -> list[str]:
    """Print the report on the rows; return the ids of the instances with usable turns."""
    by_form: dict[str, Counter] = defaultdict(Counter)
    reasons: Counter[str] = Counter()
    first = {}   # texts on the first turn that is "usable", and the first turn or row "refused"
    ids: dict[str, None] = {}
    for row in rows:
        prompts, problem = prompts_of(row)
        n = by_form[row["agent"]]
        n.update(rows=1, turns=len(prompts))
        if problem:
            reasons[problem] += 1
            first.setdefault("refused", f"{row['instance_id']}: {problem}")
        for prompt in prompts:
            problem = prompt_problem(prompt, settings.prompt, settings.exclude)
            place = f"{prompt.instance_id}, turn {prompt.turn}"
            text = f"\n        {printable(turn_text(prompt.assistant), MAX_CHARS)}"
            if problem:
                reasons[problem] += 1
                first.setdefault("refused", f"{place}: {problem}{text}")
            else:
                n["usable"] += 1
                first.setdefault("usable", place + text)
                ids[prompt.instance_id] = None
    for form, n in by_form.items():
        say(f"      {form}: {plural(n['rows'], 'row')}, {n['usable']:,} of "
            f"{plural(n['turns'], 'turn')} usable")
    for problem, count in reasons.most_common():
        say(f"      not usable: {count:,} ({problem})")
    for kind in ("usable", "refused"):
        say(f"      the first {kind}: {first.get(kind, 'none')}")
    return [*ids]
