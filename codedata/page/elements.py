"""Make HTML elements from untrusted texts, and a page from elements.

tag() escapes every text that is not Html, so a caller cannot forget it. The page's
Content-Security-Policy lets only its own script run (by its hash) and fetches nothing; passing a
string to innerHTML or eval is an error (trusted types).

    document("Turns", tag("h1", "Turns"), table(["turn", "score"], [["t_1", "80"]], "lr"))
"""
from __future__ import annotations

import base64
import hashlib
import html
import re

from codedata.texts import fill, text_of, without_middle

MAX_CHARS = 10_000   # limit for one text
MAX_SHORT = 90       # limit for a text that is shown in a row with others
MAX_ENTRIES = 150    # limit for each end of a list
CUT = "{n} characters left out: they are in the record's files"
# characters that cannot be seen or change how their neighbours are read: control and bidirectional
# characters, invisible letters, lone surrogates
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]")
POLICY = ("default-src 'none'; script-src {script}; style-src {style}; img-src data:; "
          "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; "
          "trusted-types 'none'")
CARD = re.compile(r"\[(\w+)\]\((\./export/\w+/README\.md)\)")


class Html(str):
    """Hold HTML, which is inserted as it is."""


def tag(name: str, *body, **attributes) -> Html:
    """Return an element. Texts in it are escaped; None, False and "" are left out, also as the
    value of an attribute. `class_` is the attribute `class`."""
    listed = "".join(f' {key.rstrip("_")}="{escaped(str(value))}"'
                     for key, value in attributes.items() if value)
    return Html(f"<{name}{listed}>{joined(body)}</{name}>")


def joined(body) -> Html:
    """Return texts, elements and lists of them as HTML."""
    if isinstance(body, Html):
        return body
    if isinstance(body, (list, tuple)):
        return Html("".join(map(joined, body)))
    return Html("" if body is None or body is False else escaped(str(body)))


def escaped(text: str) -> str:
    """Return a text escaped for HTML. CRLF becomes LF; characters that cannot be seen become a
    symbol or a code such as ⟨U+202E⟩."""
    return html.escape(UNSEEN.sub(_sign, text.replace("\r\n", "\n")))


def _sign(match: re.Match) -> str:
    n = ord(match[0])
    return chr(0x2400 + n) if n < 0x20 else f"⟨U+{n:04X}⟩"   # ␀ ␛ ␍


def marked(text: str) -> Html:
    """Return a sentence of Markdown as HTML, without emphasis; links to cards stay links."""
    return Html(CARD.sub(r'<a href="\2">\1</a>', escaped(text.replace("*", ""))))


def fold(title: str, body) -> Html:
    """Return a <details> element, or "" if its body is empty."""
    inside = joined(body)
    return tag("details", tag("summary", title), inside) if inside else inside


def sides(texts: dict[str, str]) -> Html:
    """Return texts by title, side by side if there is room."""
    return tag("div", [tag("div", tag("h4", title), shown(text))
                       for title, text in texts.items()], class_="sides")


def shown(value) -> Html:
    """Return a JSON value as HTML. An object shows its short values in a row, then each long one; a
    long text or list shows only its start and its end."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        ends = value[:MAX_ENTRIES] + value[MAX_ENTRIES:][-MAX_ENTRIES:]
        return joined([tag("div", shown(one), class_="card") for one in ends])
    if not isinstance(value, dict):
        text = "\n".join(map(str, value)) if isinstance(value, list) else str(value)
        return tag("pre", without_middle(text, MAX_CHARS, CUT))
    short = [key for key, one in value.items()
             if not isinstance(one, (list, dict)) and len(str(one)) <= MAX_SHORT]
    return joined([
        tag("dl", [tag("div", tag("dt", key), tag("dd", str(value[key])))
                   for key in short if value[key] not in (None, "")]),
        [[tag("h4", key), shown(one)] for key, one in value.items() if one and key not in short]])


def table(columns, rows, align: str) -> Html:
    """Return a table. `align` has a letter for each column: "r" or "p" for numbers."""
    def line(kind: str, cells) -> Html:
        return tag("tr", [tag(kind, cell, class_="number" if letter in "rp" else "")
                          for cell, letter in zip(cells, align, strict=True)])

    return tag("div", tag("table", line("th", columns), [line("td", cells) for cells in rows]),
               class_="wide")


def document(title: str, *body) -> bytes:
    """Return a page as UTF-8 bytes."""
    script, style = text_of(__package__, "page.js"), text_of(__package__, "page.css")
    policy = POLICY.format(script=_hash(script), style=_hash(style))
    return fill(text_of(__package__, "page.html"), policy=escaped(policy), title=escaped(title),
                style=style, body=joined(body), script=script).encode()


def _hash(text: str) -> str:
    """Return the Content-Security-Policy hash of a script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
