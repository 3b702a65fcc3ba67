"""Define the formats: the turns they select, the columns of a row, and the checks of a row.

Trainers silently accept bad rows: a conversation that ends with the user, an empty answer, a role
that no chat template knows, a pair of equal answers. row_problem() refuses them. A conversation may
begin with one system message; then user and assistant alternate, and the assistant is last.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codedata.code.turn import clean, format_problem
from codedata.export.collect import SIDES, ExportTurn, Problem
from codedata.records import METRICS, Final, Message, Sample

TEXT, NUMBER, BOOLEAN = "VARCHAR", "DOUBLE", "BOOLEAN"
MESSAGES = "STRUCT(role VARCHAR, content VARCHAR)[]"
REASONS = 'STRUCT(judge VARCHAR, "order" VARCHAR, reason VARCHAR)[]'
FINDINGS = "STRUCT(side VARCHAR, kind VARCHAR, text VARCHAR)[]"
LEAKS = "STRUCT(judge VARCHAR, kind VARCHAR, text VARCHAR, why VARCHAR)[]"
METRIC_SCORES = f"STRUCT({', '.join(f'{metric} {NUMBER}' for metric in METRICS)})"
COMMON = {   # columns of every row, to sort or weight rows by; trainers ignore unknown columns
    **dict.fromkeys(("instance_id", "repo", "language", "licence", "source", "bucket"), TEXT),
    "score": NUMBER}
Piece = tuple[ExportTurn, str]   # (turn, the side whose answer the row has)


@dataclass(frozen=True)
class Format:
    """Define a folder of export/ with rows of judged turns, of fixed columns {name: SQL type}."""

    name: str
    columns: dict[str, str]
    pieces: Callable[[list[ExportTurn]], list[Piece]]
    row: Callable[[ExportTurn, str, Sample], dict]
    answers: tuple[str, ...] = ()   # columns with an answer that a row teaches or compares
    for_trainers: bool = True       # also writes Parquet, and leaves out flagged turns
    takes: str = "turns that one side won"   # in words

    def make(self, turn: ExportTurn, side: str, record: Sample) -> dict:
        """Return the row of a piece, with the columns in their order."""
        row = {**self.row(turn, side, record), "source": turn.name,
               **{key: getattr(turn, key) for key in COMMON if key != "source"}}
        return {column: row[column] for column in self.columns}

    def conversations(self, row: dict) -> list[list[Message]]:
        """Return the conversations that end with an answer that the row teaches or compares."""
        return [[*row.get("prompt", ()), *row[column]] for column in self.answers]


def row_problem(form: Format, row: dict, max_chars: int = 0,
                max_ratio: float = 0.0) -> Problem | None:
    """Return why a row has to be refused, or None.

    `max_chars` limits a conversation, and `max_ratio` is how many times as long as the other an
    answer of a pair may be; 0 means no limit.
    """
    if row.keys() != form.columns.keys():
        return "columns", f"{', '.join(row)} instead of {', '.join(form.columns)}"
    if "label" in row and type(row["label"]) is not bool:
        return "label", f"{row['label']!r} is not true or false"
    for column in form.answers:
        if column != "messages" and len(row[column]) != 1:
            return "roles", f"{column} is not one message"
    answers = []
    for messages in form.conversations(row):
        if problem := _conversation_problem(messages):
            return problem
        if max_chars and sum(len(m["content"]) for m in messages) > max_chars:
            return "over max_chars", f"more than {max_chars:,} characters"
        answer = messages[-1]["content"]
        answers.append(answer)
        if problem := format_problem(answer):
            return "no well-formed turn", problem
        if clean(answer) != answer.strip():
            return "no well-formed turn", "thinking that leaked"
    if len({answer.strip() for answer in answers}) < len(answers):
        return "chosen is rejected", "the two answers are equal"
    lengths = sorted(map(len, answers))
    if max_ratio and lengths and lengths[-1] > max_ratio * lengths[0]:
        return "over dpo_max_length_ratio", f"{lengths[-1]:,} characters against {lengths[0]:,}"
    return None


def _conversation_problem(messages: list[Message]) -> Problem | None:
    n = len(messages)
    for i, message in enumerate(messages, 1):
        if not (isinstance(message.get("content"), str) and message["content"].strip()):
            return "empty message", f"message {i} of {n}"
    first = 1 if messages and messages[0].get("role") == "system" else 0
    for i, message in enumerate(messages[first:]):
        due = ("user", "assistant")[i % 2]
        if message.get("role") != due:
            detail = f"message {i + first + 1} of {n} is of {message.get('role')!r}, not of {due!r}"
            return "roles", detail
    if n < first + 2 or messages[-1]["role"] != "assistant":
        return "roles", "the last message is not the assistant's, or nothing comes before it"
    return None


# the formats

def _won_by_challenger(turns: list[ExportTurn]) -> list[Piece]:
    return [(turn, "challenger") for turn in turns
            if turn.bucket == Final.directory and turn.winner == "challenger"]


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
    pairs = zip(won, lost[half:] + lost[:half], strict=True)
    return [piece for pair in pairs for piece in pair]


def _loser(turn: ExportTurn) -> str:
    return SIDES[1] if turn.winner == SIDES[0] else SIDES[0]


def _answer(record: Sample, side: str) -> list[Message]:
    return [{"role": "assistant", "content": getattr(record, side)}]


def _conversation(turn: ExportTurn, side: str, record: Sample) -> dict:
    return {"messages": [*record.messages, *_answer(record, side)]}


def _completion(turn: ExportTurn, side: str, record: Sample) -> dict:
    return {"prompt": record.messages, "completion": _answer(record, side), "side": side,
            "label": side == turn.winner}


def _pair(turn: ExportTurn, side: str, record: Sample) -> dict:
    return {"prompt": record.messages, "chosen": _answer(record, side), "side": side,
            "rejected": _answer(record, _loser(turn))}


def _plain(turn: ExportTurn, side: str, record: Sample) -> dict:
    metrics = {metric: record.metrics.get(metric) for metric in METRICS}
    return {**vars(record), "metrics": metrics}


WON = f"turns of {Final.directory}/ that the challenger won"
PROMPT = {"prompt": MESSAGES, "completion": MESSAGES}
FORMATS = {form.name: form for form in (
    Format("sft_messages", {"messages": MESSAGES, **COMMON}, _won_by_challenger, _conversation,
           ("messages",), takes=WON),
    Format("sft_completion", {**PROMPT, **COMMON}, _won_by_challenger, _completion,
           ("completion",), takes=WON),
    Format("dpo", {"prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES, "side": TEXT,
                   **COMMON}, _decided, _pair, ("chosen", "rejected")),
    Format("kto", {**PROMPT, "label": BOOLEAN, "side": TEXT, **COMMON}, _both_sides, _completion,
           ("completion",)),
    Format("jsonl", {**COMMON, "metrics": METRIC_SCORES, "messages": MESSAGES, "king": TEXT,
                     "challenger": TEXT, "assistant": TEXT, "reasons": REASONS,
                     "injections": FINDINGS, "leaks": LEAKS},
           lambda turns: [(turn, "") for turn in turns], _plain, for_trainers=False,
           takes="turns of all buckets"))}
