"""Define the formats: the turns they select, the columns of a row, and the checks of a row.

Trainers silently accept bad rows: a conversation that ends with the user, an empty answer, a role
that no chat template knows, a pair of equal answers. row_problem() refuses them. A conversation may
begin with one system message; then user and assistant alternate, and the assistant is last. If the
agent has tools, the results of its calls come between, and several messages of the user or the
assistant may follow one another.

A set with tool calls has whole messages as JSON, which `datasets` reads unchanged: columns of a
STRUCT would give every message and every call the keys of all others, as nulls.
"""
from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from codedata.conversation.atif_writer import atif_of
from codedata.conversation.tool_calls import function_of, parts_of
from codedata.conversation.turn import clean, form_of
from codedata.export.collect import REFERENCE_AND_SIDES, SIDES, ExportTurn, ExportTurns, Problem
from codedata.export.exports import SPLITS, TRAIN, Export, splits
from codedata.messages import calls_text, result_problem
from codedata.records import METRICS, Final, Message, Sample
from codedata.texts import text_of

TEXT, NUMBER, BOOLEAN, JSON, JSON_LIST = "VARCHAR", "DOUBLE", "BOOLEAN", "JSON", "JSON[]"
INTEGER = "BIGINT"
ATTEMPTS, DPO, SHAREGPT = "attempts", "dpo_trajectories", "sharegpt"
SETS = "dataset_info.json"
MESSAGES = "STRUCT(role VARCHAR, content VARCHAR)[]"
REASONS = 'STRUCT(judge VARCHAR, "order" VARCHAR, reason VARCHAR)[]'
FINDINGS = "STRUCT(side VARCHAR, kind VARCHAR, text VARCHAR)[]"
LEAKS = "STRUCT(judge VARCHAR, kind VARCHAR, text VARCHAR, why VARCHAR)[]"
METRIC_SCORES = f"STRUCT({', '.join(f'{metric} {NUMBER}' for metric in METRICS)})"
ORIGIN = dict.fromkeys(("instance_id", "repo", "language", "licence", "source"), TEXT)
# columns of every row, to sort or weight rows by; trainers ignore unknown columns
COMMON = {**ORIGIN, "bucket": TEXT, "score": NUMBER}
ANSWERS = "chosen", "rejected"   # columns whose lengths are compared
Piece = tuple[ExportTurn, str]   # (turn, the row's side; in nemo_gym, index of a message)
VIEW = re.compile(r'"view_range": "?\[(-?\d+), (-?\d+)\]')   # the lines that a call views
# {role: roles that may directly precede it}, without tools and with tools; "" is the start of the
# conversation
MAY_PRECEDE_TEXT = {"system": ("",), "user": ("", "system", "assistant"), "assistant": ("user",)}
MAY_PRECEDE = {"system": ("",), "user": ("", "system", "user", "assistant", "tool"),
               "assistant": ("user", "assistant", "tool"), "tool": ("assistant", "tool")}


@dataclass(frozen=True)
class ExportRow:
    """Describe a row by its turn and its side; the text is made when the row is written."""

    turn: ExportTurn
    side: str
    split: str
    n_chars: dict[str, int]   # by "row" (its longest conversation), "chosen", "rejected"
    label: str                # "true", "false", or "" in a format without labels


