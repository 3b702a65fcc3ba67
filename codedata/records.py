"""The schema: one frozen record a directory. Reading checks every field and names what is wrong.

Keys that a record does not know are left alone on disk: a person may add notes to any record.
"""
from __future__ import annotations

import json
import math
import re
from dataclasses import MISSING, dataclass, fields
from functools import lru_cache

from codedata.errors import BrokenRecord
from codedata.texts import printable

Message = dict[str, str]   # {"role": …, "content": …}
Reason = dict[str, str]
Finding = dict
Object = dict
Seconds = float
Judgement = dict           # what codedata/duel/panel.py asks for and codedata/duel/scoring.py counts
METRICS = ("correctness", "grounding", "progress", "protocol", "efficiency")   # what a judge grades
UNJUDGED = "no verdict"   # the kind of a finding that says that no leak judge has seen a turn
HOW = ("informed", "hinted", "chosen", "placebo")   # how a challenger is made: [challenger] how
ORDERS = ("king_first", "reference_first", "challenger_first")                 # whose answer it is shown first
DUEL = "_duel.json"      # beside the scores: what they come to
SAFE_NAME = re.compile(r"[A-Za-z0-9-][A-Za-z0-9._-]*\Z")


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
    """Hold the two answers to one prompt: answer/<source>_<order>.json. A side that is null is not
    made yet.
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
    """Hold what the judges said of one turn: score/<answer stem>.json. `score` and `metrics` are
    the challenger's.
    """

    directory = "score"
    instance_id: str
    answer_file: str         # <answer stem>.json
    mode: str                # "king" or "reference": whom the challenger was put against
    parse_ok: bool           # some judge's verdict could be read, so there is a score
    score: float | None      # 0..100; null: none could
    metrics: dict[str, float]   # 0..100 each; empty where `score` is null
    reason: str              # the judges' reasons, a line each
    judges: list[Judgement]  # an entry per judge and order: {judge, order, parse_ok, verdict, scores, raw, …}
    leaks: list[LeakVerdict] | None = None   # a LeakVerdict of each leak judge, of kings too. Null: nobody was asked


@lru_cache
def variant(cls, how: str):
    """Return the record class of a challenger that was made in another way: variants/<how>/ of
    Answer, score_<how>/.
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
    """Hold the attempts of ch.py --refine at one turn, one a line: answer/_attempts/<answer
    stem>.jsonl.
    """

    directory = "answer/_attempts"
    lines = "attempts"       # the field whose entries are the lines of the file
    instance_id: str
    attempts: list[Finding]  # {instance_id, challenger, instead_of (digest), score_then}


class Probe(Score):
    """Hold the score of an answer with an attack in it, the "challenger": probe/<answer
    stem>.<family>.json.
    """

    directory = "probe"


class Sanity(Score):
    """Hold the score of a pair whose better side, the "challenger", is known: sanity/<answer
    stem>.<kind>.json.
    """

    directory = "sanity"


@dataclass(frozen=True)
class Sample:
    """Hold a judged turn as it is exported: final/<answer stem>.json and its neighbours. Edit
    answer/ or score/.
    """

    instance_id: str
    messages: list[Message]
    assistant: str           # the reference
    king: str | None
    challenger: str | None
    score: float             # 0..100, the challenger's
    metrics: dict[str, float]
    reasons: list[Reason]    # {judge, order, reason}, one for each verdict that gives one
    injections: list[Finding]       # what speaks to a judge: {side, kind, text}. Keeps a turn out of final/
    leaks: list[Finding] | None = None   # what the challenger cannot know: {judge, kind, text, why}. Null: no PR record


class Final(Sample):
    """Hold a turn that the challenger reliably wins."""

    directory = "final"


class Refined(Sample):
    """It wins often."""

    directory = "refined"


class Defeat(Sample):
    """It does not."""

    directory = "defeat"


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
    status: str              # success | max_iteration | tool_stop | error. Only the first is used by later stages
    install_script: str      # bash, in the source's folder, with the network
    test_script: str         # bash, in the source's folder, without it
    summary: str             # what was found out, for people
    planner: str             # recipe | agent: whose scripts these are
    messages: list[Object]   # the agent's trajectory, where there was one
    error: str               # which check failed, and why; "" on success
    test_case_result: list[Object]   # {name, status}: passed | failed | error | skipped
    flaky: list[str]         # names of tests that differed between runs
    verified: Object         # what the verification saw: runs, shares passed and collected, healthy, image
    usage: Object            # calls, tokens and cost of the agent
    seconds: Seconds         # of all of it

    @property
    def instance_id(self) -> str:
        """Return the name under which ledgers list it."""
        return self.repo_name


