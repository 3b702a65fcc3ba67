"""Define the formats: the turns they select, the columns of a row, and the checks of a row.

Trainers accept many bad rows silently: a conversation that ends with the user, an empty answer, a
role that no chat template knows, a pair of equal answers. row_problem() finds them before they are
written. It accepts at most one system message, at the beginning, then user and assistant
alternating, and the assistant last.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codedata.export.collect import SIDES, ExportTurn
from codedata.records import METRICS, Final

TEXT, NUMBER = "VARCHAR", "DOUBLE"
MESSAGES = "STRUCT(role VARCHAR, content VARCHAR)[]"
REASONS = 'STRUCT(judge VARCHAR, "order" VARCHAR, reason VARCHAR)[]'
FINDINGS = "STRUCT(side VARCHAR, kind VARCHAR, text VARCHAR)[]"
LEAKS = "STRUCT(judge VARCHAR, kind VARCHAR, text VARCHAR, why VARCHAR)[]"
COMMON = {   # columns of every row, to sort or weight rows by; trainers ignore unknown columns
    "instance_id": TEXT, "repo": TEXT, "language": TEXT, "licence": TEXT, "source": TEXT, "bucket": TEXT,
    "score": NUMBER}
Piece = tuple[ExportTurn, str]   # (turn, the side whose answer the row has)


@dataclass(frozen=True)
class Format:
    """Define one folder of export/: its rows have fixed columns {name: SQL type}."""

    name: str
    columns: dict[str, str]
    pieces: Callable[[list[ExportTurn]], list[Piece]]
    row: Callable[[ExportTurn, str, dict], dict]
    conversations: Callable[[dict], list[list[dict]]]   # with the answers that a row teaches or compares
    for_trainers: bool = True   # also writes Parquet, and leaves out flagged turns

    def make(self, turn: ExportTurn, side: str, texts: dict) -> dict:
        """Return the row of a piece, with the columns in their order."""
        row = {**self.row(turn, side, texts), "instance_id": turn.instance_id, "repo": turn.repo,
               "language": turn.language, "licence": turn.licence, "source": turn.name, "bucket": turn.bucket,
               "score": turn.score}
        return {column: row[column] for column in self.columns}


def row_problem(form: Format, row: dict, turn_problem, max_chars: int = 0,
                max_ratio: float = 0.0) -> tuple[str, str] | None:
    """Return (reason, detail) where a row has to be refused, or else None.

    turn_problem(text) returns what is wrong with an answer, or None. `max_chars` limits a
    conversation, and `max_ratio` is how many times as long as the other an answer of a pair may be;
    0 means no limit.
    """
    if row.keys() != form.columns.keys():
        return "columns", f"{', '.join(row)} instead of {', '.join(form.columns)}"
    if "label" in row and type(row["label"]) is not bool:
        return "label", f"{row['label']!r} is not true or false"
    if two := [field for field in ("completion", "chosen", "rejected") if len(row.get(field, "1")) != 1]:
        return "roles", f"{two[0]} is not one message"
    answers = []
    for messages in form.conversations(row):
        if problem := _conversation_problem(messages):
            return problem
        if max_chars and sum(len(m["content"]) for m in messages) > max_chars:
            return "over max_chars", f"more than {max_chars:,} characters"
        answers.append(messages[-1]["content"])
        if problem := turn_problem(answers[-1]):
            return "no well-formed turn", problem
    if len({answer.strip() for answer in answers}) < len(answers):
        return "chosen is rejected", "the two answers are equal"
    lengths = sorted(map(len, answers))
    if max_ratio and lengths and lengths[-1] > max_ratio * lengths[0]:
        return "over dpo_max_length_ratio", f"{lengths[-1]:,} characters against {lengths[0]:,}"
    return None


def _conversation_problem(messages: list[dict]) -> tuple[str, str] | None:
    for i, message in enumerate(messages, 1):
        if not (isinstance(message.get("content"), str) and message["content"].strip()):
            return "empty message", f"message {i} of {len(messages)}"
    first = 1 if messages and messages[0].get("role") == "system" else 0
    for i, message in enumerate(messages[first:]):
        due = ("user", "assistant")[i % 2]
        if message.get("role") != due:
            return "roles", f"message {i + first + 1} of {len(messages)} is of {message.get('role')!r}, not of {due!r}"
    if len(messages) < first + 2 or messages[-1]["role"] != "assistant":
        return "roles", "the last message is not the assistant's, or nothing stands before it"
    return None


# the formats

def _joined(row: dict, field: str) -> list[dict]:
    return [*row["prompt"], *row[field]]


def _won_by_challenger(turns: list[ExportTurn]) -> list[Piece]:
    return [(turn, "challenger") for turn in turns if turn.bucket == Final.directory and turn.winner == "challenger"]


def _decided(turns: list[ExportTurn]) -> list[Piece]:
    return [(turn, turn.winner) for turn in turns if turn.winner]


def _both_sides(turns: list[ExportTurn]) -> list[Piece]:
    """Return winners and losers alternating, with the two of one turn far apart.

    TRL trains KTO in the order of the file and compares each completion with its neighbours in the
    batch, which must not answer the same prompt.
    """
    won = _decided(turns)
    lost = [(turn, _loser(turn)) for turn, _ in won]
    half = len(won) // 2
    return [piece for pair in zip(won, lost[half:] + lost[:half], strict=True) for piece in pair]


def _loser(turn: ExportTurn) -> str:
    return SIDES[SIDES[0] == turn.winner]


def _said(text: str | None) -> list[dict]:
    return [{"role": "assistant", "content": text}]


def _dpo(turn: ExportTurn, side: str, texts: dict) -> dict:
    return {"prompt": texts["messages"], "chosen": _said(texts[side]), "rejected": _said(texts[_loser(turn)]),
            "side": side}


def _kto(turn: ExportTurn, side: str, texts: dict) -> dict:
    return {"prompt": texts["messages"], "completion": _said(texts[side]), "label": side == turn.winner, "side": side}


def _plain(turn: ExportTurn, _, texts: dict) -> dict:
    return {**texts, "metrics": {metric: texts["metrics"].get(metric) for metric in METRICS}}


FORMATS = {form.name: form for form in (
    Format("sft_messages", {"messages": MESSAGES, **COMMON}, _won_by_challenger,
           lambda turn, side, texts: {"messages": [*texts["messages"], *_said(texts[side])]},
           lambda row: [row["messages"]]),
    Format("sft_completion", {"prompt": MESSAGES, "completion": MESSAGES, **COMMON}, _won_by_challenger,
           lambda turn, side, texts: {"prompt": texts["messages"], "completion": _said(texts[side])},
           lambda row: [_joined(row, "completion")]),
    Format("dpo", {"prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES, "side": TEXT, **COMMON}, _decided,
           _dpo, lambda row: [_joined(row, "chosen"), _joined(row, "rejected")]),
    Format("kto", {"prompt": MESSAGES, "completion": MESSAGES, "label": "BOOLEAN", "side": TEXT, **COMMON},
           _both_sides, _kto, lambda row: [_joined(row, "completion")]),
    Format("jsonl", {**COMMON, "metrics": f"STRUCT({', '.join(f'{metric} {NUMBER}' for metric in METRICS)})",
                     "messages": MESSAGES, "king": TEXT, "challenger": TEXT, "assistant": TEXT, "reasons": REASONS,
                     "injections": FINDINGS, "leaks": LEAKS},
           lambda turns: [(turn, "") for turn in turns], _plain, lambda row: [], for_trainers=False),
)}