@dataclass(frozen=True)
class Format:
    """Define a folder of export/ with rows of judged turns, of fixed columns {name: SQL type}."""

    name: str
    columns: dict[str, str]
    pieces: Callable[[list[ExportTurn]], list[Piece]]   # the (turn, side) of each row
    row: Callable[[ExportTurn, str, Sample], dict]      # the columns for (turn, side, record)
    answers: tuple[str, ...] = ()   # columns with an answer that a row teaches or compares
    for_trainers: bool = True       # also writes Parquet, and leaves out flagged turns
    takes: str = "turns that one side won"   # the turns that it takes, in words
    whole: bool = False             # rows are whole trajectories: an answer is many messages
    is_sparse: bool = False         # rows have no keys that are null

    @property
    def has_calls(self) -> bool:
        """Return whether its rows may have tool calls."""
        return "tools" in self.columns

    def fitting(self, turns: list[ExportTurn]) -> Format:
        """Return the format with the columns for these turns, including those for tool calls if a
        turn has calls.
        """
        if not any(turn.has_calls for turn, _ in self.pieces(turns)):
            return self
        columns = {name: JSON_LIST if kind == MESSAGES else kind
                   for name, kind in self.columns.items()}
        sides = dict.fromkeys(self.columns.keys() & {*REFERENCE_AND_SIDES}, JSON)
        return replace(self, columns={**columns, **sides, "tools": JSON_LIST})

    def choose(self, turns: ExportTurns) -> list[ExportRow]:
        """Return the rows without a problem, and log the problems of the others."""
        settings = turns.settings
        split_of = splits((turn.repo for turn, _ in self.pieces(turns.turns)),
                          settings.validation)
        rows = []
        for split in SPLITS:
            in_split = [turn for turn in turns.turns if split_of.get(turn.repo) == split]
            for turn, side in self.pieces(in_split):
                row = self.make(turn, side, turns.record(turn))
                # a verdict on an answer that speaks to its judge, or shows the hidden pull request,
                # is no evidence for either side
                flag = self.for_trainers and turn.flag
                if problem := flag or row_problem(self, row, settings.max_chars):
                    turns.left_out.add(turn.name, *problem, format=self.name)
                else:
                    label = json.dumps(row["label"]) if "label" in self.columns else ""
                    rows.append(ExportRow(turn, side, split, self._n_chars(row), label))
        return rows

    def _n_chars(self, row: dict) -> dict[str, int]:
        conversations = self.conversations(row) or [row["messages"]]
        answers = {column: sum(map(length, row[column]))
                   for column in ANSWERS if column in row}
        return {"row": max(sum(map(length, messages)) for messages in conversations), **answers}

    def write(self, export: Export) -> None:
        """Write the rows as JSON Lines, and for trainers as Parquet."""
        def make(row: ExportRow) -> dict:
            made = self.make(row.turn, row.side, export.origins.turns.record(row.turn))
            return {column: made[column] for column in self.columns
                    if not (self.is_sparse and made[column] is None)}

        export.write_tables(make, self.columns, self.for_trainers, [TRAIN])
        if self.name == SHAREGPT:   # what LLaMA-Factory reads first
            (export.new / SETS).write_text(text_of(__package__, SETS))

    def make(self, turn: ExportTurn, side: str, record: Sample) -> dict:
        """Return the columns of a row, and the additional fields that its checks read and write()
        omits."""
        return {"tools": record.tools, **self.row(turn, side, record), "source": turn.name,
                **{key: getattr(turn, key) for key in COMMON if key != "source"}}

    def conversations(self, row: dict) -> list[list[Message]]:
        """Return the conversations that end with an answer that the row teaches or compares."""
        return [[*row.get("prompt", ()), *row[column]] for column in self.answers]


def row_problem(form: Format, row: dict, max_chars: int) -> Problem | None:
    """Return why a row must be refused, or None. `max_chars` limits a conversation; 0: no limit."""
    answers = []
    tools = row.get("tools")
    for messages in form.conversations(row):
        if problem := _conversation_problem(messages, tools):
            return problem
        if max_chars and sum(map(length, messages)) > max_chars:
            return "over max_chars", f"more than {max_chars:,} characters"
        answers.append([one["content"].strip() + calls_text(one) for one in messages
                        if one["role"] == "assistant"])
        if form.whole:
            if problem := result_problem(messages[:-1]):
                return "roles", problem
            continue
        *history, answer = messages
        text = answer["content"]
        if problem := form_of(history, tools).problem(answer if tools else text):
            return "no well-formed turn", problem
        if clean(text) != text.strip():
            return "no well-formed turn", "thinking that leaked"
    if len(answers) > 1 and answers[0] == answers[1]:
        return "chosen is rejected", "the two answers are equal"
    return None