@dataclass(frozen=True)
class Fact:
    """Hold a text that a turn and a pull request share and the conversation has not shown
    (codedata/leak/facts.py).
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
    """Hold what one leak judge said of one turn: in answer*/_leaks/ and in score/."""

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
    """Return why a text cannot be stored or sent (NUL byte, lone surrogate), or None where it can.
    """
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
    """Return a value made of texts without NUL bytes and half characters, which cannot be sent or
    stored.
    """
    if isinstance(value, str):
        return value.replace("\x00", "�").encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [storable(entry) for entry in value]
    return {key: storable(entry) for key, entry in value.items()} if isinstance(value, dict) else value


def safe_name(name: str) -> bool:
    """True where an id may be a file name: up to 200 of [A-Za-z0-9._-], not starting with a dot or
    an underscore.
    """
    return len(name) <= 200 and bool(SAFE_NAME.match(name))


def parse(cls, data, where: str, todo: str = ""):
    """`data` as a record of `cls`, or BrokenRecord with every fault of it in one sentence."""
    article = "an" if cls.__name__[0] in "AEIOU" else "a"
    if not isinstance(data, dict):
        raise BrokenRecord(f"is not {article} {cls.__name__}: it is {_kind(data)}, not an object.", where, todo)
    faults, values = [], {}
    for field in fields(cls):
        if field.name not in data:
            if field.default is MISSING:
                faults.append(f"`{field.name}` is missing")
            continue
        values[field.name] = value = data[field.name]
        if fault := _CHECKS[field.type](value):
            faults.append(f"`{field.name}` {fault}")
    if faults:
        raise BrokenRecord(f"is not {article} {cls.__name__}: {', '.join(faults)}.", where, todo)
    return cls(**values)


def _kind(value) -> str:
    return {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}.get(
        type(value), "a number")


def _text(value):
    return text_problem(value) if isinstance(value, str) else f"is {_kind(value)}, not a text"


def _int(value):
    return None if type(value) is int else f"is {_kind(value)}, not a whole number"


def _optional_text(value):
    return None if value is None else _text(value)


def _texts(value):
    if not isinstance(value, list):
        return f"is {_kind(value)}, not a list of texts"
    return next((f"[{i}] {fault}" for i, item in enumerate(value) if (fault := _text(item))), None)


def _messages(value):
    if not isinstance(value, list):
        return f"is {_kind(value)}, not a list of messages"
    try:   # one look at all of it together; only where that finds something, which message it is
        if all(len(m) == 2 for m in value) and not text_problem("".join([m["role"] + m["content"] for m in value])):
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
    return None if value is None or (_is_number(value) and 0 <= value <= 100) else "is not a number from 0 to 100"


def _score(value):
    return "is null, not a number from 0 to 100" if value is None else _percent(value)


def _reasons(value):
    texts = [text for entry in value if isinstance(entry, dict) for text in entry.values()] if isinstance(
        value, list) else []
    return None if isinstance(value, list) and len(texts) == 3 * len(value) and all(
        isinstance(text, str) for text in texts) else "is not a list of {judge, order, reason}"


def _objects(value):
    return None if isinstance(value, list) and all(isinstance(entry, dict) for entry in value) else (
        "is not a list of objects")


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
        if not all(isinstance(one.get(key), str) for one in findings for key in ("quote", "kind", "why")):
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
        if entry["parse_ok"] and not (isinstance(scores, dict) and scores.keys() == set(METRICS) and all(
                _is_number(score) and score in (0, 0.5, 1) for score in scores.values())):
            return f"[{i}].scores does not hold 0, 0.5 or 1 for each of {', '.join(METRICS)}"
    return None


_CHECKS = {"str": _text, "int": _int, "bool": _bool, "float": _score, "float | None": _percent,
           "str | None": _optional_text, "list[str]": _texts, "list[Message]": _messages, "list[Reason]": _reasons,
           "list[Finding]": _objects, "list[Object]": _objects, "Object": _object, "Seconds": _seconds,
           "list[Finding] | None": _optional_objects, "list[LeakVerdict] | None": _verdicts,
           "list[LeakVerdict]": _verdicts,
           "dict[str, float]": _percents, "list[Judgement]": _judgements}
