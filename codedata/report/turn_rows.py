"""Read the turns of a duel for report.py, with the findings that a program can make on each."""
from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson

from codedata.bounded import read_bounded
from codedata.code.commands import action_style
from codedata.code.no_ops import repeated, stalls
from codedata.code.turn import parse_turn
from codedata.duel.duel_state import RULES, DuelState, duel_record, judged_turn, load_duel_state
from codedata.duel.panel import SCORES, SIDES, Panel
from codedata.duel.scoring import BOTH, KING_FIRST, turn_score
from codedata.errors import BrokenRecord, Trouble
from codedata.leak.cache import KEPT, KING, challenger_leaks, tries_in, verdicts_of
from codedata.leak.facts import shown_share
from codedata.progress import say
from codedata.records import DUEL, Answer, Commit, Score, variant
from codedata.report.buckets import bucket_of, injections
from codedata.report.verdict_codes import letters
from codedata.settings import Settings
from codedata.store import Store

STAGE = "report"
MAYBE = (int, float, type(None))
KINDS = {"mode": str, "order": str, "judges": dict, "metrics": dict, "reasons": list, "accepted": bool, "verdicts": str,
         "challenger_score": MAYBE, "margin": MAYBE, "lcb": MAYBE, "lcb_turn": MAYBE, "lcb_cluster": MAYBE,
         "interval": (list, type(None)), "classic": (dict, type(None)), "bootstrap": str, "panel": dict,
         **dict.fromkeys(("turns", "turns_parsed", "turns_judged", "turns_left", "missing_answers", "instances",
                          "resamples", "seed", "min_turns", "bootstrap_resamples"), int),
         **dict.fromkeys(("parsed_frac", "win_margin", "gate_alpha", "min_valid_turn_frac"), (int, float))}
SIDES_JUDGED = (KING, "challenger")   # the sides that leak judges give verdicts on
SOURCE_FILE = re.compile(r"\b[\w@+-]+\.(?:py|pyx|jsx?|tsx?|mjs|go|rs|c|h|cc|cpp|hpp|java|kt|rb|php|cs|swift|sh)\b")
OLD_RULES = {"min_instances": 0}   # defaults for a _duel.json that an earlier version wrote
SAME = 1e-9   # a score within this distance of the one its verdicts give was not edited


@dataclass(frozen=True)
class TurnRow:
    """Hold one turn as a row of the report's table."""

    name: str
    language: str
    score: float | None
    metrics: dict[str, float]
    styles: tuple[str, str]   # action styles of the commands of the rival and the challenger
    repeats: tuple[str, ...]  # sides whose command is a repeat, or shows and changes nothing
    injections: tuple[dict, ...]   # {side, kind, text} of passages that address the judge
    bucket: str               # directory of its bucket; "" if it has none
    instance_id: str = ""
    repo: str = ""
    commands: tuple[str, str] = ("", "")   # in the same order; "" if a harness would run none
    verdicts: tuple[str, ...] = ()         # letters(), one string for each judge
    files: tuple[str, ...] = ()            # paths of the answer and the score, relative to the root
    is_edited: bool = False                # its score differs from the one that its verdicts give
    leaks: tuple[dict, ...] | None = None  # findings of leaks in the challenger; None: no PR record
    lacks_verdict: bool = False            # a leak judge is configured but has not judged this turn
    king_leaks: tuple[dict, ...] | None = None   # false alarms; None: not judged
    hedged: tuple[float | None, float | None] = (None, None)   # hedged claims, mean
    leak_cost: float | None = None         # cost of its leak verdicts in USD; None: not known
    shown_share: float | None = None       # share of the patch, 0..1, visible in the history
    chars: tuple[int, int] = (0, 0)        # lengths of the turns of the rival and the challenger
    n_new_files: tuple[int, int] = (0, 0)  # source files that only the turns name
    asked_again: int = 0                   # number of times the challenger was refused for leaks
    tries_file: Path | None = None         # file of the tries with their findings

    def tries(self) -> list[dict]:
        """Return the tries that ch.py made for this turn, as stored beside the answers."""
        return tries_in(self.tries_file) if self.tries_file else []

    @property
    def flags(self) -> list[str]:
        """Return the reasons not to train on the turn, whatever its score."""
        said = {"speaks to its judge": self.injections, "shows what it cannot know": self.is_leaky,
                "no leak verdict": self.lacks_verdict}
        return [flag for flag, is_so in said.items() if is_so]

    @property
    def is_leaky(self) -> bool:
        """Return whether a leak was found in the challenger."""
        return bool(self.leaks)


