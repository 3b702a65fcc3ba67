"""Word the report of a bug without a model: a title, a script, and its outcomes in the two trees.

A form (issue_forms.toml) is a text with holes. A form and its phrases are drawn from those whose
holes all have a part. Parts come from the two runs, and from what is known of the project
(known.sh). Whether the manner of a form suits the project is not looked at.
"""
from __future__ import annotations

import ast
import random
import re
import sys
from collections.abc import Mapping, Sequence

from codedata.bugs.issue_facts import Difference
from codedata.texts import fill, toml_of

FORMS = toml_of(__package__, "issue_forms.toml")
HOLE = re.compile(r"\{(\w+)\}")
MAX_SHORT, MAX_INLINE, MAX_BLOCK = 32, 100, 600   # characters of an outcome in a title, line, block
MAX_PART, BESIDE = 60, 10      # of a longer outcome: characters that are shown, some before it
FOREIGN = sys.stdlib_module_names | {"pytest"}    # modules that are not the project's
COMMON = {name for kind in (str, list, dict, set) for name in dir(kind)}   # methods
NEW_OBJECT = re.compile(r"\b([A-Z]\w*)\((?:(?!\)\.).)*\)", re.DOTALL)
CALL = re.compile(r"(?<![\w$.])(?!require|console|JSON|Object|Array|String|import)([\w$.]+)\(")


def report_text(found: Difference, draw: random.Random, known: Mapping[str, str]
                ) -> tuple[str, str]:
    """Return (the name of a form, a report in it). `known` has at least "project"."""
    parts = _parts(found, known)
    kinds, forms = FORMS["kinds"], FORMS["forms"]
    phrases = {name: draw.choice(_drawable(texts, parts)) for name, texts in (
        FORMS["pieces"] | kinds.get(found.form, kinds["value"])).items()}
    fitting = {name: form["text"] for name, form in forms.items()
               if found.form in form.get("kinds", [found.form])
               and _drawable([form["text"]], parts | phrases)}
    name = draw.choice([*fitting])
    text = re.sub("\n{3,}", "\n\n", fill(fitting[name], **phrases))
    return name, f"{fill(text, **parts).strip()}\n"


def _drawable(texts: Sequence[str], parts: Mapping[str, str]) -> list[str]:
    """Return the texts whose holes all have a part."""
    return [one for one in texts if parts.keys() >= {*HOLE.findall(one)}]


def _parts(found: Difference, known: Mapping[str, str]) -> dict[str, str]:
    """Return what can be put into holes."""
    right, wrong = found.right, found.wrong
    program = right.program.rstrip("\n")
    parts = {**known, "script": program, "script_block": indented(program),
             "language": right.language, "name": called(program) or known["project"],
             **_told("was", wrong.told, right.told, found.form),
             **_told("should", right.told, wrong.told, found.form)}
    was, should = (FORMS["types"].get(one.type, one.type) for one in (wrong, right))
    is_same = (wrong.kind, was) == (right.kind, should)
    parts |= {"same_type": was} if is_same else {"was_type": was, "should_type": should}
    code = right.last or right.lines[-1]
    start = re.escape(parts["name"].rpartition(".")[2])
    if re.match(rf"[\w.]*\b{start}\(.*\)$", code, re.DOTALL) and right.is_atom(code):
        parts["direct"] = parts["name"]
    if does := known.get(f"does {parts['name'].rpartition('.')[2]}"):
        parts["does"] = does
    lines = program.split("\n")
    if len(lines) == 2 and lines[0].startswith(("import ", "from ")) and right.last:
        parts |= {"setup": lines[0], "call": right.last, "shown": lines[1]}
    return parts


def _told(side: str, text: str, other: str, kind: str) -> dict[str, str]:
    """Return the parts for an outcome. A long one is told by its size and by where it differs."""
    word = FORMS["nothing"].get(kind, {}).get(text)
    text = word or text
    if len(text) > MAX_BLOCK:
        at = next((n for n, pair in enumerate(zip(text, f"{other}\0", strict=False))
                   if len({*pair}) > 1), len(text))
        start = max(0, at - BESIDE)
        first, part, last = (f"`` {one.strip()} ``".replace("\n", "\\n") for one in (
            text[:MAX_PART // 2], text[start:start + MAX_PART], text[-MAX_PART // 2:]))
        more = f", with {part} from character {start + 1:,} on" if at else ""
        return {side: f"a text of {len(text):,} characters, from {first} to {last}{more}"}
    parts = {f"{side}_block": indented(text)}
    if len(text) <= MAX_INLINE and not re.search("[\n`]", text):
        parts |= {side: word or f"`{text}`", f"{side}_line": text}
        if len(text) <= MAX_SHORT:
            parts[f"short_{side}"] = text
    return parts


def indented(text: str) -> str:
    """Return a text as a block of Markdown."""
    return "\n".join(f"    {line}" for line in text.split("\n"))


def called(program: str) -> str:
    """Return the project's function that a program calls last, with the class of a new object; ""
    for none. Modules that are not of the standard library count as the project's."""
    try:
        nodes = [*ast.walk(ast.parse(program))]
    except SyntaxError:   # of JavaScript
        return next((CALL.findall(line)[0] for line in reversed(program.split("\n"))
                     if CALL.search(line)), "")
    own = {(alias.asname or alias.name).partition(".")[0] for node in nodes
           if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
           if (getattr(node, "module", "") or alias.name).partition(".")[0] not in FOREIGN}
    made = {}   # code by the variable that it is assigned to

    def resolved(node: ast.AST) -> str:
        return re.sub(r"^\w+", lambda found: made.get(found[0], found[0]), ast.unparse(node))

    for node in nodes:
        if isinstance(node, ast.Assign):
            made[ast.unparse(node.targets[0])] = resolved(node.value)
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    for node in sorted(calls, key=lambda one: -one.lineno):
        text = NEW_OBJECT.sub(r"\1", resolved(node.func))
        method = text.rpartition(".")[2]
        if not own.isdisjoint(re.findall(r"^\w+", text)):
            if re.fullmatch(r"[\w.]+", text):
                return text
            if method.isidentifier() and method not in COMMON:
                return method
    return ""
