"""Define the schema: one frozen record for each directory.

Reading checks every field and names what is wrong. Keys that a record does not know are left as
they are on disk: a person may add notes to any record.

The entries of a record's lists (Message, Reason, Finding, JudgeVerdict) are TypedDicts, not frozen
classes: a record may hold thousands of them, they are read and written as they are on disk, and
they keep the keys that a person or another version has added. parse() checks their keys.
"""
from __future__ import annotations

import json
import math
import re
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TypedDict

import orjson

from codedata.bounded import read_bounded
from codedata.errors import BrokenRecord, Trouble
from codedata.texts import printable

Object = dict    # keys that this schema does not fix
Seconds = float
METRICS = ("correctness", "grounding", "progress", "protocol", "efficiency")   # a judge's grades
UNJUDGED = "no verdict"   # the kind of a finding that says that no leak judge has seen a turn
HOW = ("informed", "hinted", "chosen", "placebo")   # ways to make a challenger: [challenger] how
ORDERS = ("king_first", "reference_first", "challenger_first")   # whose answer is shown first
ABSENT = None             # default of a Duel's fields that older files lack
DUEL = "_duel.json"       # the file beside the scores that holds their Duel
SAFE_NAME = re.compile(r"[A-Za-z0-9-][A-Za-z0-9._-]*\Z")


class Message(TypedDict):
    """Hold a message of a conversation."""

    role: str
    content: str


class Reason(TypedDict):
    """Hold the reason that a judge gave for a verdict."""

    judge: str
    order: str
    reason: str


class Finding(TypedDict, total=False):
    """Hold an injection {side, kind, text}, or a leak {judge, kind, text, why}.

    In a LeakVerdict it is {quote, kind, why}.
    """

    side: str
    judge: str
    kind: str
    text: str
    quote: str
    why: str


class JudgeVerdict(TypedDict, total=False):
    """Hold a judge's verdict on a turn in one order, as codedata/duel/panel.py describes it.

    A person may have edited it: parse() checks judge, order, parse_ok and scores, and of the texts
    and `attempt` those that are there.
    """

    judge: str
    order: str                  # one of ORDERS
    parse_ok: bool
    verdict: dict[str, str]     # {metric: the side that won, or "draw"}
    scores: dict[str, float]    # {metric: 1, 0.5 or 0, the challenger's}; empty without a verdict
    reason: str
    raw: str                    # the reply as it came
    truncated: bool
    usage: Object               # tokens_in, tokens_out, cost_usd
    seconds: Seconds
    error: str                  # why no reply came
    attempt: int
    marker: str
    settings: str


@dataclass(frozen=True)
class Prompt:
    """One turn to answer: an entry of prompt/prompts_<count>_<k>.json."""

    directory = "prompt"
    instance_id: str
    repo: str
    language: str
    turn: int                # index among the assistant turns of its trajectory, from 0
    messages: list[Message]  # the history as the agent saw it: {role, content}
    assistant: str           # the dataset's own next turn: the reference
    order: int = 0           # 1-based position in its file when it was written; 0: not numbered yet


@dataclass(frozen=True)
class Commit:
    """Hold the hidden pull request of an instance: commit/<instance_id>.json."""

    directory = "commit"
    named_by_id = True
    instance_id: str
    repo: str
    language: str
    base_commit: str
    issue: str               # what the agent was told (problem_statement); may be empty
    description: str         # what the pull request says of itself; may be empty
    files: list[str]         # paths that patch and test_patch touch
    patch: str
    test_patch: str
    created_at: str | None = None   # ISO 8601, UTC
    licence: str | None = None      # of the repository, SPDX where the source has it


@dataclass(frozen=True)
class Answer:
    """Hold the two answers to one prompt: answer/<source>_<order>.json.

    A side that is null is not made yet.
    """

    directory = "answer"
    sharded = True           # answer/, answer_0/, answer_1/ … are read as one
    instance_id: str
    messages: list[Message]
    assistant: str
    king: str | None = None
    challenger: str | None = None


