"""Make replacements for operators that need more than a template.

Each public function takes the first node of each capture named in its parameters, and the file's
text; it returns the texts that may replace @site. None in the list removes @site.
"""
from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from codedata.code.operators.syntax import ancestor

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_DIGITS = 9
MAX_NAMES = 300    # names to compare a name with
SIMPLE = {"identifier", "attribute", "call", "subscript", "await"}
SIBLINGS = {b"+": b"-", b"-": b"+", b"*": b"+", b"**": b"*", b"/": b"//", b"//": b"/", b"%": b"//"}
NO_NUMBER = {"string", "list", "tuple"}
OWN = {b"self", b"cls"}                 # parameters rarely confused with others
FUNCTIONS = ("function_definition", "function_declaration", "method_definition",
             "method_declaration")
GETTER = re.compile(rb"@[\w.]*(?:property|getter)\b|\bget\s|\b_*[gG]et(?:_|[A-Z])\w*\Z")
KEY = re.compile(rb"""(?:\[|\.get\(|\.pop\(|\.setdefault\()(["'][^"'\\\n]{1,60}["'])[\]),]""")


def negated(site: Node, **_) -> list[bytes]:
    """Return the negation of a SIMPLE condition or of one with `and` or `or`, else nothing."""
    if site.type in SIMPLE:
        return [b"not " + site.text]
    return [b"not (%s)" % site.text] if site.type == "boolean_operator" else []


def arithmetic_sibling(site: Node, **_) -> list[bytes]:
    """Return the SIBLINGS entry of an operator, unless a string, list or tuple is an operand."""
    has_text = any(quote in site.parent.text for quote in (b"'", b'"', b"`"))
    has_other = any(one.type in NO_NUMBER for one in site.parent.children)
    return [] if has_text or has_other else [SIBLINGS[site.text]]


def off_by_one(site: Node, text: bytes, **_) -> list[bytes]:
    """Return a decimal number plus 1 and minus 1, but not 0 after + or -, since adding 0 is
    implausible."""
    if not site.text.isdigit() or len(site.text) > MAX_DIGITS:
        return []
    before = text[max(0, site.start_byte - 9):site.start_byte].rstrip()
    least = 1 if before.endswith((b"+", b"-", b"+=", b"-=")) else 0
    number = int(site.text)
    return [b"%d" % other for other in (number + 1, number - 1) if other >= least]


def guard_dropped(site: Node, text: bytes, **_) -> list[None]:
    """Remove a guard, except in a getter: a property, or a method whose name begins with get."""
    function = ancestor(site, *FUNCTIONS)
    if function is None:
        return [None]
    holder = function.parent if function.parent.type == "decorated_definition" else function
    head = text[holder.start_byte:function.child_by_field_name("name").end_byte]
    return [] if GETTER.search(head) else [None]


def other_parameter(site: Node, **_) -> list[bytes]:
    """Return the next parameter with the same annotation or type of default as the used one."""
    function = ancestor(site, "function_definition")
    kinds = _parameters(function) if function else {}
    names = [name for name in kinds if kinds[name] == kinds.get(site.text)]
    if len(names) < 2:
        return []
    return [names[(names.index(site.text) + 1) % len(names)]]


def other_key(site: Node, **_) -> list[bytes]:
    """Return the most similar other key used in the same function."""
    around = ancestor(site, "function_definition") or ancestor(site, "module")
    return _similar(site.text, KEY.findall(around.text)) if around else []


def rebinding_dropped(name: Node, value: Node, **_) -> list[None]:
    """Remove an assignment whose value uses the name that it assigns to."""
    return [None] if re.search(rb"\b%b\b" % re.escape(name.text), value.text) else []


def other_attribute(site: Node, text: bytes, **_) -> list[bytes]:
    """Return the most similar other attribute of the same class."""
    holder = ancestor(site, "class_definition")
    if holder is None or text[site.end_byte:site.end_byte + 1] == b"(":
        return []
    return _similar(site.text, re.findall(rb"\bself\.(\w+)\b(?!\()", holder.text), 0.7)


# helpers -----------------------------------------------------------------------------------------

def _parameters(function: Node) -> dict[bytes, bytes]:
    """Return {name: annotation, else the type of the default} of the parameters, without *args,
    **kwargs, self and cls."""
    kinds = {}
    for one in function.child_by_field_name("parameters").named_children:
        name = one.child_by_field_name("name") or next(iter(one.children), one)
        of_type, value = (one.child_by_field_name(part) for part in ("type", "value"))
        if name and name.type == "identifier" and name.text not in OWN:
            default = value.type.encode() if value else b""
            kinds[name.text] = of_type.text if of_type else default
    return kinds


def _similar(name: bytes, others: list[bytes], cutoff: float = 0.0) -> list[bytes]:
    """Return [the most similar other name], or []."""
    names = sorted({other.decode() for other in others} - {name.decode()})
    if len(names) > MAX_NAMES:
        return []
    return [one.encode() for one in get_close_matches(name.decode(), names, 1, cutoff)]
