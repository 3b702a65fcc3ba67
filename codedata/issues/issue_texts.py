"""Write the report of a bug without a model: a title, a script, its outcomes with and without the
bug.

A form (issue_forms.toml) is a text with placeholders (holes), and a part is the text for one hole.
Parts come from the two runs, and from known.sh's facts about the project. A form and its phrases
are drawn only if there is a part for each of their holes.
Whether the style of a form suits the project is not checked.
"""
from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from operator import eq

from codedata.issues.issue_facts import Difference
from codedata.texts import fill, toml_of

FORMS = toml_of(__package__, "issue_forms.toml")
HOLE = re.compile(r"\{(\w+)\}")
MAX_SHORT, MAX_INLINE, MAX_BLOCK = 32, 100, 600   # characters of an outcome in a title, line, block
MAX_PART = 40              # characters of a part of a longer outcome


def report_text(found: Difference, draw: random.Random, known: Mapping[str, str],
                blamed: tuple[str, bool]) -> tuple[str, str]:
    """Return (the name of a form, the report in this form). `known` has at least "project";
    `blamed` is as blame.blamed() returns it."""
    parts = _parts(found, known, *blamed)
    kinds, forms = FORMS["kinds"], FORMS["forms"]
    phrases = {name: draw.choice(_drawable(texts, parts)) for name, texts in (
        FORMS["pieces"] | kinds[found.kind]).items()}
    fitting = {name: form["text"] for name, form in forms.items()
               if found.kind in form.get("kinds", [found.kind])
               and _drawable([form["text"]], parts | phrases)}
    name = draw.choice([*fitting])
    text = re.sub("\n{3,}", "\n\n", fill(fitting[name], **phrases))
    return name, f"{fill(text, **parts).strip()}\n"


def more_text(found: Difference) -> str:
    """Return a further case of a report, with both outcomes."""
    was, should = found.wrong.shown, found.right.shown
    parts = {**_outcome_parts("was", was, should, found.kind),
             **_outcome_parts("should", should, was, found.kind)}
    was, should = (parts.get(f"{side}_block") or parts[side] for side in ("was", "should"))
    return (f"\nAnother case:\n\n```python\n{found.right.program}```\n\nIt gives\n\n{was}\n\n"
            f"and should give\n\n{should}\n")


def _drawable(texts: Sequence[str], parts: Mapping[str, str]) -> list[str]:
    """Return the texts whose holes all have a part."""
    return [one for one in texts if parts.keys() >= {*HOLE.findall(one)}]


def _parts(found: Difference, known: Mapping[str, str], name: str, is_last: bool
           ) -> dict[str, str]:
    """Return {hole: its text}."""
    right, wrong = found.right, found.wrong
    program = right.program.rstrip("\n")
    parts = {**known, "script": program, "script_block": indented(program),
             "language": "python", "name": name or known["project"],
             **_outcome_parts("was", wrong.shown, right.shown, found.kind),
             **_outcome_parts("should", right.shown, wrong.shown, found.kind)}
    was, should = (FORMS["types"].get(one.type, one.type) for one in (wrong, right))
    is_same = (wrong.kind, was) == (right.kind, should)
    parts |= {"same_type": was} if is_same else {"was_type": was, "should_type": should}
    if is_last:
        parts["direct"] = name
    lines = program.split("\n")
    if len(lines) == 2 and lines[0].startswith(("import ", "from ")) and right.last:
        parts |= {"setup": lines[0], "call": right.last, "shown": lines[1]}
    return parts


def _outcome_parts(side: str, text: str, other: str, kind: str) -> dict[str, str]:
    """Return the parts for an outcome. A long one is described by its size and the place of the
    difference."""
    word = FORMS["nothing"].get(kind, {}).get(text)
    text = word or text
    if len(text) > MAX_BLOCK:
        at = len([*takewhile(bool, map(eq, text, other))])
        first, part, last = (f"`` {one} ``".replace("\n", "\\n") for one in (
            text[:MAX_PART], text[at:at + MAX_PART], text[-MAX_PART:]))
        return {side: f"a text of {len(text):,} characters, from {first} to {last}, with {part} "
                      f"from character {at + 1:,} on"}
    parts = {f"{side}_block": indented(text)}
    if len(text) <= MAX_INLINE and not re.search("[\n`]", text):
        parts |= {side: word or f"`{text}`", f"{side}_line": text}
        if len(text) <= MAX_SHORT:
            parts[f"short_{side}"] = text
    return parts


def indented(text: str) -> str:
    """Return a text as a block of Markdown."""
    return "\n".join(f"    {line}" for line in text.split("\n"))
