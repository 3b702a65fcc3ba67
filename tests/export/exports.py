"""Read what export.py has written."""
from __future__ import annotations

from pathlib import Path

from judged import json_lines, read_json

from codedata.texts import tomllib


def rows(root: Path, form: str = "dpo", split: str = "train") -> list[dict]:
    return json_lines(root / "export" / form / f"{split}.jsonl")


def left_out_lines(root: Path) -> list[dict]:
    return json_lines(root / "export/left_out.jsonl")


def left_out(root: Path) -> dict[str, str]:
    """Return {name: its reasons}."""
    reasons: dict[str, dict] = {}
    for line in left_out_lines(root):
        reasons.setdefault(line["name"], {})[line["reason"]] = line
    return {name: ", ".join(found) for name, found in reasons.items()}


def card(root: Path, form: str = "dpo") -> str:
    return (root / "export" / form / "README.md").read_text(encoding="utf-8")


def manifest(root: Path, form: str = "dpo") -> dict:
    return read_json(root / "export" / form / "manifest.json")


def config(root: Path, name: str = "tally") -> dict:
    """Return the task.toml of an exported task."""
    return tomllib.loads((root / f"export/harbor/{name}/task.toml").read_text(encoding="utf-8"))
