"""Check records: compare the value of each field with its type, and name each faulty field."""
from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import is_typeddict

import orjson

from codedata.errors import BrokenRecord
from codedata.records.field_types import ABSENT, MAX_LINE, MAY_LACK, METRICS, ORDERS
from codedata.texts import printable, safe_name, text_problem


def parse(cls, data, where: str, todo: str = "", complete: bool = False):
    """Return `data` as a record of `cls`. Raise BrokenRecord with every fault in one sentence.

    With `complete`, fields whose default is ABSENT are required, too.
    """
    keys = _keys(cls, complete)
    faults = [f"it is {_kind(data)}, not an object"]
    if type(data) is dict:
        faults = named_faults(keys, data)
    if not faults and hasattr(cls, "faults_between"):
        faults = cls.faults_between(data)
    refuse(cls, faults, where, todo)
    return cls(**{name: data[name] for name in keys if name in data})


def refuse(cls, faults: list[str], where: str, todo: str) -> None:
    """Raise BrokenRecord if there are faults."""
    if faults:
        article = "an" if cls.__name__[0] in "AEIOU" else "a"
        title = getattr(cls, "title", f"{article} {cls.__name__}")
        raise BrokenRecord(f"is not {title}: {', '.join(faults)}.", where, todo)


# Checks. A check returns the fault of a value, or None. A fault is a text to put after the value's
# name: " is null, not a text", "[0].role is null, not a text"

@lru_cache
def _keys(cls, complete: bool = False) -> dict:
    """Return {key: (the fault if it is missing, the check of its value)} of a record class."""
    needed = (MISSING, ABSENT) if complete else (MISSING,)
    return {field.name: (" is missing" if field.default in needed
                         and field.default_factory is MISSING else "", check_of(field.type))
            for field in fields(cls)}


def _keys_of(kind) -> dict:
    """Return the result of _keys() for a TypedDict."""
    return {name: (" is missing" if kind.__total__ and name not in MAY_LACK else "",
                   check_of(one.__forward_arg__))
            for name, one in kind.__annotations__.items()}


def _faults(keys: dict, data: dict) -> Iterator[tuple[str, str]]:
    """Yield (key, fault) for each key that is missing or wrong."""
    for name, (missing, check) in keys.items():
        if fault := check(data[name]) if name in data else missing:
            yield name, fault


def named_faults(keys: dict, data: dict) -> list[str]:
    """Return each fault with the name of its key."""
    return [f"`{name}`{fault}" for name, fault in _faults(keys, data)]


@lru_cache
def check_of(kind: str):
    """Return the check of a field, given the name of its type in the annotation."""
    if kind in _CHECKS:
        return _CHECKS[kind]
    if kind.endswith(" | None"):
        check = check_of(kind.removesuffix(" | None"))
        return lambda value: None if value is None else check(value)
    outer, _, inner = kind.removesuffix("]").partition("[")
    if not inner:
        cls = vars(sys.modules[__package__])[kind]   # look up a TypedDict of the package
        return _has(_keys_of(cls) if is_typeddict(cls) else _keys(cls))
    return _each({"list": list, "dict": dict}[outer], check_of(inner.removeprefix("str, ")))


def _is_a(kind: type):
    return lambda value: None if type(value) is kind else f" is {_kind(value)}, not {_NAMES[kind]}"


def _is_from(low: float, high: float, name: str):
    return lambda value: (None if type(value) in (int, float) and low <= value <= high
                          else f" is not {name}")


def _each(kind: type, check):
    """Return the check that a value is a list or an object whose entries all pass `check`."""
    def fault_of(value):
        if type(value) is not kind:
            return _is_a(kind)(value)
        for key, entry in value.items() if kind is dict else enumerate(value):
            if fault := check(entry):
                return f"[{printable(str(key), 200)}]{fault}"
        return None
    return fault_of


def _has(keys: dict):
    """Return the check that a value is an object with these keys; others are allowed."""
    def fault_of(value):
        if fault := _is_object(value):
            return fault
        return next((f".{name}{fault}" for name, fault in _faults(keys, value)), None)
    return fault_of


def _texts(*names: str, missing: str = " is missing") -> dict:
    return dict.fromkeys(names, (missing, _text))


def _entries(*names: str, of_entry=None):
    """Return the check of a list of objects. An entry passes if its keys are exactly `names` and
    its values are texts; others must pass `of_entry`, by default the check that these texts exist.
    """
    check = of_entry or _has(_texts(*names))

    def entry_fault(entry):   # called if the keys are not exactly `names`
        text = json.dumps(entry, ensure_ascii=False).replace(r"\\", "")   # json escapes NUL bytes
        return check(entry) or _text(text.replace(r"\u0000", "\0"))

    def fault_of(value):
        try:   # fast path: check all texts at once
            if type(value) is list and {*map(len, value)} <= {len(names)} and not text_problem(
                    "".join([entry[name] for entry in value for name in names])):
                return None
        except (TypeError, KeyError):
            pass
        return _each(list, entry_fault)(value)
    return fault_of


