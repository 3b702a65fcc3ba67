"""Texts that lie beside the code: what is sent to models, word lists, pages."""
from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files


@lru_cache
def text_of(package: str, name: str) -> str:
    """The text of a file of a package: text_of("codedata.duel", "judge.md")."""
    return (files(package) / name).read_text(encoding="utf-8")


def fill(template: str, **parts: str) -> str:
    """The template with each {part} in it. In one go: what is filled in may hold braces, as patches do."""
    return re.sub(r"\{(\w+)\}", lambda match: parts.get(match[1], match[0]), template)