def length(message: Message) -> int:
    """Return the number of characters of a message, including its calls and its thinking."""
    return sum(map(len, (message["content"], calls_text(message),
                         message.get("reasoning_content", ""))))


def _conversation_problem(messages: list[Message], tools: list[dict] | None) -> Problem | None:
    """Return why a conversation is refused, or None.

    With `tools`, apply the rules of the chat templates for tools in TRL 1.16: many of the templates
    fail on arguments that are not an object.
    """
    may_precede = MAY_PRECEDE if tools else MAY_PRECEDE_TEXT
    before = ""
    unanswered = []   # ids of calls without a result
    for i, message in enumerate(messages, 1):
        where = f"message {i} of {len(messages)}"
        role, text, calls = map(message.get, ("role", "content", "tool_calls"))
        may_be_empty = calls or role == "tool"
        if not (isinstance(text, str) and (text.strip() or may_be_empty)):
            return "empty message", where
        if before not in may_precede.get(role, ()):
            return "roles", f"{where} is of {role!r}, behind {before or 'nothing'!r}"
        if any(parts_of(call)[1] is None for call in calls or ()):
            return "arguments", f"{where} has a call whose arguments are no JSON object"
        if role == "tool":
            if message.get("tool_call_id") not in unanswered:
                return "roles", f"{where} is the result of no call before it"
            unanswered.remove(message["tool_call_id"])
        else:
            unanswered = [call.get("id") for call in calls or ()]
        before = role
    if before != "assistant" or messages[-2]["role"] not in ("user", "tool"):
        return "roles", "the last message is not the assistant's, or answers nobody"
    return None


# the formats

def _won_by_challenger(turns: list[ExportTurn]) -> list[Piece]:
    return [(turn, "challenger") for turn in turns
            if turn.bucket == Final.directory and turn.winner == "challenger"]


def _decided(turns: list[ExportTurn]) -> list[Piece]:
    return [(turn, turn.winner) for turn in turns if turn.winner]


def _every_turn(turns: list[ExportTurn]) -> list[Piece]:
    return [(turn, "") for turn in turns]


def _not_spare(turns: list[ExportTurn]) -> list[Piece]:
    return [(turn, "") for turn in turns if not turn.spare]


def _won_and_lost(turns: list[ExportTurn]) -> list[Piece]:
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
    answer = getattr(record, side)
    return [answer if isinstance(answer, dict) else {"role": "assistant", "content": answer}]


def _conversation(turn: ExportTurn, side: str, record: Sample) -> dict:
    return {"messages": [*record.messages, *_answer(record, side)]}


def _completion(turn: ExportTurn, side: str, record: Sample) -> dict:
    return {"prompt": record.messages, "completion": _answer(record, side), "side": side,
            "label": side == turn.winner}


def _pair(turn: ExportTurn, side: str, record: Sample) -> dict:
    return {"prompt": record.messages, "chosen": _answer(record, side), "side": side,
            "rejected": _answer(record, _loser(turn))}


def _plain(turn: ExportTurn, side: str, record: Sample) -> dict:
    return {**vars(record), "metrics": {metric: record.metrics.get(metric) for metric in METRICS}}


def whole_messages(record: Sample) -> list[Message]:
    """Return the messages of a whole trajectory."""
    return [*record.messages, *_answer(record, "assistant")]


def first_turn(messages: list[Message]) -> int:
    """Return the index of the assistant's first message."""
    return [one["role"] for one in messages].index("assistant")


def _whole(turn: ExportTurn, side: str, record: Sample) -> dict:
    return {"messages": [{**one, "train": one["role"] == "assistant"}
                         for one in whole_messages(record)], **record.metrics}


def _whole_pair(turn: ExportTurn, side: str, record: Sample) -> dict:
    messages, rejected = whole_messages(record), record.metrics["rejected"]
    first = first_turn(messages)
    return {**record.metrics, "prompt": messages[:first], "chosen": messages[first:],
            "rejected": rejected[first:]}


# the rows of NeMo Gym's swe_pivot (nemo-gym 0.4.0), in the form of the Responses API

