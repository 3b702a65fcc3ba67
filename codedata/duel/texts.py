"""The texts of this folder."""
from __future__ import annotations

import hashlib

from codedata.texts import text_of


def packaged_text(name: str) -> str:
    return text_of("codedata.duel", name)


def prompt_digest(name: str) -> str:
    """Eight hex digits of a prompt file: part of the settings that the ledger notes."""
    return hashlib.blake2b(packaged_text(name).encode(), digest_size=4).hexdigest()
