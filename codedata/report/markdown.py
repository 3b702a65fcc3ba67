"""Build report.md, the report on a duel, and hugePR.md, the list of oversized pull requests."""
from __future__ import annotations

from pathlib import Path

import orjson

from codedata.bounded import read_bounded
from codedata.llm.costs import Cost
from codedata.llm.embedded import NOISE
from codedata.progress import plural, table
from codedata.records import METRICS
from codedata.report.pr_effect import Section
from codedata.report.turn_rows import ReportTurns, TurnRow
from codedata.settings import EMBEDDED_MODEL, Settings
from codedata.texts import text_of


def markdown(settings: Settings, turns: ReportTurns, costs: list[Cost], sections: list[Section]) -> str:
    """Return the text of report.md."""
    duel, rival = turns.duel, turns.duel["mode"]
    parts = [f"# Challenger against {rival}", _verdict(duel)]
    if turns.outdated:
        parts.append("**The verdicts in the records are others than this was decided on: run validate.py.**")
    if any(judge["model"] == EMBEDDED_MODEL for judge in duel["judges"].values()):
        parts.append(f"**Noise: the verdicts are {NOISE}.**")
    parts.append(table(["", "turns"], counts(turns, settings), "lr"))
    if rival == "king":
        parts += ["## Buckets", _buckets(settings, turns), *refined(turns)]
    parts += ["## Judges", _judges(duel), *_panel(duel.get("panel"))]
    if said := trials(settings.root):
        parts += ["### Trials of the judges", "\n".join(f"- {line}" for line in said)]
    for heading, items in sections:
        parts += [f"## {heading}", *(item if isinstance(item, str) else table(*item) for item in items)]
    parts += ["## Languages", _languages(turns.rows), "## Costs", _costs(costs)]
    parts += ["## Turns", f"Scores are the challenger's, from 0 to 100. The step is what {rival} does → what the "
              "challenger does.", _turns(turns.rows)]
    return "\n\n".join(parts) + "\n"


def huge_markdown(prs: list[dict], settings: Settings) -> str:
    """Return the text of hugePR.md, with one table row per oversized pull request."""
    limit = settings.exclude.max_patch_chars
    head = (f"# Oversized pull requests\n\nLeft out by prompt.py for a patch that is longer than `[exclude] "
            f"max_patch_chars` ({f'{limit:,} now' if limit else 'no limit now'}): {len(prs)}.\n")
    rows = [[pr["instance_id"], pr.get("repo", ""), pr.get("language", ""), f"{pr.get('patch_chars', 0):,}",
             f"{pr.get('n_files', 0):,}", pr.get("created_at") or ""] for pr in prs]
    columns = ["instance", "repository", "language", "characters", "files", "created"]
    return head + ("\n" + table(columns, rows, "lllrrl") + "\n" if prs else "")


def _verdict(duel: dict) -> str:
    if duel["margin"] is None:
        return f"**Not accepted:** {'; '.join(duel['reasons'])}."
    rival = duel["mode"]
    said = "**Accepted.**" if duel["accepted"] else f"**Not accepted:** {'; '.join(duel['reasons'])}."
    low, high = duel["interval"]
    drawn = f"{duel['instances']:,} instances" if duel["bootstrap"] == "cluster" else f"{duel['turns']:,} turns"
    rows = [["challenger", f"{duel['challenger_score']:.2f}"], [rival, f"{duel[f'{rival}_score']:.2f}"],
            ["margin", f"{duel['margin']:.2f}, at least {duel['win_margin']:g} wanted (95 %: {low:.2f} to {high:.2f})"],
            ["LCB", f"{duel['lcb']:.4f}, more than 0 wanted ({duel['gate_alpha']:g} quantile of the means of "
                    f"{duel['resamples']:,} resamples of the {drawn}, seed {duel['seed']}); by turns "
                    f"{duel['lcb_turn']:.4f}, by instances {duel['lcb_cluster']:.4f}"]]
    if duel.get("classic") and duel["classic"]["margin"] is not None:
        classic = duel["classic"]
        rows.append(["asked once, " + f"{rival} first", f"margin {classic['margin']:.2f}, LCB {classic['lcb']:.4f}: "
                     f"{'accepted' if classic['accepted'] else 'not accepted'}"])
    return said + "\n\n" + table(["", "points"], rows, "ll")


def counts(turns: ReportTurns, settings: Settings) -> list[list[str]]:
    """Return [kind, number] for each kind of turn that the duel counts or leaves out."""
    duel, rival, now, plan = turns.duel, turns.duel["mode"], turns.now, turns.now.plan
    unread = sum(row.score is None or not row.bucket for row in turns.rows) if duel["mode"] == "king" else sum(
        row.score is None for row in turns.rows)
    share = f" ({100 * duel['parsed_frac']:.1f} %)" if duel["turns"] else ""
    barred = "" if settings.report.keep_flagged else " (kept out of final/)"
    kinds = {"judged": len(turns.rows), "every judge's verdict could be read": f"{duel['turns_parsed']}{share}",
              "no verdict could be read (not exported)": unread, "not judged yet": now.turns_left,
              "answer records without both sides": len(plan.lacking),
              "left out by a rule": len(plan.names["excluded"]), "broken records": turns.broken + len(plan.broken),
              "scores whose answer is gone": len(plan.names["orphan"]),
              f"an answer speaks to its judge{barred}": sum(bool(row.injections) for row in turns.rows),
              f"the challenger shows what it cannot know{barred}": sum(row.is_leaky for row in turns.rows),
              "without a PR record, so nobody can tell what it cannot know": sum(
                  row.leaks is None for row in turns.rows),
              f"without a leak judge's verdict{barred}: run validate.py": sum(row.lacks_verdict for row in turns.rows),
              "the challenger repeats a step or stalls": sum("challenger" in row.repeats for row in turns.rows),
              f"the {rival} repeats a step or stalls": sum(rival in row.repeats for row in turns.rows),
              "`score` edited: it is not what the verdicts say": len(turns.edited)}
    return [[kind, str(n)] for kind, n in kinds.items()]


