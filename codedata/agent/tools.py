'''Turn typed functions into tools; the model's description comes from the signature and the docstring.

    def count(sandbox: Sandbox, path: str, unit: Literal["lines", "words"] = "lines") -> str:
        """Count what is in a file.

        path: of the file
        """

The agent passes `sandbox`, which the model does not see. The docstring's first paragraph describes the tool; lines
"name: …" below it describe its arguments. A tool returns a text for the model, Failed(text) where it did not work,
or Stop(answer). Its exceptions are not caught, except ItemFailed (and so SandboxDied), which ends the run as `error`.
'''
from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from codedata.errors import Trouble
from codedata.records import text_problem
from codedata.sandbox import Sandbox

NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
SAID = {"string": "a string", "integer": "a whole number", "number": "a number", "boolean": "true or false",
        "array": "a list", "null": "null"}
NOT_GIVEN = inspect.Parameter.empty


class Failed(str):
    """Mark a text for the model as the result of a failed action."""


@dataclass(frozen=True)
class Stop:
    """End a run with success, or with status `tool_stop`."""

    answer: str
    is_success: bool = True


@dataclass(frozen=True)
class Tool:
    """Hold a tool: its description for the model and its function."""

    name: str
    description: str
    parameters: dict             # JSON schema
    function: Callable
    wants_sandbox: bool

    @classmethod
    def of(cls, thing: Callable | Tool) -> Tool:
        """Return a tool for a function or a named callable object; raise Trouble where it cannot be one."""
        if isinstance(thing, Tool):
            return thing
        function = thing if inspect.isroutine(thing) else type(thing).__call__
        name = getattr(thing, "name", "") or getattr(thing, "__name__", "")
        if not re.fullmatch(r"[A-Za-z_]\w{0,63}", name) or not inspect.getdoc(function):
            raise Trouble("is no tool: it needs a name and a docstring.", repr(thing))
        description, _, rest = inspect.getdoc(function).partition("\n\n")
        said = dict(re.findall(r"^(\w+): (.+)$", rest, re.MULTILINE))
        hints, properties, required = get_type_hints(function), {}, []
        signature = inspect.signature(thing).parameters
        for key, parameter in signature.items():
            if key == "sandbox":
                continue
            where = f"{name}({key})"
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise Trouble("is not an argument that a model can name.", where)
            properties[key] = {**_schema(hints.get(key), where), **({"description": said[key]} if key in said else {})}
            if parameter.default is NOT_GIVEN:
                required.append(key)
            else:
                properties[key]["default"] = parameter.default
        parameters = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
        return cls(name, " ".join(description.split()), parameters, thing, "sandbox" in signature)

    @property
    def schema(self) -> dict:
        """Return the tool in the form of a request's `tools`."""
        return {"type": "function", "function": {"name": self.name, "description": self.description,
                                                 "parameters": self.parameters}}

    def problem(self, arguments: dict) -> str:
        """Return what is wrong with the arguments of a call, or ''."""
        known = self.parameters["properties"]
        faults = [f"`{key}` is missing" for key in self.parameters["required"] if key not in arguments]
        faults += [f"there is no argument `{key}`" for key in arguments if key not in known]
        faults += [f"`{key}` {fault}" for key, value in arguments.items()
                   if key in known and (fault := _fault(known[key], value))]
        takes = ", ".join(f"`{key}`" for key in known) or "no arguments"
        return f"{self.name} was not called: {', '.join(faults)}. It takes {takes}." if faults else ""

    def __call__(self, sandbox: Sandbox, arguments: dict) -> str | Stop:
        """Call the function and return its result."""
        return self.function(**({"sandbox": sandbox} if self.wants_sandbox else {}), **arguments)


def _schema(kind: Any, where: str) -> dict:
    """Return the JSON schema of a type; raise Trouble for an unsupported type."""
    if kind in NAMES:
        return {"type": NAMES[kind]}
    origin, of = get_origin(kind), get_args(kind)
    if origin is Literal and all(isinstance(choice, str) for choice in of):
        return {"type": "string", "enum": list(of)}
    if origin is list and of:
        return {"type": "array", "items": _schema(of[0], where)}
    if origin in (Union, UnionType) and len(of) == 2 and NoneType in of:
        found = _schema(next(kind for kind in of if kind is not NoneType), where)
        return {**found, "type": [found["type"], "null"]}
    raise Trouble(f"has a type that no schema is derived from: {kind!r}.", where,
                  "There are str, int, float, bool, Literal of texts, list[…] and … | None.")


def _fault(schema: dict, value: Any) -> str:
    """Return why a value does not fit a schema, or ''."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kind = NAMES.get(type(value)) or ("array" if isinstance(value, list) else "an object")
    if kind not in kinds and not (kind == "integer" and "number" in kinds):
        return f"should be {' or '.join(SAID[kind] for kind in kinds)}, not {repr(value)[:60]}"
    if kind == "string":
        if "enum" in schema and value not in schema["enum"]:
            return f"should be one of {', '.join(schema['enum'])}, not {value[:60]!r}"
        return text_problem(value) or ""
    if kind == "array":
        faults = ((i, _fault(schema["items"], entry)) for i, entry in enumerate(value))
        return next((f"[{i}] {fault}" for i, fault in faults if fault), "")
    return ""
