"""Gather the content that report.md and the page of a root both show."""
from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson

from codedata.bounded import read_bounded
from codedata.conversation.bash_commands import INSTALL, UNKNOWN
from codedata.duel.judge_stats import doubts, share
from codedata.export.folders import read_manifest
from codedata.export.make_exports import ALL_FORMATS
from codedata.llm.costs import Cost, spending
from codedata.llm.embedded import NOISE
from codedata.records import METRICS, Duel, JudgeStatistics, Share
from codedata.report.buckets import score_ranges
from codedata.report.turn_rows import DRAW, ReportTurns, TurnRow
from codedata.settings import EMBEDDED_MODEL
from codedata.terminal import Spending, plural
from codedata.texts import text_of

Table = tuple[list[str], list[list[str]], str]   # columns, rows, l, r or p (score) per column
# (heading, items: a sentence of ours, a list of untrusted lines, or a table)
Section = tuple[str, list[str | list[str] | Table]]
MIN_KINGS = 20             # minimum number of judged kings for a rate of false alarms
MAX_FALSE_ALARMS = 0.05    # a leak judge is not trusted if the interval's lower end is above this


def outcome(duel: Duel) -> str:
    """Return the outcome in one sentence."""
    why = "; ".join(duel.reasons) or (
        f"at least {duel.win_margin:g} wanted, and more than chance")
    verdict = "✓ Accepted" if duel.accepted else "✗ Not accepted"
    if duel.margin is None:
        return f"{verdict}: {why}."
    return (f"{verdict}: the challenger’s lead over the {duel.mode} is "
            f"{number(duel.margin, 2)} points in {plural(duel.turns, 'turn')}; {why}.")


def warnings(turns: ReportTurns) -> list[str]:
    """Return sentences on why the outcome may not be what it seems."""
    duel = turns.duel
    outdated = ["The duel was decided on other verdicts than the records hold now: run "
                "validate.py."] if turns.outdated else []
    noise = [f"Noise: the verdicts are {NOISE}."] if EMBEDDED_MODEL in duel.models else []
    return outdated + [f"Doubtful: {doubt}." for doubt in doubts(duel)] + noise


def made(root: Path, path: str) -> str:
    """Return in Markdown the number of rows of each exported set, linked to its card, and the cost
    of all calls. `path` is the relative path to the root."""
    rows = {name: read_manifest(root / "export" / name).get("rows") for name in ALL_FORMATS}
    sets = [f"[{name}]({path}/export/{name}/README.md) {' + '.join(map(str, n.values()))}"
            for name, n in rows.items() if isinstance(n, dict)]
    total = spending(root)
    return (f"Sets in export/ (rows for training + validation): {', '.join(sets) or 'none'}. "
            f"All {plural(total.n_calls, 'call')} of this root: {total}.")


def figures(turns: ReportTurns, costs: list[Cost]) -> list[Section]:
    """Return the sections with the figures of a duel, in the order of the report, without empty
    ones."""
    duel, rows, lines = turns.duel, turns.rows, trials(turns.root)
    *counted, (none, _) = counts(turns)
    n = Counter(row.label for row in rows)
    buckets = [[name, scores, str(n[name])]
               for name, scores in score_ranges(turns.thresholds).items()]
    sections = [
        ("Points and turns", [points(duel), (["", "turns"], [*map(list, counted)], "lr"),
                              f"0 turns: {none}."]),
        ("Buckets", [(["bucket", "score", "turns"], buckets, "llr")]
         if duel.mode == "king" else []),
        ("Judges", [judges(duel)]),
        ("How the judges judge", how_judges_judge(duel)),
        ("Trials of the judges", [lines] if lines else []),
        *running(rows), *leak_sections(rows),
        ("Costs", [costs_table(costs)] if costs else [])]
    return [(heading, [*filter(None, items)]) for heading, items in sections if items]


def costs_table(costs: list[Cost]) -> Table:
    """Return the costs by stage and model."""
    rows = [[cost.stage, cost.model, f"{cost.n_calls:,}", f"{cost.tokens_in:,}",
             f"{cost.tokens_out:,}", str(cost)] for cost in costs]
    return ["stage", "model", "calls", "tokens in", "tokens out", "cost"], rows, "llrrrr"


def points(duel: Duel) -> Table | None:
    """Return the points of both sides and the margin; None if the duel has none."""
    if duel.margin is None:
        return None
    low, high = duel.interval
    rows = [["challenger", number(duel.challenger_score, 2)],
            [duel.mode, number(duel.rival_score, 2)],
            ["margin", f"{duel.margin:.2f}, at least {duel.win_margin:g} wanted "
                       f"(95 %: {low:.2f} to {high:.2f})"],
            ["LCB", f"{duel.lcb:.2f}, more than 0 wanted ({duel.gate_alpha:g} quantile of "
                    f"the margins of {duel.resamples:,} resamples of the {duel.instances:,} "
                    f"instances, seed {duel.seed}); a turn without a verdict counts as lost"]]
    return ["", "points"], rows, "ll"