@dataclass
class ReportTurns:
    """Hold the turns of a duel and the stores they were read from."""

    now: DuelState
    duel: dict                                       # _duel.json
    panel: Panel                                     # the panel that decided the duel
    rows: list[TurnRow] = field(default_factory=list)
    commits: Store | None = None
    broken: int = 0
    outdated: bool = False                           # _duel.json was made from other verdicts

    @property
    def buckets(self) -> Counter:
        """Return the number of turns by bucket directory."""
        return Counter(row.bucket for row in self.rows if row.bucket)

    @property
    def edited(self) -> list[str]:
        """Return the names of turns whose `score` differs from the one that their verdicts give."""
        return [row.name for row in self.rows if row.is_edited]


def read_turns(settings: Settings, judge_again: str, how: str = "") -> ReportTurns:
    """Return every turn that counts, in natural order, scored by the panel of _duel.json.

    Broken records are printed and left out. `how` selects a variant of the challenger other than
    the root's own. Raise Trouble if _duel.json is missing or not readable.
    """
    own = settings.duel
    directory = variant(Score, how).directory if how else SCORES[own.mode].directory
    duel = _read_duel(settings.root / directory / DUEL, own.mode, f"Run: {judge_again}")
    panel = Panel(settings, decided=duel, how=how)
    now = load_duel_state(settings, panel)
    turns = ReportTurns(now, duel, panel)
    for e in now.plan.broken.values():
        say(f"{STAGE}.py: {e}")
    commits, judged = Store(settings.root, Commit).open(), []
    turns.commits = commits
    of_other_panels = {*now.plan.names["stale"], *now.plan.names["incomplete"], *now.plan.names["failed"]}
    for name in now.plan.counting:
        try:
            answer, score = now.answers.read(name), now.scores.read(name)
            judged.append(judged_turn(panel, answer, score))
        except BrokenRecord as e:
            say(f"{STAGE}.py: {e}")
            turns.broken += 1
            continue
        meant = turn_score(score.judges, panel.names, panel.order)
        if name in of_other_panels:   # its stored score comes from another panel
            score = replace(score, score=meant.score, metrics=meant.metrics)
        is_edited = (score.score is None) != (meant.score is None) or abs(
            (score.score or 0) - (meant.score or 0)) > SAME
        commit = _commit(commits, answer.instance_id, turns)
        turns.rows.append(_row(name, answer, score, is_edited, commit, turns, settings))
    rules = replace(own, **{key: duel.get(key, OLD_RULES.get(key)) for key in RULES})
    turns.outdated = any(duel.get(key, OLD_RULES.get(key)) != value
                         for key, value in duel_record(rules, panel, judged, now.turns_left).items())
    return turns


def _commit(commits: Store, instance_id: str, turns: ReportTurns) -> Commit | None:
    """Return the PR record of an instance, or None if it is missing or broken."""
    try:
        return commits.read(instance_id) if instance_id in commits else None
    except BrokenRecord as e:   # the turn only loses its language and its leak check
        say(f"{STAGE}.py: {e}")
        turns.broken += 1
    return None


