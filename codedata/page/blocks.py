"""Make the blocks that a page is built from: plain JSON values, which page.js draws.

A block is a text, a whole number, None, a list of blocks, or {"kind": …}, whose kind page.js knows
(KINDS) or is an element with its classes, such as "p.lead". Texts and records may come from
anybody, since they become text nodes; a kind has to be a constant.
"""
from __future__ import annotations

from dataclasses import asdict

from codedata.llm.costs import Cost
from codedata.terminal import plural

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


def column(key: str, kind: str = "text", title: str | None = None, **more) -> dict:
    """Return a column of the page's table, with the rows' values of a key; builder.py describes
    columns."""
    return {"key": key, "kind": kind, "title": key if title is None else title, **more}


def count(**filters: str) -> Block:
    """Return the number of the page's rows that pass these filters."""
    return {"kind": "count", "filters": filters}


def unreadable(broken: list[str], noun: str, at_most: int) -> Block:
    """Return a notice of records that cannot be read, or None if there are none."""
    texts = [box("li", text) for text in broken[:at_most]]
    return box("div.notice", box("strong", f"{plural(len(broken), noun)} cannot be read:"),
               box("ul", *texts)) if broken else None


def costs_section(costs: list[Cost], lead: str) -> Block:
    """Return the section on the costs of calls, or None if there were no calls."""
    rows = [{**asdict(cost), "text": str(cost)} for cost in costs]
    return section("costs", "Costs and time", box("p.lead", lead),
                   {"kind": "costs", "costs": rows}) if rows else None