@dataclass(frozen=True)
class Score:
    """Hold the judges' verdicts on one turn: score/<answer stem>.json.

    `score` and `metrics` are the challenger's.
    """

    directory = "score"
    instance_id: str
    answer_file: str         # <answer stem>.json
    mode: str                # "king" or "reference": whom the challenger was put against
    parse_ok: bool           # some judge's verdict could be read, so there is a score
    score: float | None      # 0..100; null: none could
    metrics: dict[str, float]   # 0..100 each; empty where `score` is null
    reason: str              # the judges' reasons, a line each
    judges: list[JudgeVerdict]   # an entry for each judge and order
    leaks: list[LeakVerdict] | None = None   # from each leak judge, on kings too; null: none asked


@lru_cache
def variant(cls, how: str):
    """Return the record class of a challenger that was made in another way.

    The directory is variants/<how>/ for Answer, and score_<how>/ for Score.
    """
    directory = f"variants/{how}" if cls is Answer else f"{cls.directory}_{how}"
    return type(f"{cls.__name__}_{how}", (cls,), {"directory": directory})


class ReferenceScore(Score):
    """Hold the score against the reference: score_reference/<answer stem>.json."""

    directory = "score_reference"


class AttemptScore(Score):
    """Hold the score of an attempt of ch.py --refine: score/_attempts/<answer stem>.<n>.json."""

    directory = "score/_attempts"


@dataclass(frozen=True)
class Attempts:
    """Hold the attempts of ch.py --refine at one turn: answer/_attempts/<answer stem>.jsonl."""

    directory = "answer/_attempts"
    lines = "attempts"       # the field whose entries are the lines of the file
    instance_id: str
    attempts: list[Object]   # {instance_id, challenger, instead_of (digest), score_then}


class Probe(Score):
    """Hold the score of an answer with an attack in it: probe/<answer stem>.<family>.json.

    The attacked answer is the "challenger".
    """

    directory = "probe"


class Sanity(Score):
    """Hold the score of a pair whose better side is known: sanity/<answer stem>.<kind>.json.

    The better side is the "challenger".
    """

    directory = "sanity"


@dataclass(frozen=True)
class Sample:
    """Hold a judged turn as it is exported: final/<answer stem>.json and its neighbours.

    These are copies: edit answer/ or score/ instead.
    """

    instance_id: str
    messages: list[Message]
    assistant: str           # the reference
    king: str | None
    challenger: str | None
    score: float             # 0..100, the challenger's
    metrics: dict[str, float]
    reasons: list[Reason]    # {judge, order, reason}, one for each verdict that gives one
    injections: list[Finding]   # passages that address a judge; they keep a turn out of final/
    leaks: list[Finding] | None = None   # what the challenger cannot know; null: no PR record


class Final(Sample):
    """Hold a turn that the challenger reliably wins."""

    directory = "final"


class Refined(Sample):
    """Hold a turn that the challenger wins often."""

    directory = "refined"


class Defeat(Sample):
    """Hold a turn that the challenger does not win often."""

    directory = "defeat"


BUCKETS = (Final, Refined, Defeat)   # from the best to the worst


class Share(TypedDict):
    """Hold a share or another figure with its 95 % interval and the number of observations."""

    value: float
    low: float
    high: float
    n: int


class JudgeStatistics(TypedDict, total=False):
    """Hold the figures of codedata/duel/judge_stats.py on one judge."""

    changes_with_order: Share | None
    prefers_first: Share | None
    prefers_longer: Share | None
    calls: dict[str, int]
    kin_of: list[str]                  # sides that a model of the judge's family answered for
    beside_the_others: Object | None   # {own, others, difference}, against the unrelated judges


class PanelStatistics(TypedDict, total=False):
    """Hold the figures of codedata/duel/judge_stats.py on a panel."""

    judges: dict[str, JudgeStatistics]
    alpha: dict[str, float | None]     # Krippendorff's alpha of each metric
    effective_votes: float | None


@dataclass(frozen=True)
class JudgeResult:
    """Hold the scores of one judge over all turns: an entry of Duel.judges."""

    score: float | None        # 0..100
    parse_rate: float | None   # share of the turns, 0..1, on which it has a verdict
    metrics: dict[str, float]
    model: str