def judges(duel: Duel) -> Table:
    """Return the challenger's scores by judge, and by all of them."""
    results = [(name, judge.score, judge.parse_rate, judge.metrics)
               for name, judge in duel.judges.items()]
    if len(results) > 1:
        results.append(("all", duel.challenger_score, duel.parsed_frac, duel.metrics))
    rows = [[name, number(score), f"{100 * read:.1f} %", *by_metric(metrics)]
            for name, score, read, metrics in results]
    return ["judge", "score", "verdicts read", *METRICS], rows, "lpr" + "p" * len(METRICS)


def how_judges_judge(duel: Duel) -> list[str | Table]:
    """Return the figures on each judge; [] if they were not computed."""
    panel = duel.panel
    if not panel:
        return []
    rows = [[name, percent_text(judge["changes_with_order"]), percent_text(judge["prefers_first"]),
             _same_family(judge),
             *(str(sum(judge["calls"][key] for key in keys)) for keys in (
                 ["replies"], ["errors", "unread"], ["retries", "throttled"], ["timeouts"]))]
            for name, judge in panel["judges"].items()]
    columns = ["judge", "changes with the order", "prefers the first",
               "versus other judges", "replies", "failed or unread", "retries", "time-outs"]
    items = [text_of("codedata.report", "panel.md").strip(), (columns, rows, "lrrrrrrr")]
    if any(alpha is not None for alpha in panel["alpha"].values()):
        alphas = [["Krippendorff's alpha", *by_metric(panel["alpha"], 2)]]
        items.append((["agreement of the judges", *METRICS], alphas, "l" + "r" * len(METRICS)))
    return items


def _same_family(judge: JudgeStatistics) -> str:
    if not judge.get("kin_of"):
        return ""
    sides = " and ".join(f"the {side}'s" for side in judge["kin_of"])
    text = f"same family as {sides} model"
    compared = judge["beside_the_others"]
    return f"{text}: {interval_text(compared['difference'], 1)}" if compared else text


def by_metric(values: dict[str, float | None], digits: int = 1) -> list[str]:
    """Return the values of all metrics as texts."""
    return [number(values.get(metric), digits) for metric in METRICS]


