"""Set up a root that may be exported, and read what export.py has written."""
from pathlib import Path

import pytest
from root import json_lines, read_json

from codedata.texts import tomllib


@pytest.fixture
def root(tmp_path):
    """Return a root with an accepted duel, no turns yet, and no validation split."""
    setting(tmp_path)
    tmp_path.with_duel()
    return tmp_path


def setting(root: Path, line: str = "", more: str = "") -> None:
    """Write the settings: no validation split, and this line of [export]."""
    root.with_settings(more=f"{more}[export]\nvalidation = 0.0\n{line}\n")


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Load with datasets.load_dataset, offline and with a cache for the test alone."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    import datasets  # reads the environment that is set above
    return lambda *args, **flags: datasets.load_dataset(
        *map(str, args), cache_dir=str(tmp_path / "cache"), **flags)


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
    return (root / "export" / form / "README.md").read_text()


def manifest(root: Path, form: str = "dpo") -> dict:
    return read_json(root / "export" / form / "manifest.json")


def config(root: Path, name: str = "tally") -> dict:
    """Return the task.toml of an exported task."""
    return tomllib.loads((root / f"export/harbor/{name}/task.toml").read_text())
