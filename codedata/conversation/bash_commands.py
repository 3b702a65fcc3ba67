"""Classify a bash command as explore, edit, test, submit or other, by its words.

The style is a help for readers of a report, not a proof. A command of several parts has the
strongest style of its parts, submit > edit > test > other > explore: "cd src && sed -i s/a/b/ x.py
&& pytest" is an edit. Running code counts as a test, even without a test runner and wherever the
output goes.

tree-sitter-bash parses the command (the extra `code`). Without it the style is "unknown", unless
it is submit. Only the first MAX_BYTES are read, since the parser takes quadratic time for some
texts.
"""
from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import dropwhile

from codedata.texts import text_of

SUBMIT, EDIT, TEST, OTHER, EXPLORE = STYLES = ("submit", "edit", "test", "other", "explore")
UNKNOWN = "unknown"
INSTALL = "install the extra `code` of codedata"   # written to files, so without local paths
MAX_BYTES = 10_000
MAX_WORDS = 200    # words read of a simple command

REDIRECTED = ">"   # pseudo-command for a redirection into a file
OUTPUTS = {REDIRECTED, "tee"}
VERSIONS = (["--version"], ["-version"], ["-V"])
CHECKS = {"--check", "--diff"}   # arguments that keep a formatter from changing files
AT_LEAST = {"prefix": EXPLORE, "run": TEST}   # weakest style of a program that runs another command
SUBMITS = re.compile(r"\b(?:echo|printf|cat)\b[^;&|]{0,80}?(?:COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
                     r"|MINI_SWE_AGENT_FINAL_OUTPUT)|\A\s*(?:submit|exit)\s*\Z")
# assignments, flags, substitutions and numbers that precede a program
SKIPPED = re.compile(r"[A-Za-z_]\w*\+?=|-|[$`]|\d[\d.]*[smhd]?\Z")
GIT_OPTIONS = re.compile(r"^(?:-[cC] \S+ |-\S+ )+")
INTO_A_FILE = re.compile(
    r"[\d&]*>[>|]?(?!&[\d-]|&?\s*[\"']?/dev/(?:null|stdout|stderr|tty)\b)")
WRITES = re.compile(
    r"\.write_(?:text|bytes)\(|(?<!stdout)(?<!stderr)\.write\(|writeFile|\.(?:unlink|touch)\(|"
    r"\bopen\([^\n]{0,120}?,\s{0,9}(?:mode=)?['\"][wax]|\bos\.(?:rename|replace|remove)\(|"
    r"\bshutil\.(?:copy|move|rmtree)|File\.write|fs\.(?:append|rm|rename)")
QUERY = """
    [(command) (test_command) (declaration_command) (unset_command)
     (variable_assignment)] @command
    (file_redirect) @redirect
    (heredoc_body) @script
"""
# agents tidy up with these after their last check; a removal of source is not seen
TIDIES = re.compile(r"(?:rm|rmdir|mkdir|git (?:-\w \S+ )?(?:add|commit|diff))\b")
# its group is a script in an argument of a shell
SHELL = re.compile(r"(?s)(?:(?:sudo|timeout|env|docker) .*? )?(?:\S*/)?(?:ba|da|z)?sh -\w*c (.*)")
IDLE = {"true", ":", "sleep", "wait", "pwd", "cd", "echo", "printf", "clear", "date", "whoami"}
PIPELINE = {"pipeline", "redirected_statement", "heredoc_redirect"}
NO_WORDS = {"variable_assignment", "variable_name", "herestring_redirect", "file_redirect"}


def action_style(command: str) -> str:
    """Return the style of a bash command, one of STYLES; "other" if it contains no command.

    Return UNKNOWN if the extra `code` is not installed.
    """
    if SUBMITS.search(command):
        return SUBMIT
    if not _grammar():
        return UNKNOWN
    return _strongest([style for style, _ in _pipelines(command)] or [OTHER])


def last_act(command: str) -> str:
    """Return the style of the last part of a bash command that edits or runs code: EDIT, TEST, or
    "" if there is none. Removing files, `git add`, `git commit` and `git diff` do not count, since
    agents tidy up and write patches at the end.

    Return UNKNOWN if the extra `code` is not installed.
    """
    if not _grammar():
        return UNKNOWN
    acts = [style for style, words in _pipelines(command)
            if style in (EDIT, TEST) and not TIDIES.match(" ".join(words))]
    return acts[-1] if acts else ""


def hands_in(command: str) -> bool:
    """Return whether a bash command submits, with only exploring commands before that. A call of a
    submitting tool has the command `submit`."""
    match = SUBMITS.search(command)
    if not match:
        return False
    before = command[:match.start()].strip(" \n;&|")
    return not before or action_style(before) == EXPLORE


