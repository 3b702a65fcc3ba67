'''Turn typed functions into tools. The description that the model sees comes from signature and
docstring.

    def count(sandbox: Sandbox, path: str, unit: Literal["lines", "words"] = "lines") -> str:
        """Count what is in a file.

        path: of the file
        """

The agent passes `sandbox`, which the model does not see. The docstring's first paragraph describes
the tool; lines "name: …" below it describe its arguments. A tool returns a text for the model,
Failed(text) if it did not work, or Stop(answer). Its exceptions, except RunStopped, are sent to the
model, and the run continues; a sandbox that has ended ends the run with status `error`.
'''
from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from codedata.errors import Trouble
from codedata.sandbox import Sandbox
from codedata.texts import text_problem

JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null",
              list: "array"}
DESCRIBED = {"string": "a string", "integer": "a whole number", "number": "a number",
             "boolean": "true or false", "array": "a list", "null": "null"}
Parameter = inspect.Parameter
NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


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
        """Return the tool for a function or a named callable object; raise Trouble if it cannot be
        one."""
        if isinstance(thing, Tool):
            return thing
        function = thing if inspect.isroutine(thing) else type(thing).__call__
        name = getattr(thing, "name", "") or getattr(thing, "__name__", "")
        docstring = inspect.getdoc(function)
        if not re.fullmatch(r"[A-Za-z_]\w{0,63}", name) or not docstring:
            raise Trouble("is not a tool: it needs a name and a docstring.", repr(thing))
        description, _, rest = docstring.partition("\n\n")
        arguments = dict(inspect.signature(thing).parameters)
        wants_sandbox = arguments.pop("sandbox", None) is not None
        texts = dict(re.findall(r"^(\w+): (.+)$", rest, re.MULTILINE))
        hints = get_type_hints(function)
        properties = {}
        for key, argument in arguments.items():
            if argument.kind not in NAMED:
                raise Trouble("is not an argument that a model can name.", f"{name}({key})")
            properties[key] = schema = _schema(hints.get(key), f"{name}({key})")
            if key in texts:
                schema["description"] = texts[key]
            if argument.default is not Parameter.empty:
                schema["default"] = argument.default
        required = [key for key, schema in properties.items() if "default" not in schema]
        parameters = {"type": "object", "properties": properties, "required": required,
                      "additionalProperties": False}
        return cls(name, " ".join(description.split()), parameters, thing, wants_sandbox)

    @property
    def schema(self) -> dict:
        """Return the tool in the form of a request's `tools`."""
        function = {"name": self.name, "description": self.description,
                    "parameters": self.parameters}
        return {"type": "function", "function": function}

    def problem(self, arguments: dict) -> str:
        """Return the problem with a call's arguments, or ''."""
        known = self.parameters["properties"]
        required = self.parameters["required"]
        faults = [f"`{key}` is missing" for key in required if key not in arguments]
        faults += [f"there is no argument `{key}`" for key in arguments if key not in known]
        faults += [f"`{key}` {fault}" for key, value in arguments.items()
                   if key in known and (fault := _fault(known[key], value))]
        if not faults:
            return ""
        takes = ", ".join(f"`{key}`" for key in known) or "no arguments"
        return f"{self.name} was not called: {', '.join(faults)}. It takes {takes}."

    def __call__(self, sandbox: Sandbox, arguments: dict) -> str | Stop:
        """Call the function and return its result."""
        if self.wants_sandbox:
            return self.function(sandbox=sandbox, **arguments)
        return self.function(**arguments)


def _schema(hint: Any, where: str) -> dict:
    """Return the JSON schema of a type; raise Trouble for an unsupported type."""
    origin = get_origin(hint)
    args = get_args(hint)
    if origin is Literal and all(isinstance(choice, str) for choice in args):
        return {"type": "string", "enum": list(args)}
    if origin is list:
        return {"type": "array", "items": _schema(args[0], where)}
    if origin in (Union, UnionType) and len(args) == 2 and NoneType in args:
        inner = _schema(args[0] if args[1] is NoneType else args[1], where)
        return {**inner, "type": [inner["type"], "null"]}
    if hint in JSON_TYPES and hint is not list:
        return {"type": JSON_TYPES[hint]}
    raise Trouble(f"has a type that no schema is derived from: {hint!r}.", where,
                  "There are str, int, float, bool, Literal of texts, list[…] and … | None.")


def _fault(schema: dict, value: Any) -> str:
    """Return why a value does not fit a schema, or ''."""
    allowed = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kind = JSON_TYPES.get(type(value), "an object")
    if kind not in allowed and (kind, allowed[0]) != ("integer", "number"):
        wanted = " or ".join(DESCRIBED[kind] for kind in allowed)
        return f"should be {wanted}, not {repr(value)[:60]}"
    if kind == "string" and value not in schema.get("enum", [value]):
        return f"should be one of {', '.join(schema['enum'])}, not {value[:60]!r}"
    if kind == "string":
        return text_problem(value) or ""
    if kind == "array":
        faults = ((i, _fault(schema["items"], entry)) for i, entry in enumerate(value))
        return next((f"[{i}] {fault}" for i, fault in faults if fault), "")
    return ""
