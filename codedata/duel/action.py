r"""What kind of step a command is: explore, edit, test, submit or other. A reading aid, judged by the words it uses.

A command of several parts is of the strongest kind that occurs in it: submit > edit > test > other > explore, so
"cd src && sed -i s/a/b/ x.py && pytest" is an edit. Running code is a test, also where no test runner is named.
"""
from __future__ import annotations

import re
import shlex
from functools import lru_cache

from codedata.duel.texts import packaged_text

EXPLORE, EDIT, TEST, SUBMIT, OTHER = STYLES = ("explore", "edit", "test", "submit", "other")
STRENGTH = (SUBMIT, EDIT, TEST, OTHER, EXPLORE)
SUBMIT_WORDS = ("COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT", "MINI_SWE_AGENT_FINAL_OUTPUT")
INSTALLS = {("npm", "install"), ("npm", "i"), ("npm", "ci"), ("yarn", "add"), ("yarn", "install"), ("pnpm", "install"),
            ("pnpm", "add"), ("go", "get"), ("go", "install"), ("cargo", "install"), ("cargo", "add"),
            ("bundle", "install"), ("go", "mod")}
IN_PLACE = {"sed": r"-\w*i|--in-place", "perl": r"-\w*i", "ruby": r"-\w*i", "gofmt": r"-\w*w", "awk": r"inplace",
            "prettier": r"--write|-w", "eslint": r"--fix", "ruff": r"--fix|format", "clang-format": r"-i",
            "black": r"[^-]", "isort": r"[^-]", "find": r"-delete", "sort": r"-o"}
BEFORE = {"sudo", "time", "command", "exec", "nohup", "xargs", "env", "timeout", "then", "do", "else", "if", "while",
          "until", "!", "{", "}", "(", ")", "fi", "done", "eval", "stdbuf", "nice"}
HEREDOC = re.compile(r"<<-?[ \t]*(['\"]?)(\w+)\1([^\n]*)\n(.*?)(?:\n[ \t]*\2[ \t]*(?=\n|\Z)|\Z)", re.DOTALL)
WRITES = re.compile(r"""\.write_(?:text|bytes)\(|\.write\(|\bopen\([^)]*,\s*(?:mode=)?['"][wax]|writeFile|"""
                    r"""\bshutil\.|\bos\.(?:rename|replace|remove|unlink)\(|File\.write|fs\.(?:append|rm|rename)""")
NOWHERE = re.compile(r"/dev/(?:null|stdout|stderr|tty)\Z")


def action_style(command: str) -> str:
    """The style of a bash command; "other" where it cannot be read."""
    if any(word in command for word in SUBMIT_WORDS) or command.strip() in ("submit", "exit"):
        return SUBMIT
    scripts = [found[4] for found in HEREDOC.finditer(command)]
    bare = HEREDOC.sub(lambda found: f"<<{found[2]}{found[3]}", command)
    styles = {_style(words) for words in simple_commands(bare)} or {OTHER}
    if TEST in styles and any(WRITES.search(text) for text in (*scripts, bare)):
        styles.add(EDIT)   # a program on the command line that writes files
    return next(style for style in STRENGTH if style in styles)


def simple_commands(command: str):
    """The words of each simple command; a redirection into a file is the word ">"."""
    lexer = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    words, target = [], False
    try:
        tokens = list(lexer)
    except ValueError:   # an open quote
        tokens = command.split()
    for token in tokens:
        if token and all(c in "();|&\n" for c in token):
            if words:
                yield words
            words, target = [], False
        elif token.startswith((">", "&>")):
            target = not token.endswith("&")   # >&2 goes to no file
        elif token.startswith("<"):
            target = False
        elif target:
            words += [] if NOWHERE.search(token) else [">"]
            target = False
        else:
            words.append(token)
    if words:
        yield words


@lru_cache
def _programs() -> dict[str, str]:
    """{program: style}, and {"git verb": style}."""
    text = re.sub(r"^#.*\n|\n ", "", packaged_text("programs.txt"), flags=re.MULTILINE)
    kinds = dict(line.split(": ", 1) for line in text.splitlines())
    git = {f"git {verb}": EXPLORE for verb in kinds.pop("git-explore").split()}
    return git | {program: style for style, programs in kinds.items() for program in programs.split()}


def _style(words: list[str]) -> str:
    if ">" in words:
        return EDIT
    while words and (words[0] in BEFORE or re.match(r"\w+=|-|[\d.]+[smhd]?\Z", words[0])):
        words = words[1:]
    if not words or words[0] in ("for", "case", "function", "select"):   # what they do stands in the parts behind
        return EXPLORE
    name, rest = words[0].rpartition("/")[2], words[1:]
    if name == "git":
        verb = re.sub(r"^(-[cC] \S+ |-\S+ )*", "", " ".join(rest)).partition(" ")[0]
        return _programs().get(f"git {verb}", EDIT)
    in_place = IN_PLACE.get(name)
    if in_place and not {"--check", "--diff"} & set(rest) and any(re.match(in_place, word) for word in rest):
        return EDIT
    if (name, rest[0] if rest else "") in INSTALLS or "pip" in (name, *rest[1:2]):
        return OTHER
    is_file = "/" in words[0] or name.endswith((".sh", ".py"))
    return _programs().get(name, TEST if is_file else OTHER)
