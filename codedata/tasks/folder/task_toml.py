"""Find the faults of a task.toml that would make Harbor refuse it.

Keys that harbor_keys.toml lacks are not checked, so Harbor may refuse a file although no
fault is found.
"""
from __future__ import annotations

import re
from collections.abc import Iterator

from codedata.records import Object, check_of
from codedata.texts import toml_of

NAME = re.compile(r"[a-zA-Z0-9][\w.-]*/[a-zA-Z0-9][\w.-]*", re.ASCII)   # org/name
KEYS = toml_of(__package__, "harbor_keys.toml")
# both tables describe a machine
KEYS["verifier.environment"] = KEYS["environment"]
TYPES = {"list": (list,), "name or number": (str, int)}   # in addition to the types of
                                                          # records.check_of()


def toml_faults(config: Object) -> list[str]:
    """Return a sentence for each fault that makes Harbor refuse the task."""
    faults = [*_wrong_types(config)]
    if faults:
        return faults
    if "task" in config and not NAME.fullmatch(str(config["task"].get("name", ""))):
        faults.append(f"[task] name is {config['task'].get('name', '')!r}, not org/name")
    verifier = config.get("verifier", {})
    if verifier.get("environment_mode") == "shared" and "environment" in verifier:
        faults.append("[verifier] environment_mode is shared, and there is a "
                      "[verifier.environment]")
    faults += [f"[{name}] allowed_hosts is set without network_mode = \"allowlist\""
               for name in ("environment", "agent", "verifier")
               if (table := config.get(name, {})).get("allowed_hosts")
               and table.get("network_mode") != "allowlist"]
    faults += [f"artifacts has {one!r:.80}: not a path" for one in config.get("artifacts", [])
               if not _is_artifact(one)]
    for name, key, entries in (("steps", "name", config.get("steps", [])),
                               ("[verifier] collect", "command", verifier.get("collect", []))):
        if not all(isinstance(one, dict) and isinstance(one.get(key), str) for one in entries):
            faults.append(f"{name} has an entry without a {key}")
    return faults


def _wrong_types(config: Object) -> Iterator[str]:
    for name, keys in KEYS.items():
        table = config
        for part in filter(None, name.split(".")):
            table = table.get(part, {}) if isinstance(table, dict) else {}
        if not isinstance(table, dict):
            continue   # a fault of the outer table
        for key, kind in keys.items():
            if key in table and (fault := _type_fault(kind, table[key])):
                yield f"{f'[{name}] ' if name else ''}{key}{fault}"


def _type_fault(kind: str | list[str], value) -> str | None:
    if isinstance(kind, list):
        return None if value in kind else f" is {value!r:.80}, not one of {', '.join(kind)}"
    if kind in TYPES:
        return None if type(value) in TYPES[kind] else f" is no {kind}"
    return check_of(kind)(value)


def _source_of(artifact):
    return artifact.get("source") if isinstance(artifact, dict) else artifact


def _is_artifact(one) -> bool:
    path = _source_of(one)
    return isinstance(path, str) and bool(path) and ".." not in path.split("/")


def is_shared(config: Object) -> bool:
    """Return whether Harbor grades a task in the agent's own container."""
    verifier = config.get("verifier", {})
    return (verifier.get("environment_mode") or (
        "separate" if "environment" in verifier else "shared")) == "shared"


def artifacts_in(config: Object) -> list[str]:
    """Return the paths that Harbor copies to the verifier."""
    return [str(_source_of(one)) for one in config.get("artifacts") or []]
