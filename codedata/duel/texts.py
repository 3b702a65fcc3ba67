"""The texts beside the code: what is sent to models, filled in without touching what is filled in, and word lists."""
from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.resources import files


@lru_cache
def packaged_text(name: str) -> str:
    return (files("codedata.duel") / name).read_text(encoding="utf-8")


def prompt_digest(name: str) -> str:
    """Eight hex digits of a prompt file: part of the settings that the ledger notes."""
    return hashlib.blake2b(packaged_text(name).encode(), digest_size=4).hexdigest()


def fill(template: str, **parts: str) -> str:
    """The template with each {part} in it, in the order of the parts.

    str.format would trip over braces in patches, and replacing one part must not touch another's text.
    """
    out, rest = "", template
    for name, text in parts.items():
        before, _, rest = rest.partition("{" + name + "}")
        out += before + text
    return out + rest
