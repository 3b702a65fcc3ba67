"""Read the package's text files (prompts, pages), make untrusted texts safe to show, store and
send, find JSON in models' replies, and define the form, order and shards of names.
"""
from __future__ import annotations

import difflib
import hashlib
import html
import json
import re
import sys
from collections.abc import Collection, Iterator
from functools import lru_cache
from importlib.resources import files

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# C0 except tab and line feed, DEL, C1, bidirectional marks and overrides, line separators,
# surrogates
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e"
                     "\u2066-\u2069\ud800-\udfff]")
# escape sequences for colours, links and cursors
ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[ -/]+[0-~])")
SAFE_NAME = re.compile(r"[A-Za-z0-9-][A-Za-z0-9._-]{0,199}")
MARKUP = re.compile(r"[\\`*\[\]]")
TO_LINE_START = re.compile(r"\x1b\[1?G")
OVERWRITTEN = re.compile(r"^[^\n]*\r(?![\r\n]|$)", re.MULTILINE)   # such as progress bars

# thinking at the start of a text; without a closing tag it goes on to the end
THINKING = re.compile(r"(?:\s*(?:<(think(?:ing)?)>.*?(?:</\1>|\Z)|◁think▷.*?(?:◁/think▷|\Z)))*\s*",
                       re.DOTALL | re.IGNORECASE)

MAX_DEPTH = 50          # nesting levels of a value, and so dotted parts of a key
MAX_LINE_DOTS = 1_000   # dots in a line of TOML, including strings
MAX_TOML_CHARS = 200_000
_DIGITS = re.compile(r"(\d+)")
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_OPENING = re.compile(r'\{(?=[ \t\r\n]*")')   # the start of a JSON object with at least one key
MAX_WORK = 20_000_000   # characters decoded for one reply, counting repetitions: 2 s
_DECODER = json.JSONDecoder()


@lru_cache
def text_of(package: str, name: str) -> str:
    """Return the text of a file of a package: text_of("codedata.duel", "judge.md")."""
    return (files(package) / name).read_text(encoding="utf-8")


def toml_of(package: str, name: str) -> dict:
    """Return the tables of a TOML file of a package."""
    return tomllib.loads(text_of(package, name))


def toml_tables(text: str) -> dict:
    """Return the tables of an untrusted TOML text. Raise ValueError if it is not TOML, cannot be
    digested and written again, or has keys with so many parts that reading takes minutes."""
    if len(text) > MAX_TOML_CHARS:
        raise ValueError(f"it has more than {MAX_TOML_CHARS:,} characters")
    for line in text.split("\n"):
        head = line if line.lstrip().startswith("[") else line.partition("=")[0]
        if head.count(".") > MAX_DEPTH or line.count(".") > MAX_LINE_DOTS:
            raise ValueError(f"a key has more than {MAX_DEPTH} parts")
    tables = tomllib.loads(text)
    check_nesting(tables)
    return tables


def check_nesting(value) -> None:
    """Raise ValueError if a value cannot be digested and written again: if it is nested too deeply,
    or holds an integer of more than 64 bits."""
    level = [value]
    for _ in range(MAX_DEPTH):
        if any(type(one) is int and one.bit_length() > 63 for one in level):
            raise ValueError("a whole number has more than 64 bits")
        parts = (one.values() if isinstance(one, dict) else one for one in level
                 if isinstance(one, (dict, list)))
        level = [part for one in parts for part in one]
        if not level:
            return
    raise ValueError(f"it is nested more than {MAX_DEPTH} deep")


def fill(template: str, **parts: str) -> str:
    """Return the template with each {part} filled in. It takes one pass, since a part, such as a
    patch, may contain braces."""
    return re.sub(r"\{(\w+)\}", lambda match: parts.get(match[1], match[0]), template)


def between(text: str, tag: str) -> str:
    """Return the text between the last <tag> and </tag>, or ""."""
    _, opening, inner = text.rpartition(f"</{tag}>")[0].rpartition(f"<{tag}>")
    return inner.strip() if opening else ""


def without_middle(text: str, max_chars: int, mark: str = "left out") -> str:
    """Return a text. If it has more than `max_chars` (an even number), a line with the mark
    replaces its middle; {n} in the mark is the number of characters left out."""
    half = max_chars // 2
    n = len(text) - 2 * half
    return text if n <= 0 else f"{text[:half]}\n[… {fill(mark, n=str(n))} …]\n{text[-half:]}"


def printable(text: str, max_chars: int = 2000) -> str:
    """Return an untrusted text as one line that is safe in a terminal or a log.

    Control characters and bidirectional marks become \\x1b or \\u202e, line breaks become spaces;
    a text of more than `max_chars` is cut.
    """
    cut = text if len(text) <= max_chars else f"{text[:max_chars]}…"
    return CONTROL.sub(_escape, " ".join(cut.split("\n")))