def simple_commands(command: str) -> list[tuple[str, ...]]:
    """Return the words of each simple command, in order; none without the extra `code`."""
    return [words for pipeline, _ in _read(command) for words in pipeline] if _grammar() else []


@lru_cache
def _grammar():
    """Return (parser, query cursor), or None if the extra `code` is not installed."""
    try:
        import tree_sitter
        import tree_sitter_bash
    except ImportError:
        return None
    language = tree_sitter.Language(tree_sitter_bash.language())
    return tree_sitter.Parser(language), tree_sitter.QueryCursor(tree_sitter.Query(language, QUERY))


def _pipelines(command: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (style, the words of its first simple command) of each pipeline, in order."""
    for pipeline, scripts in _read(command):
        if inner := SHELL.match(" ".join(pipeline[0])):
            yield from _pipelines(inner[1])
            continue
        style_of = {words: _style(words) for words in pipeline}
        runs_code = TEST in style_of.values()
        style = _strongest(style for words, style in style_of.items()
                           if not (runs_code and words[0] in OUTPUTS))
        code = [*scripts, *(" ".join(words) for words in pipeline if style_of[words] == TEST)]
        if style == TEST and any(map(WRITES.search, code)):
            style = EDIT   # the code in an argument or a heredoc writes files
        yield style, pipeline[0]


def _read(command: str) -> list[tuple[list[tuple[str, ...]], list[str]]]:
    """Return (simple commands, bodies of the heredocs) of each pipeline."""
    parser, cursor = _grammar()
    text = command.replace("\r\n", "\n").encode(errors="replace")[:MAX_BYTES]
    found = defaultdict(list, cursor.captures(parser.parse(text).root_node))
    pipelines, scripts = defaultdict(list), defaultdict(list)
    commands = sorted(found["command"], key=lambda node: node.start_byte)
    for node in commands:
        words = [_text(child).strip("\"'\\") for child in node.children
                 if child.type not in NO_WORDS]
        pipelines[_pipeline_id(node)].append(tuple(words[:MAX_WORDS]) or ("",))
    for node in found["redirect"]:
        if INTO_A_FILE.match(_text(node)):
            # in `cd a && git diff > b`, the redirection is outside of both commands
            earlier = [one for one in commands if one.end_byte <= node.start_byte]
            key = _pipeline_id(node)
            key = _pipeline_id(earlier[-1]) if earlier and key not in pipelines else key
            pipelines[key].append((REDIRECTED,))
    for node in found["script"]:
        scripts[_pipeline_id(node)].append(_text(node))
    return [(pipeline, scripts[key]) for key, pipeline in pipelines.items()]


def _pipeline_id(node) -> int:
    """Return the id of the outermost node of the pipeline around a command or redirection."""
    parent = node.parent
    # the right side of `cat > a.py <<E && python a.py` is a separate pipeline
    while parent and parent.type in PIPELINE and node != parent.child_by_field_name("right"):
        node, parent = parent, parent.parent
    return node.id


def _text(node) -> str:
    """Return the text of a node of the syntax tree."""
    return node.text.decode(errors="replace")


def _style(words: Sequence[str]) -> str:
    """Return the style of one simple command."""
    words = list(dropwhile(SKIPPED.match, words))
    if not words:
        return EXPLORE
    table = _table()
    name, args = words[0].rpartition("/")[2], words[1:]
    if name not in table:   # drop the version, as in python3.11 and g++-12
        name = name.rstrip("0123456789.-") or name
    if name == "git":
        args = GIT_OPTIONS.sub("", " ".join(args)).split()
    if args in VERSIONS:
        return EXPLORE
    in_place = re.compile(table.get(f"{name}=", "$."))
    if any(map(in_place.match, args)) and CHECKS.isdisjoint(args):
        return EDIT
    if name == "find" and "-exec" in args:
        return _strongest([EXPLORE, _style(args[args.index("-exec") + 1:])])
    for n in (3, 2, 1, 0):   # look the program up with its subcommands first
        style = table.get("/".join([name, *args[:n]]))
        if style in AT_LEAST:
            return _strongest([AT_LEAST[style], _style(args[n:])])
        if style:
            return style
    return TEST if "/" in words[0] or name.endswith((".sh", ".py")) else OTHER


def _strongest(styles: Iterable[str]) -> str:
    return min(styles, key=STYLES.index)


@lru_cache
def _table() -> dict[str, str]:
    """Return {program or program/subcommand: style}, and {program=: pattern of its in-place
    option}."""
    text = text_of("codedata.conversation", "programs.txt")
    text = re.sub(r"^#.*\n|\n ", "", text, flags=re.MULTILINE)
    lines = [line.split(": ", 1) for line in text.splitlines()]
    words = [(style, *word.partition("=")) for style, line in lines for word in line.split()]
    return {program + sign: pattern or style for style, program, sign, pattern in words}
