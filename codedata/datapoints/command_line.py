"""Run an agent's command from a shell. Its arguments are flags, or values in order; its result
is JSON on stdout."""
from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Sequence

from codedata.agent.tools import Tool
from codedata.datapoints.commands import Commands
from codedata.datapoints.datapoint_folder import DP
from codedata.datapoints.task_queue import open_queue
from codedata.disk.layouts import to_json
from codedata.errors import BrokenRecord, ItemFailed
from codedata.sandbox.factory import SandboxFactory
from codedata.sandbox.process_labels import label_with
from codedata.settings import Settings
from codedata.terminal import say


def run_tool(settings: Settings, words: Sequence[str]) -> int:
    """Run the command in `words` (its name, then its arguments), and print the result. Return 0,
    or 1 if the command is refused; end the process with exit code 2 for wrong usage."""
    folder = settings.root / DP
    folder.mkdir(parents=True, exist_ok=True)
    label_with(settings.root)
    commands = Commands(settings.root, settings.dp, open_queue(folder, settings.dp.queue),
                        SandboxFactory(settings, threading.Event())).by_name()
    parser = argparse.ArgumentParser(prog="build_dp.py tool", allow_abbrev=False)
    parser.add_argument("name", choices=commands, metavar="NAME", help=", ".join(commands))
    name = parser.parse_args(words[:1]).name
    arguments = arguments_of(Tool.of(commands[name]), words[1:])
    try:
        result = commands[name](**arguments)
    except (ItemFailed, BrokenRecord) as e:
        say(f"build_dp.py tool {name}: {e}")
        print(json.dumps({"error": str(e)}))
        return 1
    print(to_json(result).decode(), end="")
    return 0


def arguments_of(tool: Tool, words: Sequence[str]) -> dict:
    """Return a command's arguments, parsed from `words`: flags, and values without flags, which are
    assigned to the required arguments in order. End the process with exit code 2 for wrong
    usage."""
    parser = argparse.ArgumentParser(prog=f"build_dp.py tool {tool.name}",
                                     description=tool.description, allow_abbrev=False)
    required = tool.parameters["required"]
    for key, schema in tool.parameters["properties"].items():
        parser.add_argument(f"--{key.replace('_', '-')}", dest=key,
                            help=schema.get("description"), choices=schema.get("enum"))
    parser.add_argument("values", nargs="*",
                        help=f"instead of flags, in order: {', '.join(required)}")
    given = vars(parser.parse_args(words))
    values = given.pop("values")
    arguments = {key: value for key, value in given.items() if value is not None}
    free = [key for key in required if key not in arguments]
    if len(values) > len(free):
        parser.error(f"too many values: {' '.join(values[len(free):])}")
    arguments |= dict(zip(free, values, strict=False))
    if problem := tool.problem(arguments):
        parser.error(problem)
    return arguments
