"""Report what is usable in the first MAX_ROWS rows of a source. For each form, count the
trajectories, the turns, the usable turns, and the refused turns by reason. Count the instances with
a PR record. Write nothing, and call no model.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from codedata.conversation.turn import NO_CALL, WRITTEN_CALL, turn_text
from codedata.errors import Trouble
from codedata.sampling.draw import prompt_problem, prompts_of
from codedata.sampling.pull_requests import fetch_prs
from codedata.sampling.readers.forms import UNNAMED
from codedata.sampling.refusals import ANSWER, NO_BLOCK
from codedata.sampling.session_folders import print_table
from codedata.sampling.trajectories import hub_of, open_source
from codedata.settings import Settings
from codedata.terminal import plural, say
from codedata.texts import printable

MAX_ROWS = 2000
MAX_CHARS = 300     # length of a turn shown to the user


def check_source(settings: Settings, http) -> int:
    """Print the report on [prompt] source. Return 0 if it has a usable turn whose instance has a PR
    record (with --keep-unmatched, any usable turn), else 1."""
    prompt = settings.prompt
    hub = hub_of(settings, http)
    source = open_source(prompt.source, hub, prompt.split, prompt.config,
                         prompt.only_repo)
    print_table(source)
    n_read = min(source.n_rows, MAX_ROWS)
    rest = f", the first of {source.n_rows:,}" if n_read < source.n_rows else ""
    say(f"prompt  {prompt.source}   {plural(n_read, 'row')} read{rest}")
    ids = _report_turns(source.in_pages(n_read), settings)
    if source.unread:
        say(f"      {source.unread}")
    if not ids:
        say("      docs/data.md has a row of each form.")
        return 1
    try:
        records, problems = fetch_prs(prompt.prs, ids, hub, lambda: source.sessions)
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
    # {form: (its numbers, {reason: places})}
    by_form = defaultdict(lambda: (Counter(), defaultdict(list)))
    ids = {}
    for row in rows:
        prompts, problem = prompts_of(row)
        n, refused = by_form[row["agent"]]
        n["trajectories"] += 1
        if problem:
            refused[problem].append(row["instance_id"])
        for prompt in prompts:
            problem = prompt_problem(prompt, settings.prompt, settings.exclude)
            text = turn_text(prompt.assistant)
            place = f"{prompt.instance_id}, turn {prompt.turn}"
            place += f"\n          {printable(text, MAX_CHARS)}"
            # whether the agent only answered in words, which is not a turn
            is_answer = problem == NO_CALL or (str(problem).startswith(NO_BLOCK) and not (
                "```" in text or WRITTEN_CALL.search(text)))
            n["turns"] += not is_answer
            if problem:
                refused[ANSWER if is_answer else problem].append(place)
                continue
            n["usable"] += 1
            ids[prompt.instance_id] = None
    for form, (n, refused) in by_form.items():
        say(f"      {form}: " + ", ".join(
            f"{key} {n[key]:,}" for key in ("trajectories", "turns", "usable")))
        for cause, places in sorted(refused.items(), key=lambda item: -len(item[1])):
            say(f"        refused: {len(places):,} ({cause}), the first: {places[0]}")
    if n_unnamed := sum(name.startswith(UNNAMED) for name in ids):
        say(f"      {n_unnamed:,} without an instance_id: only for the king (--keep-unmatched)")
    return [*ids]