def _buckets(settings: Settings, turns: ReportTurns) -> str:
    low, high = settings.report.defeat_min, settings.report.final_min
    scores = {"final": f"{high:g} and more", "refined": f"{low:g} up to {high:g}", "defeat": f"below {low:g}"}
    return table(["bucket", "score", "turns"], [[f"{name}/", said, str(turns.buckets[name])]
                                                for name, said in scores.items()], "llr")


def _judges(duel: dict) -> str:
    rows = [[name, _number(judge["score"]), f"{100 * judge['parse_rate']:.1f} %",
             *(_number(judge["metrics"].get(metric)) for metric in METRICS)] for name, judge in duel["judges"].items()]
    if len(rows) > 1:
        rows.append(["all", _number(duel["challenger_score"]), f"{100 * duel['parsed_frac']:.1f} %",
                     *(_number(duel["metrics"].get(metric)) for metric in METRICS)])
    return table(["judge", "score", "verdicts read", *METRICS], rows, "lrr" + "r" * len(METRICS))


def _panel(panel: dict | None) -> list[str]:
    """Return the section on how the judges judge, as Markdown blocks; [] without statistics."""
    if not panel:
        return []
    rows = [[name, _share(judge["changes_with_order"]), _share(judge["prefers_first"]),
             _interval(judge["prefers_longer"], 1, 2), _kin(judge), str(judge["calls"]["replies"]),
             str(judge["calls"]["errors"] + judge["calls"]["unread"]),
             str(judge["calls"]["retries"] + judge["calls"]["throttled"]), str(judge["calls"]["timeouts"])]
            for name, judge in panel["judges"].items()]
    columns = ["judge", "changes with the order", "prefers the first", "prefers the longer", "beside the others",
               "replies", "failed or unread", "retries", "time-outs"]
    alphas = [_number(panel["alpha"][metric], 2) for metric in METRICS]
    votes = panel["effective_votes"]
    agreement = table(["agreement of the judges", *METRICS], [["Krippendorff's alpha", *alphas]],
                      "l" + "r" * len(METRICS)) if any(alpha != "-" for alpha in alphas) else ""
    worth = [f"The panel of {len(rows)} is worth {votes:g} independent votes."] if votes else []
    return ["## How the judges judge", text_of("codedata.report", "panel.md").strip(), table(columns, rows, "lrrrrrrrr"),
            *([agreement] if agreement else []), *worth]


def refined(turns: ReportTurns) -> list[str]:
    """Return [a paragraph on the points gained by --refine], or [] if no turn was replaced."""
    details = {name: detail for (_, name), detail in turns.now.scores.ledger.details.items() if "refined" in detail}
    gains = [detail["score_after"] - (detail["score_before"] or 0.0) for detail in details.values()]
    final = sum(row.bucket == "final" for row in turns.rows if row.name in details)
    if not gains:
        return []
    return [f"{plural(len(gains), 'turn')} replaced by a refined one: {sum(gains) / len(gains):.1f} points more on the "
            f"mean, {final} of them in final/. The best of several attempts owes a part of that to chance."]


def trials(root: Path) -> list[str]:
    """Return the summary lines of validate.py --probe and --sanity, as far as they were run."""
    said = []
    for kind in ("probe", "sanity"):
        try:
            said += map(str, orjson.loads(read_bounded(root / kind / f"_{kind}.json"))["said"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return said


def _interval(share: dict | None, factor: float = 100, digits: int = 1, unit: str = "") -> str:
    if share is None:
        return "-"
    value, low, high = (f"{factor * share[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value}{unit} ({low} to {high})"


def _share(share: dict | None) -> str:
    return _interval(share, unit=" %")


def _kin(judge: dict) -> str:
    if not judge.get("kin_of"):
        return ""
    beside = judge["beside_the_others"]
    return f"kin of {' and '.join(judge['kin_of'])}" + (f": {_interval(beside['difference'], 1)}" if beside else "")


def _languages(rows: list[TurnRow]) -> str:
    kinds: dict[str, list[TurnRow]] = {}
    for row in rows:
        kinds.setdefault(row.language, []).append(row)
    lines = []
    for language, of in sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0])):
        scores = [row.score for row in of if row.score is not None]
        lines.append([language, str(len(of)), _number(sum(scores) / len(scores) if scores else None),
                      str(sum(row.bucket == "final" for row in of))])
    return table(["language", "turns", "mean score", "final"], lines, "lrrr")


def _costs(costs: list[Cost]) -> str:
    return table(["stage", "model", "calls", "tokens in", "tokens out", "cost"],
                 [[cost.stage, cost.model, f"{cost.calls:,}", f"{cost.tokens_in:,}", f"{cost.tokens_out:,}", cost.said]
                  for cost in costs], "llrrrr")


def _turns(rows: list[TurnRow]) -> str:
    return table(["score", "turn", "bucket", "step", *METRICS, "repeats or stalls", "flags"],
                 [[_number(row.score), row.name, row.bucket or "-", " → ".join(row.styles),
                   *(_number(row.metrics.get(metric)) for metric in METRICS), " and ".join(row.repeats),
                   ", ".join(row.flags)] for row in rows],
                 "rlll" + "r" * len(METRICS) + "ll")


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