def as_markdown(text: str, max_chars: int = 200) -> str:
    """Return an untrusted text as one line, escaped for Markdown and HTML."""
    return MARKUP.sub(r"\\\g<0>", html.escape(printable(text, max_chars), quote=False))


def displayed(text: str) -> str:
    """Return terminal output without escape sequences and overwritten progress bars."""
    return OVERWRITTEN.sub("", ESCAPE.sub("", TO_LINE_START.sub("\r", text)))


def terminal_safe(text: str) -> str:
    """Return a text with its control characters escaped; line breaks stay."""
    return CONTROL.sub(_escape, text)


def _escape(match: re.Match) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def text_problem(value: str) -> str | None:
    """Return why a text cannot be stored or sent (NUL byte, lone surrogate), or else None."""
    if "\x00" in value:
        return "has a NUL byte"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "has a lone surrogate (half a character)"
    return None


def storable(value):
    """Return a JSON value with NUL bytes and lone surrogates replaced in its texts, since they can
    neither be sent nor stored."""
    if isinstance(value, str):
        return value.replace("\x00", "�").encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [storable(entry) for entry in value]
    if isinstance(value, dict):
        return {key: storable(entry) for key, entry in value.items()}
    return value


def safe_name(name: str) -> bool:
    """Return whether an id may be a file name: up to 200 of [A-Za-z0-9._-], not starting with a dot
    or an underscore."""
    return bool(SAFE_NAME.fullmatch(name))


def json_objects(text: str, decoder: json.JSONDecoder = _DECODER,
                 shown: Collection[str] = ()) -> Iterator[tuple]:
    """Yield (source, its end, value) of each JSON object in a model's reply, nested ones too, last
    first. Skip objects in the thinking at the start, and quotations: objects that also occur in a
    `shown` text, ignoring whitespace and escapes. Stop after MAX_WORK decoded characters."""
    start, work, begin = len(text), 0, THINKING.match(text).end()
    shown = [*map(_unescaped, shown)]
    search = sum(map(len, shown)) // 100   # searching a character is 1/100 of decoding one
    while work < MAX_WORK and (start := text.rfind("{", begin, start)) >= 0:
        if not _OPENING.match(text, start):
            continue
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as e:   # not JSON, or nested too deeply for the decoder
            work += _work(e, start, len(text))
            continue
        work += end - start + search
        source = text[start:end]
        text_of_it = _unescaped(source)
        if not any(text_of_it in one for one in shown):
            yield source, end, value


def holds(text: str, quote: str) -> bool:
    """Return whether a text contains a quote, ignoring whitespace; False for an empty quote."""
    quote = "".join(quote.split())
    return bool(quote) and quote in "".join(text.split())


def squeezed(text: str) -> str:
    """Return a text with each run of whitespace replaced by one space."""
    return " ".join(text.split())


def fenced(language: str, text: str) -> str:
    """Return a code block whose fence is longer than any run of backticks in the text."""
    fence = max(re.findall("`{3,}", text), default="``", key=len) + "`"
    return f"{fence}{language}\n{text}\n{fence}"


def bare(text: str) -> str:
    """Return a text without whitespace and backslashes."""
    return "".join(text.split()).replace("\\", "")


def _unescaped(text: str) -> str:
    return bare(_ESCAPED.sub(lambda match: chr(int(match[1], 16)), text))


def _work(error: Exception, start: int, length: int) -> int:
    """Return an upper bound of the characters that the decoder read, including those it read to
    count lines for the error."""
    is_known = isinstance(error, json.JSONDecodeError) and "Unterminated" not in error.msg
    return (error.pos if is_known else length) - start + length // 300


def did_you_mean(name: str, known, form: str = "{}") -> str:
    """Return a hint: the known name most similar to `name`, or else all known names, each formatted
    by `form`."""
    near = difflib.get_close_matches(name, list(known), 1)
    if near:
        return f"Did you mean {form.format(near[0])}?"
    listed = ", ".join(form.format(printable(one, 200)) for one in known)
    return f"Known: {listed or 'none'}."


def number_text(number) -> str:
    """Return a number as a text. 3.0 (an integer from a column with gaps) becomes "3"."""
    is_whole = isinstance(number, float) and number.is_integer()
    return str(int(number) if is_whole else number)


def natural(name: str) -> list:
    """Return a sort key that puts prompts_2_10 after prompts_2_9."""
    return [int(part) if part.isdecimal() else part for part in _DIGITS.split(name)]


def name_hash(name: str) -> int:
    """Return the hash of a name, which decides the item's shard."""
    encoded = name.encode(errors="surrogatepass")   # an untrusted name may have lone surrogates
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "big")


def in_shard(name: str, shard: tuple[int, int] | None) -> bool:
    """Return whether an item belongs to shard (i, n): whether its name's hash mod n is i. For None,
    return True."""
    return not shard or name_hash(name) % shard[1] == shard[0]


def decoded(value):
    """Return the value of a JSON text; return anything else unchanged."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value