def single_calls(messages: list[Message]) -> tuple[int, ...]:
    """Return the indices of messages with exactly one call that swe_pivot can reward. Leave out
    views of one line or to the end of a file: its verifier finds no overlap of such a view
    with itself.
    """
    return tuple(
        i for i, one in enumerate(messages) if len(one.get("tool_calls") or ()) == 1
        and all(int(first) < int(last) for first, last in VIEW.findall(calls_text(one))))


def _each_call(turns: list[ExportTurn]) -> list[Piece]:
    return [(turn, str(at)) for turn, _ in _not_spare(turns) for at in turn.calls]


def _pivot(turn: ExportTurn, at: str, record: Sample) -> dict:
    *history, answer = whole_messages(record)[:int(at) + 1]
    *_, action = _items(answer)
    tools = [{"type": "function", "parameters": None, "strict": None, **function_of(tool)}
             for tool in record.tools]
    return {"prompt": history, "completion": [answer], "uuid": f"{turn.name}.{at}",
            "responses_create_params": {
                "input": [item for message in history for item in _items(message)],
                "tools": tools},
            "expected_action": action}


def _items(message: Message) -> Iterator[dict]:
    """Yield a message as items of the Responses API."""
    role, text = message["role"], message["content"]
    if thought := message.get("reasoning_content"):
        yield {"type": "reasoning", "id": "",
               "summary": [{"type": "summary_text", "text": thought}]}
    if role == "tool":
        yield {"type": "function_call_output", "call_id": message.get("tool_call_id"),
               "output": text}
    elif text:
        yield {"role": role, "content": text}
    for call in message.get("tool_calls") or ():
        yield {"type": "function_call", "call_id": call["id"], **_in_text(call)}


def _in_text(call: dict) -> dict:
    """Return {name, arguments: JSON text} of a call."""
    name, arguments = parts_of(call)
    return {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}


def _openai(turn: ExportTurn, side: str, record: Sample) -> dict:
    """Return a row of OpenAI's fine-tuning files. `whole` has the messages for the checks."""
    messages = whole_messages(record)
    tools = [{"type": "function", "function": function_of(tool)} for tool in record.tools or ()]
    return {"whole": messages, "messages": [*map(_openai_message, messages)],
            "tools": tools or None}


def _openai_message(message: Message) -> Message:
    is_result = message["role"] == "tool"   # it may be empty
    kept = {key: value for key, value in message.items()
            if key in ("role", "content", "tool_call_id") and (value or is_result)}
    if message["role"] == "assistant":
        kept["weight"] = 1
    if calls := message.get("tool_calls"):
        kept["tool_calls"] = [{"id": call["id"], "type": "function", "function": _in_text(call)}
                              for call in calls]
    return kept


# the rows of LLaMA-Factory's reader of ShareGPT (src/llamafactory/data at ff6d4d1): a human or an
# observation, and a gpt or a function_call alternate

def _sharegpt(turn: ExportTurn, side: str, record: Sample) -> dict:
    whole = whole_messages(record)
    found = [_sharegpt_message([*some]) for _, some in itertools.groupby(
        whole, lambda one: one["role"] if one["role"] in ("system", "assistant") else "")]
    tools = [{**one, "parameters": {"type": "object", "properties": {},
                                    **(one.get("parameters") or {})}}
             for one in map(function_of, record.tools or ())]
    return {"whole": whole, "conversations": found,
            "tools": json.dumps(tools, ensure_ascii=False) if tools else ""}


def _sharegpt_message(some: list[Message]) -> dict:
    """Return consecutive messages of the agent, or of others, as one message."""
    results = [one["content"] for one in some if one["role"] == "tool"]
    thoughts = [one["reasoning_content"] for one in some if "reasoning_content" in one]
    texts = [f"<think>\n{text}\n</think>" for text in thoughts]
    texts += ["\n</tool_response>\n<tool_response>\n".join(results),
              *(one["content"] for one in some if one["role"] != "tool")]
    role = {"system": "system", "assistant": "gpt", "tool": "observation"}.get(
        some[0]["role"], "human")
    if calls := some[-1].get("tool_calls"):
        parts = [dict(zip(("name", "arguments"), parts_of(call), strict=True)) for call in calls]
        # escaped, so that no argument ends the calls
        text = json.dumps(parts, ensure_ascii=False).replace("<", "\\u003c")
        # the first <tool_call> is the beginning of the calls for the reader
        texts = [one.replace("<tool_call>", "< tool_call>") for one in texts]
        role, texts = "function_call", [*texts, f"<tool_call>{text}</tool_call>"]
    return {"from": role, "value": "\n\n".join(filter(None, texts))}