def number(value: float | None, digits: int = 1) -> str:
    """Return a number as text, "-" for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def counts(turns: ReportTurns) -> list[tuple[str, str]]:
    """Return (kind, number) for each kind of turn that the duel counts or leaves out; the last row
    joins all kinds without a turn."""
    duel, rows, plan = turns.duel, turns.rows, turns.state.plan
    rival = duel.mode
    n_drawn = sum("ch left it out" in why for why in plan.reasons.values())
    unread = [row for row in rows if row.score is None or (rival == "king" and not row.bucket)]
    parsed = f" ({100 * duel.parsed_frac:.1f} %)" if duel.turns else ""
    numbers = {
        "judged": len(rows), "every judge's verdict could be read": (
            duel.turns_parsed and f"{duel.turns_parsed}{parsed}"),
        "no verdict could be read (not exported)": len(unread),
        "both sides do the same: a draw without a judge": sum(row.by_program for row in rows),
        "not judged yet": turns.state.turns_left,
        "answer records without both sides": len(plan.lacking),
        "no challenger was picked: a draw, which the margin leaves out (over all turns it is "
        f"{(duel.margin or 0) * duel.turns / max(1, duel.turns + n_drawn):.2f})": n_drawn,
        "left out by a rule": len(plan.names["excluded"]),
        "broken records": len(turns.broken) + len(plan.broken),
        "scores whose answer is gone": len(plan.names["orphan"]),
        "an answer speaks to its judge (kept out of final/)":
            sum(bool(row.injections) for row in rows),
        "the challenger shows what it cannot know (kept out of final/)":
            sum(bool(row.leaks.found) for row in rows),
        "without a PR record, so leaks cannot be detected":
            sum(row.leaks.found is None for row in rows),
        "without a leak judge's verdict (kept out of final/): run validate.py":
            sum(row.leaks.lacks_verdict for row in rows),
        "score was edited: it is not what the verdicts give": len(turns.edited)}
    none = [kind for kind, n in numbers.items() if not n]
    return [*((kind, str(n)) for kind, n in numbers.items() if n), ("; ".join(none), "0")]


def running(rows: list[TurnRow]) -> list[Section]:
    """Return the section on whether judges prefer the side that passes more hidden tests."""
    ran = [row for row in rows if row.n_passed]
    differ = [row for row in ran if row.score is not None and len(set(row.n_passed)) > 1]
    wrong = [(row.instance_id, (row.score - DRAW) * (row.n_passed[1] - row.n_passed[0]) < 0, 1)
             for row in differ]
    text = "No turn was run: run_turns.py shows the judges what both sides print and change."
    if ran:
        text = f"Both sides were run in {len(ran)} of {plural(len(rows), 'turn')}."
    if differ:
        n_wrong = sum(is_wrong for _, is_wrong, _ in wrong)
        text += (f" In {len(differ)} of them one side passes more hidden tests than the other; the "
                 f"judges prefer the one with fewer in {n_wrong}: {percent_text(share(wrong))}.")
    return [("Reading and running", [text])] if rows else []


def trials(root: Path) -> list[str]:
    """Return the summary lines of check_judges.py, for the checks that have run."""
    lines = []
    for kind in ("probe", "sanity"):
        try:
            summary = orjson.loads(read_bounded(root / kind / f"_{kind}.json"))
            lines += map(str, summary["said"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return lines


def interval_text(share: Share | None, factor: float = 100, unit: str = "") -> str:
    """Return a figure with its interval as text, "-" for None."""
    if share is None:
        return "-"
    value, low, high = (f"{factor * share[key]:.1f}" for key in ("value", "low", "high"))
    return f"{value}{unit} ({low} to {high})"


def percent_text(share: Share | None) -> str:
    """Return a share with its interval as text, in percent."""
    return interval_text(share, unit=" %")


# leaks: what leak judges found, and how far they can be trusted -----------------------------------

def leak_sections(rows: list[TurnRow]) -> list[Section]:
    """Return the sections on leaks and on unread commands, in the order of the report."""
    unread = f"What the commands do is not known: the reader of bash is not installed: {INSTALL}"
    return [("Leaks", _leaks(rows)),
            ("Steps", [unread] if any(UNKNOWN in row.styles for row in rows) else [])]


def _leaks(rows: list[TurnRow]) -> list:
    """Return the shares of turns with leaks and of kings with false alarms, by kind of leak."""
    # checked by every leak judge
    judged = [row for row in rows if row.leaks.found is not None and not row.leaks.lacks_verdict]
    if not judged:
        return []
    kings = [row for row in rows if row.leaks.of_king is not None]
    kinds = sorted({one["kind"] for row in rows
                    for one in (*(row.leaks.found or ()), *(row.leaks.of_king or ()))})
    lines = [[kind or "any", percent_text(_share(judged, "found", kind)),
              percent_text(_share(kings, "of_king", kind))] for kind in ("", *kinds)]
    items = [(["kind", f"challengers that leak (of {len(judged)})",
               f"kings with the same finding (of {len(kings)}): false alarms"], lines, "lrr")]
    alarms = _share(kings, "of_king")
    if 0 < len(kings) < MIN_KINGS:
        items.append(f"only {plural(len(kings), 'king')} checked: too few to say how often the "
                     "leak judge is wrong.")
    elif alarms and alarms["low"] > MAX_FALSE_ALARMS:
        items.append("**The leak judge cannot be trusted: it finds leaks in kings, although "
                     "they do not know the solution.**")
    costs = [row.leaks.cost_usd for row in rows if row.leaks.cost_usd is not None]
    items.append("The verdicts on these turns: "
                 f"{Spending(len(rows), len(rows) - len(costs), sum(costs))}.")
    return items + _refused(rows)


def _refused(rows: list[TurnRow]) -> list[str]:
    """Return [a sentence on the turns that were asked for again], or []."""
    again = [row for row in rows if row.leaks.asked_again]
    if not again:
        return []
    wins = [row for row in rows if (row.score or 0) > 50]
    kinds = Counter(one["kind"] for row in again for attempt in row.leaks.tries()
                    for one in attempt["findings"])
    listed = ", ".join(f"{kind} {n}" for kind, n in kinds.most_common())
    n_calls = sum(row.leaks.asked_again for row in again)
    n_won = sum(bool(row.leaks.asked_again) for row in wins)
    return [f"Asked for again because of leaks: {plural(len(again), 'turn')} "
            f"({plural(n_calls, 'call')}); {n_won} of the {plural(len(wins), 'turn')} that the "
            "challenger wins are among them." + (f" Found, by kind: {listed}." if listed else "")]


def _share(rows: list[TurnRow], field: str, kind: str = "") -> Share | None:
    """Return the share of the rows that have a finding of this kind, or of any, in `field`."""
    return share([(row.instance_id, any(kind in ("", one["kind"])
                                        for one in getattr(row.leaks, field)), 1) for row in rows])
