"""The texts of this folder, and how they are filled in without touching what is filled in."""
from __future__ import annotations

import hashlib

from codedata.texts import text_of


def packaged_text(name: str) -> str:
    return text_of("codedata.duel", name)


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
