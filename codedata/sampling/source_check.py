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
from codedata.sampling.trajectories import Hub, open_source
from codedata.settings import Settings
from codedata.texts import printable

MAX_ROWS = 2000
STEP = 100          # rows to read at a time
MAX_CHARS = 300     # of a turn that is shown


class SourceReport:
    """Count rows and turns; `usable` and `refused` are the first of either, as text."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self.n_rows: Counter[str] = Counter()     # by form
        self.n_turns: Counter[str] = Counter()    # by form
        self.n_usable: Counter[str] = Counter()   # by form
        self.problems: Counter[str] = Counter()   # of rows, and of turns
        self.ids: dict[str, None] = {}            # of the usable turns
        self.usable = ""
        self.refused = ""

    def add(self, row: dict) -> None:
        """Count a row and each of its turns."""
        form = row["agent"] or ("unknown form" if "problem" in row else "rows")
        self.n_rows[form] += 1
        prompts, problem = prompts_of(row)
        if problem:
            self.problems[problem] += 1
            self.refused = self.refused or f"{row['instance_id']}: {problem}"
        for prompt in prompts:
            self.n_turns[form] += 1
            shown = f"{prompt.instance_id}, turn {prompt.turn}"
            text = printable(turn_text(prompt.assistant), MAX_CHARS)
            settings = self._settings
            if problem := prompt_problem(prompt, settings.prompt, settings.exclude):
                self.problems[problem] += 1
                self.refused = self.refused or f"{shown}: {problem}\n        {text}"
            else:
                self.n_usable[form] += 1
                self.ids[prompt.instance_id] = None
                self.usable = self.usable or f"{shown}\n        {text}"


def check_source(settings: Settings, http) -> int:
    """Print the report on [prompt] source; return 0 if it has a usable turn, else 1."""
    prompt = settings.prompt
    hub = Hub(http, settings.hf_token, prompt.rows_url, prompt.hub_url)
    source = open_source(prompt.source, hub, prompt.split, prompt.config)
    n_read = min(source.n_rows, MAX_ROWS)
    report = SourceReport(settings)
    for first in range(0, n_read, STEP):
        for row in source.rows(first, min(STEP, n_read - first)):
            report.add(row)
    rest = f", the first of {source.n_rows:,}" if n_read < source.n_rows else ""
    say(f"prompt  {prompt.source}   {plural(n_read, 'row')} read{rest}")
    for form, n in report.n_rows.most_common():
        say(f"      {form}: {plural(n, 'row')}, {report.n_usable[form]:,} of "
            f"{plural(report.n_turns[form], 'turn')} usable")
    for problem, n in report.problems.most_common():
        say(f"      not usable: {n:,} ({problem})")
    if source.unread:
        say(f"      {source.unread}")
    for name, text in (("usable", report.usable), ("refused", report.refused)):
        say(f"      the first {name}: {text or 'none'}")
    if report.ids:
        say(f"      PRs: {_matched(prompt.prs, [*report.ids], hub)}")
    else:
        say("      docs/data.md has a row of each form.")
    return 0 if report.ids else 1


def _matched(prs: str, ids: list[str], hub: Hub) -> str:
    """Return how many instances have a PR record, and the first that has none."""
    try:
        records, problems = fetch_prs(prs, ids, hub)
    except Trouble as e:
        return str(e)
    missing = next((name for name in ids if name not in records), None)
    reason = problems.get(missing, "no record")
    first = f"; the first without: {missing} ({reason})" if missing else ""
    return f"{len(records):,} of {plural(len(ids), 'instance')} in {prs}{first}"