def _row(name: str, answer: Answer, score: Score, is_edited: bool, commit: Commit | None, turns: ReportTurns,
         settings: Settings) -> TurnRow:
    """Return the row of the table for one turn."""
    panel, now = turns.panel, turns.now
    leaks, lacks_verdict = challenger_leaks(settings, answer, score, commit)
    verdicts = {side: verdicts_of(score, side) for side in SIDES_JUDGED}
    asked_again = now.answers.ledger.asked_again.get(("ch", name), 0)
    texts = {panel.rival: getattr(answer, SIDES[panel.rival]), "challenger": answer.challenger}
    sides = {side: parse_turn(text or "") for side, text in texts.items()}   # None: no command
    found = tuple(injections(answer))
    is_flagged = bool(found) or bool(leaks) or lacks_verdict
    known = source_files_in("\n".join(message["content"] for message in answer.messages))
    place = (commit.language, commit.repo) if commit else ("unknown", "unknown")
    return TurnRow(
        name, place[0], score.score, score.metrics,
        styles=tuple(action_style(turn.command) if turn else "none" for turn in sides.values()),
        repeats=tuple(side for side, turn in sides.items() if turn and (
            repeated(turn.command, answer.messages) or stalls(turn.command))),
        injections=found,
        bucket="" if score.score is None else bucket_of(score.score, settings.report, is_flagged).directory,
        instance_id=answer.instance_id, repo=place[1],
        commands=tuple(turn.command if turn else "" for turn in sides.values()),
        verdicts=letters(score.judges, panel.names, panel.order), is_edited=is_edited,
        leaks=None if leaks is None else tuple(leaks), lacks_verdict=lacks_verdict,
        king_leaks=tuple(one for verdict in verdicts[KING] for one in verdict["findings"]) if verdicts[KING] else None,
        hedged=tuple(mean_of(verdict["hedged_claims"] for verdict in verdicts[side]) for side in SIDES_JUDGED),
        leak_cost=sum_of(verdict["usage"].get("cost_usd") for verdict in score.leaks or ()),
        shown_share=shown_share(answer.messages, commit) if commit else None,
        chars=tuple(len(text or "") for text in texts.values()),
        n_new_files=tuple(len(source_files_in(text or "") - known) for text in texts.values()),
        asked_again=asked_again, tries_file=now.answers.path(name).parent / KEPT / f"{name}.json",
        files=tuple(str(store.path(name).relative_to(settings.root)) for store in (now.answers, now.scores)))


def _read_duel(path: Path, mode: str, todo: str) -> dict:
    """Return _duel.json; raise Trouble if it is missing or lacks a field that the report shows."""
    try:
        duel = orjson.loads(read_bounded(path))
        for key, kind in KINDS.items():
            if not isinstance(duel[key], kind):
                raise ValueError(f"`{key}` is {duel[key]!r}")
        if duel["mode"] != mode or duel["order"] not in (BOTH, KING_FIRST) or not duel["judges"]:
            raise ValueError("its mode, order or judges are none")
        if not isinstance(duel[f"{mode}_score"], MAYBE):
            raise ValueError(f"`{mode}_score` is {duel[f'{mode}_score']!r}")
        for judge in duel["judges"].values():
            if not (isinstance(judge["score"], MAYBE) and isinstance(judge["parse_rate"], MAYBE)
                    and isinstance(judge["metrics"], dict) and isinstance(judge["model"], str)):
                raise ValueError(f"a judge is {judge!r}")
        return duel
    except FileNotFoundError:
        raise Trouble("is not there.", str(path), todo) from None
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise Trouble(f"is not the outcome of a duel: {e}", str(path), todo) from e


def source_files_in(text: str) -> set[str]:
    """Return the names of the source files that a text mentions, without their directories."""
    return set(SOURCE_FILE.findall(text))


def mean_of(numbers) -> float | None:
    """Return the mean, or None if there are no numbers."""
    numbers = list(numbers)
    return sum(numbers) / len(numbers) if numbers else None


def sum_of(costs) -> float | None:
    """Return the sum, or None if one of the costs is None."""
    costs = list(costs)
    return None if None in costs else sum(costs)
