"""Make the blocks that a page is built from: plain JSON values, which page.js draws.

A block is a text, a whole number, None, a list of blocks, or {"kind": …}, whose kind page.js knows
(KINDS) or is an element with its classes, such as "p.lead". Texts and records may come from
anybody, since they become text nodes; a kind has to be a constant.
"""
from __future__ import annotations

Block = str | int | list | dict | None
LISTING: Block = {"kind": "listing"}   # the table of the page's rows


def box(kind: str, *body: Block) -> Block:
    """Return an element: "p.lead" is a paragraph of the class `lead`."""
    return {"kind": kind, "body": body}


def card(title: str, *body: Block) -> Block:
    """Return a framed part of a section, with a title."""
    return box("div.card", box("h3", title), *body)


def part(title: str, *body: Block) -> Block:
    """Return a part of a row's details, with its heading."""
    return box("section.part", box("h3", title), *body)


def section(id: str, title: str, *body: Block) -> Block:
    """Return a section of a page, which its head links to."""
    return {"id": id, "title": title, "body": body}


def table(caption: str, columns: list[Block], rows: list[list[Block]], align: str) -> Block:
    """Return a table to read. `align` has a letter for each column: "r" for numbers, "w" for
    words, "p" for scores, else "l"."""
    return {"kind": "table", "caption": caption, "columns": columns, "rows": rows, "align": align}