def _atif(turn: ExportTurn, side: str, record: Sample) -> dict:
    agent = {"name": "unknown", "version": "unknown"}   # the record does not name the agent
    return {**_whole(turn, side, record),
            "trajectory": atif_of(whole_messages(record), record.tools, turn.name, agent)}


SOLVING = "trajectories that solved their task"
WON = f"turns of {Final.directory}/ that the challenger won"
PROMPT = {"prompt": MESSAGES, "completion": MESSAGES}
TURNS = 'STRUCT("from" VARCHAR, value VARCHAR)[]'
OF_ATTEMPT = {"label": BOOLEAN, "checked": BOOLEAN, "steps": INTEGER, "tokens_in": INTEGER,
              "tokens_out": INTEGER, "model": TEXT, "attempt": INTEGER, "attempts": INTEGER,
              "solved": INTEGER}
OF_WHOLE = {"tools": JSON_LIST, **ORIGIN, "exit_status": TEXT, "reward": NUMBER}
FORMATS = {form.name: form for form in (
    Format("sft_messages", {"messages": MESSAGES, **COMMON}, _won_by_challenger, _conversation,
           ("messages",), takes=WON),
    Format("sft_completion", {**PROMPT, **COMMON}, _won_by_challenger, _completion,
           ("completion",), takes=WON),
    Format("dpo", {"prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES, "side": TEXT,
                   **COMMON}, _decided, _pair, ("chosen", "rejected")),
    Format("kto", {**PROMPT, "label": BOOLEAN, "side": TEXT, **COMMON}, _won_and_lost, _completion,
           ("completion",)),
    Format("jsonl", {**COMMON, "metrics": METRIC_SCORES, "messages": MESSAGES, "king": TEXT,
                     "challenger": TEXT, "assistant": TEXT, "reasons": REASONS,
                     "injections": FINDINGS, "leaks": LEAKS},
           _every_turn, _plain, for_trainers=False, takes="turns of all buckets"))}
_Whole = partial(Format, takes=SOLVING, whole=True)
WHOLE = {form.name: form for form in (   # made only if [export] formats names them
    _Whole("sft_trajectories", {"messages": JSON_LIST, **OF_WHOLE}, _not_spare, _whole,
           ("messages",)),
    _Whole(ATTEMPTS, {"messages": JSON_LIST, **OF_WHOLE, **OF_ATTEMPT}, _every_turn, _whole,
           ("messages",), takes="trajectories with an outcome"),
    _Whole("openai", {"messages": JSON_LIST, "tools": JSON_LIST}, _not_spare, _openai, ("whole",),
           for_trainers=False, is_sparse=True),
    _Whole(SHAREGPT, {"conversations": TURNS, "tools": TEXT, **ORIGIN},
           _not_spare, _sharegpt, ("whole",), for_trainers=False),
    _Whole(DPO, {"prompt": JSON_LIST, "chosen": JSON_LIST, "rejected": JSON_LIST,
                 **OF_WHOLE, "rejected_source": TEXT}, _decided, _whole_pair,
           ("chosen", "rejected"), takes="tasks that one trajectory solved and another did not"),
    _Whole("atif", {"trajectory": JSON, **OF_WHOLE}, _not_spare, _atif, ("messages",),
           for_trainers=False),
    _Whole("nemo_gym", {"uuid": TEXT, "responses_create_params": JSON, "expected_action": JSON,
                        **ORIGIN}, _each_call, _pivot, ("completion",), for_trainers=False,
           takes="single calls of trajectories that solved their task"))}