@dataclass(frozen=True)
class Duel:
    """Hold the outcome of a duel: score/_duel.json.

    Fields that default to ABSENT are not in the files of earlier versions. Export goes without
    them; a report needs all of them.
    """

    raw: Object                   # the file's content, with keys that are no fields
    mode: str                     # "king" or "reference": whom the challenger was put against
    order: str                    # "both" or "king_first"
    accepted: bool
    reasons: list[str]            # why it was not accepted
    judges: dict[str, JudgeResult]
    challenger_score: float | None
    rival_score: float | None     # in the file: `king_score` or `reference_score`
    margin: float | None          # in points, like the scores; null: too little could be read
    lcb: float | None             # lower confidence bound of the mean lead, -0.5..0.5
    turns: int
    win_margin: float             # the least margin to be accepted
    gate_alpha: float             # the quantile that is the bound
    resamples: int
    lcb_turn: float | None = ABSENT
    lcb_cluster: float | None = ABSENT
    interval: list[float] | None = ABSENT    # 95 % interval of the margin, in points
    classic: Object | None = ABSENT          # the numbers that the order king_first would give
    metrics: dict[str, float] = ABSENT
    panel: PanelStatistics = ABSENT
    bootstrap: str = ABSENT
    verdicts: str = ABSENT                   # digest of the verdicts that it was decided on
    turns_parsed: int = ABSENT               # every judge of the panel has a verdict
    turns_judged: int = ABSENT               # at least one judge has a verdict
    turns_left: int = ABSENT                 # not judged yet
    missing_answers: int = ABSENT            # answer records without both sides
    instances: int = ABSENT
    seed: int = ABSENT
    min_turns: int = ABSENT
    bootstrap_resamples: int = ABSENT
    parsed_frac: float = ABSENT              # turns_parsed / turns
    min_valid_turn_frac: float = ABSENT
    min_instances: int = 0

    @property
    def models(self) -> set[str]:
        """Return the models of its judges."""
        return {judge.model for judge in self.judges.values()}

    @classmethod
    def read(cls, path: Path, mode: str, todo: str, complete: bool = True) -> Duel:
        """Return the outcome in a file. Raise FileNotFoundError, or Trouble where it is broken.

        With `complete` every field has to be there, and of its kind.
        """
        try:
            duel = cls.of(orjson.loads(read_bounded(path)))
            if duel.mode != mode:
                raise ValueError(f"`mode` is {duel.mode!r}, not {mode!r}")
            if complete:
                _check_kinds(cls, duel.raw, mode)
                for judge in duel.raw["judges"].values():
                    _check_kinds(JudgeResult, judge)
                if duel.order not in ("both", "king_first") or not duel.judges:
                    raise ValueError("it has no judges, or their order is none")
            return duel
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            fault = f"`{e.args[0]}` is missing" if isinstance(e, KeyError) else e
            raise Trouble(f"is not the outcome of a duel: {fault}", str(path), todo) from e

    @classmethod
    def of(cls, raw: Object) -> Duel:
        """Return the record of a file's content. An error names what is missing or no number."""
        if not isinstance(raw, dict):
            raise ValueError(f"it is {_kind(raw)}, not an object")
        values = {**raw, "raw": raw, "rival_score": raw[f"{raw['mode']}_score"], "judges": {
            name: JudgeResult(judge["score"], judge["parse_rate"], judge.get("metrics", {}),
                              judge.get("model", name)) for name, judge in raw["judges"].items()}}
        for key in ("margin", "lcb", "challenger_score", "rival_score"):
            if values["margin"] is not None and not isinstance(values[key], (int, float)):
                raise ValueError(f"`{key}` is {values[key]!r}, not a number")
        return cls(**{field.name: values[field.name] for field in fields(cls)
                      if field.name in values or field.default is MISSING})


def _check_kinds(cls, raw: Object, mode: str = "") -> None:
    """Raise an error that names a field of `cls` that is missing, or of another kind."""
    for field in fields(cls):
        key = field.name.replace("rival", mode)
        kinds = tuple(_KINDS[kind.partition("[")[0]] for kind in field.type.split(" | "))
        if key not in ("raw", "min_instances") and not isinstance(raw[key], kinds):
            raise ValueError(f"`{key}` is {raw[key]!r}")