_NAMES = {dict: "an object", list: "a list", str: "a text", bool: "true or false",
          int: "a whole number", type(None): "null"}


def _kind(value) -> str:
    return "a number" if type(value) is int else _NAMES.get(type(value), "a number")


def _text(value):
    fault = text_problem(value) if type(value) is str else _is_text(value)
    return fault and f" {fault.lstrip()}"


def _item_name(value):
    return _text(value) or (None if safe_name(value) else " is refused as the name of an item")


def _message(value):
    """Return the fault of a message, or None."""
    if fault := _has(_texts("role"))(value):
        return fault
    content, calls = value.get("content"), value.get("tool_calls")
    if type(content) not in (str, type(None)) and _each(list, _is_object)(content):
        return ".content is neither a text nor a list of parts"
    if not calls:
        return ".content is missing" if content is None else None
    if fault := _each(list, _is_object)(calls):
        return f".tool_calls{fault}"
    for i, call in enumerate(calls):
        function = call.get("function")
        arguments = function.get("arguments") if type(function) is dict else None
        if type(arguments) not in (str, dict) or type(function.get("name")) is not str:
            return f".tool_calls[{i}].function has no name and arguments"
    return None


def _tools(value):
    """Return the fault of a list of tool definitions, or None. Check only keys that are read."""
    if fault := _each(list, _is_object)(value):
        return fault
    for i, tool in enumerate(value):
        function = tool.get("function", tool)
        schema = function.get("parameters") or {} if type(function) is dict else None
        is_one = type(schema) is dict and type(function.get("name")) is str and (
            type(schema.get("properties") or {}) is dict
            and not check_of("list[str]")(schema.get("required") or []))
        if not is_one:
            return f"[{i}] is not a definition {{type, function {{name, description, parameters}}}}"
    try:
        orjson.dumps(value)
    except TypeError as e:
        return f" cannot be stored: {e}"
    return None


def _side(value):
    """Return the fault of a Side, or None."""
    if type(value) is str:
        return _text(value)
    fault = _is_object(value) and f" is {_kind(value)}, neither a text nor a message"
    return fault or _entries(of_entry=_message)([{"role": "assistant", **value}])


def _order(value):
    return None if value in ORDERS else f" is {value!r}, not one of {', '.join(ORDERS)}"


def _ranges(value):
    if fault := check_of("list[int]")(value):
        return fault
    is_even = len(value) % 2 == 0
    if is_even and [1, *value, MAX_LINE] == sorted([1, *value, MAX_LINE]):
        return None
    return " is not a list of ranges [first, last, first, last, …]"


def _judge_verdict(value):
    if fault := _VERDICT(value):
        return fault
    scores = value.get("scores")
    if value["parse_ok"] and not (
            type(scores) is dict and scores.keys() == set(METRICS)
            and all(type(score) is not bool and score in (0, 0.5, 1) for score in scores.values())):
        return f".scores does not hold 0, 0.5 or 1 for each of {', '.join(METRICS)}"
    return None


_is_object, _is_text, _is_int, _is_bool = map(_is_a, (dict, str, int, bool))
_MAX = sys.float_info.max
_CHECKS = {
    "str": _text, "int": _is_int, "bool": _is_bool,
    "Points": _is_from(0, 100, "a number from 0 to 100"),
    "Seconds": _is_from(0, _MAX, "a number of seconds"),
    "float": _is_from(-_MAX, _MAX, "a number"),
    **dict.fromkeys(("Object", "Files", "Finding", "PanelStatistics"), _is_object),
    "list[Message]": _entries("role", "content", of_entry=_message), "Side": _side,
    "Tools": _tools,
    "JudgeVerdict": _judge_verdict,
    "list[Reason]": _entries("judge", "order", "reason"),
    "list[Quote]": _entries("quote", "kind", "why"),
    "Ranges": _ranges, "ItemName": _item_name, "AnyText": _is_text,
    "UnixTime": _is_from(0, 2**62, "a time in seconds"),
    "Integer": lambda value: _is_int(value) or _is_from(-2**63, 2**63 - 1, "of 64 bits")(value)}
_VERDICT = _has({
    **_texts("judge"), "order": (" is missing", _order), "parse_ok": (" is missing", _is_bool),
    **_texts("reason", "error", "marker", "settings", missing=""), "attempt": ("", _is_int)})
