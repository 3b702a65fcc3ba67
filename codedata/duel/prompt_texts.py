"""Read the prompt files packaged in this directory."""
import hashlib
from functools import partial

from codedata.texts import text_of

packaged_text = partial(text_of, __package__)


def prompt_digest(name: str) -> str:
    """Return eight hex digits of a prompt file's hash, for the settings stored in the ledger."""
    return hashlib.blake2b(packaged_text(name).encode(), digest_size=4).hexdigest()