@dataclass(frozen=True)
class Environment:
    """Hold how a repository is installed and tested: env/<repo_name>.json."""

    directory = "env"
    repo: str                # as the input has it
    repo_name: str           # the name of this file
    row: Object              # the input's row, with whatever else it holds
    base_commit: str         # where the history in the image ends
    base_image: str          # what the install script starts from
    image_name: str          # what is installed in it; "": no image was made
    status: str              # success | max_iteration | tool_stop | error; later stages: success
    install_script: str      # bash, in the source's folder, with the network
    test_script: str         # bash, in the source's folder, without it
    summary: str             # what was found out, for people
    planner: str             # recipe | agent: whose scripts these are
    messages: list[Object]   # the agent's trajectory, where there was one
    error: str               # which check failed, and why; "" on success
    test_case_result: list[Object]   # {name, status}: passed | failed | error | skipped
    flaky: list[str]         # names of tests that differed between runs
    verified: Object         # runs, shares passed and collected, healthy, image: from verification
    usage: Object            # calls, tokens and cost of the agent
    seconds: Seconds         # of all of it

    @property
    def instance_id(self) -> str:
        """Return the name under which ledgers list it."""
        return self.repo_name


@dataclass(frozen=True)
class Fact:
    """Hold a text that a turn shares with a pull request and the conversation has not shown.

    codedata/leak/facts.py finds them.
    """

    kind: str                # path | name | test | literal | line | code | anchor
    text: str                # as it stands in the turn
    start: int               # in the turn, in characters
    end: int
    source: str              # files | patch | test_patch; "": nowhere in the pull request
    why: str
    certain: bool            # bars the turn where there is no leak judge


@dataclass(frozen=True)
class LeakVerdict:
    """Hold the verdict of one leak judge on one turn: in answer*/_leaks/ and in score/."""

    judge: str
    side: str                # challenger | king: a blind turn, by which false alarms are measured
    of: str                  # digest of history, turn and pull request
    attempt: int             # 2: the first reply could not be read
    leak: bool
    findings: list[Finding]  # {quote, kind, why}; empty where nothing leaks
    hedged_claims: int       # claims of the thought that are said as a guess
    raw: str                 # the reply as it came
    usage: Object            # tokens_in, tokens_out, cost_usd
    seconds: Seconds
    settings: str            # digest of model, temperature and prompt text


def text_problem(value: str) -> str | None:
    """Return why a text cannot be stored or sent (NUL byte, lone surrogate), or else None."""
    if "\x00" in value:
        return "has a NUL byte"
    if value.isascii():
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        return "has a lone surrogate (half a character)"
    return None


def storable(value):
    """Return a JSON value whose texts have no NUL bytes and half characters.

    Those cannot be sent or stored.
    """
    if isinstance(value, str):
        return value.replace("\x00", "�").encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [storable(entry) for entry in value]
    if isinstance(value, dict):
        return {key: storable(entry) for key, entry in value.items()}
    return value


def safe_name(name: str) -> bool:
    """Return whether an id may be a file name.

    It is up to 200 of [A-Za-z0-9._-], and does not start with a dot or an underscore.
    """
    return len(name) <= 200 and bool(SAFE_NAME.match(name))


def parse(cls, data, where: str, todo: str = ""):
    """Return `data` as a record of `cls`. BrokenRecord names every fault of it in one sentence."""
    article = "an" if cls.__name__[0] in "AEIOU" else "a"
    if not isinstance(data, dict):
        raise BrokenRecord(f"is not {article} {cls.__name__}: it is {_kind(data)}, not an object.",
                           where, todo)
    faults = []
    values = {}
    for field in fields(cls):
        if field.name not in data:
            if field.default is MISSING:
                faults.append(f"`{field.name}` is missing")
            continue
        values[field.name] = value = data[field.name]
        if fault := _CHECKS[field.type](value):
            faults.append(f"`{field.name}` {fault}")
    if faults:
        raise BrokenRecord(f"is not {article} {cls.__name__}: {', '.join(faults)}.", where,
                           todo)
    return cls(**values)


def _kind(value) -> str:
    return {dict: "an object", list: "a list", str: "a text", bool: "a truth value",
            type(None): "null"}.get(type(value), "a number")


def _text(value):
    return text_problem(value) if isinstance(value, str) else f"is {_kind(value)}, not a text"


def _int(value):
    return None if type(value) is int else f"is {_kind(value)}, not a whole number"


def _optional_text(value):
    return None if value is None else _text(value)


def _texts(value):
    if not isinstance(value, list):
        return f"is {_kind(value)}, not a list of texts"
    return next((f"[{i}] {fault}" for i, text in enumerate(value) if (fault := _text(text))), None)


