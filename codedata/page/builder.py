r"""Build an HTML page as one file: sections of blocks, and a table of rows.

    build("Tasks", [section("tasks", "Tasks", LISTING)], table={"noun": "task",
          "columns": [{"key": "id", …}, …], "filters": […], "searches": "Search ids"},
          rows=[{"id": "t17", "second": "…"}, …], details={17: pack([…])})

blocks.py makes the blocks. A row has an `id`, the values of its columns and filters, and perhaps
`short`, the blocks that are shown when a row without `details` is opened. In the browser page.js
draws all of it; details are inflated when a row is opened (deflate, base64). Data are inserted as
text nodes and never as markup. The page's Content-Security-Policy enforces this: only this script
runs (by its hash), nothing is fetched, and passing a string to innerHTML or eval is an error
(trusted types).

A column is {key, title, kind: how its values are drawn (CELLS in page.js), hint, digits, missing,
width, room: "wide", "middle" or "narrow", the smallest window that shows it, order: of its values,
place: "table" or "facts", if it is shown there alone}. A filter is {key, title, any, options:
[[value, title], …], by default the values of the rows, least: it is hidden with fewer}; one without
values is hidden. `up` leads from the page to its files, "../" by default. `colours` are classes of
page.css, by value. `grid` names the judges and metrics of letters that are drawn as
squares, and their meanings; a filter of such letters has {grid: their key, with: [keys of filters
that say {setting: true}]}.

Data may hold any text. visible() replaces characters that cannot be seen or that change how their
neighbours are read (bidi and other control characters, invisible letters, NUL, lone surrogates) by
a symbol or a code such as ⟨U+202E⟩. Equal arguments give equal bytes.
"""
from __future__ import annotations

import base64
import hashlib
import html
import re
import zlib
from collections.abc import Iterable, Mapping

import orjson

from codedata.page.blocks import Block
from codedata.texts import text_of

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]")
POLICY = ("default-src 'none'; script-src {script}; style-src {style}; img-src data:; "
          "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
          "trusted-types 'none'")


def build(title: str, sections: list, table: dict, rows: list[dict],
          details: Mapping[int, bytes]) -> bytes:
    """Return the page as UTF-8 bytes. `details` are by the row's index."""
    code, rules = text_of(__package__, "page.js"), text_of(__package__, "page.css")
    blocks = {"rows": pack(rows), **{f"row-{k}": details[k] for k in sorted(details)}}
    parts = {
        "policy": html.escape(POLICY.format(script=_hash(code), style=_hash(rules))).encode(),
        "title": html.escape(visible(title)).encode(), "style": rules.encode(),
        "script": code.encode(),
        "data": _in_script(orjson.dumps(visible(
            {"sections": [one for one in sections if one], "table": table}))),
        "blocks": b"\n".join(
            b'<script type="text/plain" id="block-%s">%s</script>' % (name.encode(), value)
            for name, value in blocks.items())}
    pieces = re.split(r"\{(\w+)\}", text_of(__package__, "page.html"))
    return b"".join(parts[piece] if i % 2 else piece.encode() for i, piece in enumerate(pieces))


def pack(value) -> bytes:
    """Return a value as a compressed block for build()."""
    return base64.b64encode(zlib.compress(orjson.dumps(visible(value)), 9))


def pack_fitting(details: Iterable[tuple[int, Block]], room: int) -> dict[int, bytes]:
    """Return {place of a row: its packed details, if there are any} for as many as fit into `room`
    bytes. Stop when less than a hundredth of the room is left."""
    fitting, left = {}, room
    for k, blocks in details:
        if blocks and left >= room / 100 and len(packed := pack(blocks)) <= left:
            fitting[k] = packed
            left -= len(packed)
    return fitting


def visible(value):
    """Return a JSON value with hidden characters replaced by visible symbols; CRLF becomes LF."""
    if isinstance(value, str):
        value = value.replace("\r\n", "\n")
        return UNSEEN.sub(_sign, value) if UNSEEN.search(value) else value
    if isinstance(value, dict):
        return {visible(str(key)): visible(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [visible(item) for item in value]
    return value


def shortened(text: str, max_chars: int) -> str:
    """Return a text of at most `max_chars` characters, with … for what was cut."""
    return text if len(text) <= max_chars else text[:max_chars - 1] + "…"


def _sign(match: re.Match) -> str:
    """Return the visible symbol for a hidden character."""
    n = ord(match[0])
    return chr(0x2400 + n) if n < 0x20 else f"⟨U+{n:04X}⟩"   # ␀ ␛ ␍


def _in_script(data: bytes) -> bytes:
    """Return JSON escaped so that it cannot end its script element or begin a comment in it."""
    return data.replace(b"&", b"\\u0026").replace(b"<", b"\\u003c").replace(b">", b"\\u003e")


def _hash(text: str) -> str:
    """Return the Content-Security-Policy hash of a script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