def _messages(value):
    if not isinstance(value, list):
        return f"is {_kind(value)}, not a list of messages"
    try:   # all texts are checked at once, which is fast; only a fault is looked for one by one
        if all(len(m) == 2 for m in value) and not text_problem(
                "".join([m["role"] + m["content"] for m in value])):
            return None
    except (TypeError, KeyError):
        pass
    for i, message in enumerate(value):
        if not isinstance(message, dict):
            return f"[{i}] is {_kind(message)}, not a message"
        for key in ("role", "content"):
            if fault := _text(message.get(key)):
                return f"[{i}].{key} {fault}"
        if len(message) > 2 and (fault := text_problem(json.dumps(message, ensure_ascii=False))):
            return f"[{i}] {fault}"
    return None


def _bool(value):
    return None if type(value) is bool else f"is {_kind(value)}, not true or false"


def _is_number(value) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _percent(value):
    if value is None or (_is_number(value) and 0 <= value <= 100):
        return None
    return "is not a number from 0 to 100"


def _score(value):
    return "is null, not a number from 0 to 100" if value is None else _percent(value)


def _reasons(value):
    if not _objects(value):
        texts = [text for entry in value for text in entry.values()]
        if len(texts) == 3 * len(value) and all(isinstance(text, str) for text in texts):
            return None
    return "is not a list of {judge, order, reason}"


def _objects(value):
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        return None
    return "is not a list of objects"


def _object(value):
    return None if isinstance(value, dict) else f"is {_kind(value)}, not an object"


def _seconds(value):
    return None if _is_number(value) and value >= 0 else "is not a number of seconds"


def _optional_objects(value):
    return None if value is None else _objects(value)


def _verdicts(value):
    if value is None:
        return None
    if fault := _objects(value):
        return fault
    for i, entry in enumerate(value):
        try:
            findings = parse(LeakVerdict, entry, f"[{i}]").findings
        except BrokenRecord as e:
            return f"[{i}] {e.what}"
        if not all(isinstance(one.get(key), str) for one in findings
                   for key in ("quote", "kind", "why")):
            return f"[{i}].findings is not a list of {{quote, kind, why}}"
    return None


def _percents(value):
    if not isinstance(value, dict):
        return f"is {_kind(value)}, not an object"
    return next((f".{printable(key, 200)} {fault}" for key, number in value.items()
                 if (fault := _percent(number))), None)


def _judgements(value):
    if not isinstance(value, list):
        return f"is {_kind(value)}, not a list of judgements"
    for i, entry in enumerate(value):
        if not isinstance(entry, dict):
            return f"[{i}] is {_kind(entry)}, not a judgement"
        for key in ("judge", "order", "reason", "error", "marker", "settings"):
            if fault := _text(entry.get(key, "" if key not in ("judge", "order") else None)):
                return f"[{i}].{key} {fault}"
        if entry["order"] not in ORDERS:
            return f"[{i}].order is {entry['order']!r}, not one of {', '.join(ORDERS)}"
        if type(entry.get("parse_ok")) is not bool:
            return f"[{i}].parse_ok is {_kind(entry.get('parse_ok'))}, not true or false"
        if type(entry.get("attempt", 1)) is not int:
            return f"[{i}].attempt is {_kind(entry['attempt'])}, not a whole number"
        scores = entry.get("scores")
        if entry["parse_ok"] and not (
                isinstance(scores, dict) and scores.keys() == set(METRICS)
                and all(_is_number(score) and score in (0, 0.5, 1) for score in scores.values())):
            return f"[{i}].scores does not hold 0, 0.5 or 1 for each of {', '.join(METRICS)}"
    return None


_CHECKS = {
    "str": _text, "int": _int, "bool": _bool, "float": _score, "float | None": _percent,
    "str | None": _optional_text, "list[str]": _texts, "list[Message]": _messages,
    "list[Reason]": _reasons, "list[Finding]": _objects, "list[Object]": _objects,
    "Object": _object, "Seconds": _seconds, "list[Finding] | None": _optional_objects,
    "list[LeakVerdict] | None": _verdicts, "list[LeakVerdict]": _verdicts,
    "dict[str, float]": _percents, "list[JudgeVerdict]": _judgements}
_KINDS = {"str": str, "bool": bool, "int": int, "float": (int, float), "None": type(None),
          "list": list, "dict": dict, "Object": dict, "PanelStatistics": dict}
