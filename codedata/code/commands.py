r"""Classify a bash command as explore, edit, test, submit or other, from the words that it uses.

The style is an aid for readers of a report, not a proof. A command of several parts has the
strongest style that occurs in it, submit > edit > test > other > explore: "cd src && sed -i s/a/b/
x.py && pytest" is an edit. Running code counts as a test, even without a test runner and wherever
the output goes. Text in double quotes counts as literal text, even if the shell would run a command
substitution in it.
"""
from __future__ import annotations

import re
from functools import lru_cache

from codedata.texts import text_of

EXPLORE, EDIT, TEST, SUBMIT, OTHER = STYLES = ("explore", "edit", "test", "submit", "other")
STRENGTH = (SUBMIT, EDIT, TEST, OTHER, EXPLORE)
SUBMIT_WORDS = ("COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT", "MINI_SWE_AGENT_FINAL_OUTPUT")
INSTALLS = {("npm", "install"), ("npm", "i"), ("npm", "ci"), ("yarn", "add"), ("yarn", "install"), ("pnpm", "install"),
            ("pnpm", "add"), ("go", "get"), ("go", "install"), ("cargo", "install"), ("cargo", "add"),
            ("bundle", "install"), ("go", "mod"), ("composer", "install"), ("composer", "require"),
            ("composer", "update")}
FORMATS = {("cargo", "fmt"), ("go", "fmt"), ("mix", "format"), ("dart", "format"), ("dotnet", "format")}
RUNS = {("uv", "run"), ("poetry", "run"), ("pipenv", "run"), ("hatch", "run"), ("pdm", "run"), ("conda", "run"),
        ("coverage", "run"), ("pre-commit", "run"), ("bundle", "exec"), ("npm", "exec"), ("pnpm", "exec")}
VERSIONS = ({"--version"}, {"-version"}, {"-V"})
LOOKS = {("node", "-v"), ("npm", "-v"), ("php", "-v"), ("ruby", "-v"), ("go", "version"), ("npm", "ls"),
         ("git", "stash list"), ("git", "stash show")}
PIP_LOOKS = {"list", "show", "freeze", "check"}
IN_PLACE = {"sed": r"-\w*i|--in-place", "perl": r"-[a-z\d]*i", "ruby": r"-[a-z\d]*i", "gofmt": r"-\w*w",
            "awk": r"inplace", "prettier": r"--write|-w", "eslint": r"--fix", "ruff": r"--fix|format",
            "clang-format": r"-i", "black": r"[^-]", "isort": r"[^-]", "find": r"-delete", "sort": r"-o",
            "rubocop": r"-a|-A|--auto"}
BEFORE = {"sudo", "time", "command", "exec", "nohup", "xargs", "env", "timeout", "then", "do", "else", "elif", "if",
          "while", "until", "!", "{", "}", "{}", "fi", "done", "esac", "eval", "stdbuf", "nice", "$"}
# assignments, flags and numbers that precede a program
SKIPPED = re.compile(r"[A-Za-z_]\w*\+?=|-|\d[\d.]*[smhd]?\Z")
BLANK = re.compile(r"(?:[ \t\r\f\v]|\\\r?\n)+")
PLAIN = re.compile(r"""[^\s;&|()<>'"\\`]+|[^\S \t\r\f\v\n]+""")
DOUBLE = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
SPLITS = re.compile(r"[;&|\n]+")
PARENTHESES = re.compile(r"\(+")
ARITHMETIC = re.compile(r"\(\([^()\n]*\)\)")
HEREDOC = re.compile(r"""<<-?[ \t]*(?:'([^'\n]*)'|"([^"\n]*)"|\\?([\w.+-]+))""")
REDIRECT = re.compile(r"&?>[>|]?(&(?=[\d-]))?|<+&?")
WRITES = re.compile(r"""\.write_(?:text|bytes)\(|(?<!stdout)(?<!stderr)\.write\(|writeFile|\.(?:unlink|touch)\(|"""
                    r"""\bopen\([^\n]{0,120}?,\s{0,9}(?:mode=)?['"][wax]|\bos\.(?:rename|replace|remove)\(|"""
                    r"""\bshutil\.(?:copy|move|rmtree)|File\.write|fs\.(?:append|rm|rename)""")
NOWHERE = re.compile(r"/dev/(?:null|stdout|stderr|tty)\Z")


REDIRECTED = ">\0"   # a word added to a command whose output goes into a file
DEEP = 50            # a parenthesis that is nested deeper only ends a command


def action_style(command: str) -> str:
    """Return the style of a bash command, one of STYLES; "other" if no command is found in it."""
    if any(word in command for word in SUBMIT_WORDS) or command.strip() in ("submit", "exit"):
        return SUBMIT
    pipelines, scripts = _pipelines(command)
    styles, ran = set(), [*scripts]
    for pipeline in pipelines:
        found = [_style([word for word in words if word != REDIRECTED]) for words in pipeline]
        ran += [" ".join(words) for words, style in zip(pipeline, found, strict=True) if style == TEST]
        for words, style in zip(pipeline, found, strict=True):
            into_a_file = REDIRECTED in words or (words[0] == "tee" and style == EDIT)
            styles.add((EXPLORE if words[0] == "tee" else style) if not into_a_file or TEST in found else EDIT)
    if TEST in styles and any(WRITES.search(text) for text in ran):
        styles.add(EDIT)   # the code that is run, in an argument or a heredoc, writes files
    return next(style for style in STRENGTH if style in (styles or {OTHER}))


def simple_commands(command: str) -> list[tuple[str, ...]]:
    """Return the words of each simple command, without duplicates and in no particular order.

    A command whose output goes into a file also has the word REDIRECTED.
    """
    return [words for pipeline in _pipelines(command)[0] for words in pipeline]


def _pipelines(text: str) -> tuple[set[tuple[tuple[str, ...], ...]], list[str]]:
    """Return (the set of pipelines, the bodies of the heredocs). A pipeline is a tuple of commands.

    Each character is looked at once or twice.
    """
    done, scripts, waiting = set(), [], []
    stack: list[tuple] = []          # states of commands that `(`, `$(` or a backtick interrupts
    pipeline, words = [], []
    word, is_word, target, in_test = [], False, "", False
    at, n = 0, len(text)

    def end_word():
        nonlocal is_word, target, in_test
        if is_word:
            said = "".join(word)
            if target:
                words.extend([REDIRECTED] if ">" in target and not NOWHERE.search(said) else [])
            else:
                in_test = said == "[[" or (in_test and said != "]]")
                words.append(said)
            word.clear()
            is_word, target = False, ""

    def end_command(ends_pipeline=True):
        nonlocal pipeline, words, target, in_test
        end_word()
        if words:
            pipeline.append(tuple(words))
            words = []
        if ends_pipeline and pipeline:
            done.add(tuple(pipeline))
            pipeline = []
        target, in_test = "", False

    while at < n:
        if found := PLAIN.match(text, at):
            if found[0][0] == "#" and not is_word:
                at = end if (end := text.find("\n", at)) >= 0 else n
                continue
            word.append(found[0])
            is_word, at = True, found.end()
            continue
        if found := BLANK.match(text, at):
            end_word()
            at = found.end()
            continue
        c = text[at]
        if c == "\\":
            word.append(text[at + 1:at + 2])
            is_word, at = True, at + 2
        elif c == "'" or c == '"':
            found = DOUBLE.match(text, at) if c == '"' else None
            end = found.end() if found else text.find("'", at + 1) + 1 if c == "'" else 0
            word.append(text[at + 1:end - 1] if end else c)   # an unclosed quote is literal
            is_word, at = True, end or at + 1
        elif c in "<>" or (c == "&" and text.startswith("&>", at)):
            if in_test:
                at += 1
                continue
            end_word()
            if found := None if text.startswith("<<<", at) else HEREDOC.match(text, at):
                waiting.append(found[1] or found[2] or found[3] or "")
            else:
                found = REDIRECT.match(text, at)
                target = "" if found[1] or (found[0] == "<" and text.startswith("(", found.end())) else found[0]
            at = found.end()
        elif in_test and c in ";&|()":
            at += 1
        elif c in ";&|\n":
            found = SPLITS.match(text, at)
            end_command(found[0] not in ("|", "|&"))
            at = found.end()
            if waiting and "\n" in found[0]:
                at = found.start() + found[0].index("\n") + 1
                for delimiter in waiting:
                    body_end = re.compile(rf"^[ \t]*{re.escape(delimiter)}[ \t\r]*$", re.MULTILINE).search(text, at)
                    scripts.append(text[at:body_end.start() if body_end else n])
                    at = body_end.end() if body_end else n
                waiting = []
        elif c == "(" and (found := ARITHMETIC.match(text, at)):
            is_word, at = True, found.end()
        elif c == "(" and len(stack) >= DEEP:
            end_command()
            at = PARENTHESES.match(text, at).end()
        elif c == "(" or (c == "`" and not (stack and stack[-1][0] == "`")):
            before = text[at - 1:at]
            inside = c == "`" or (at and before in "$<>")   # the outer command continues after it
            if text.startswith("()", at):                   # this defines a function
                word.clear(), words.clear()
                is_word = False
            elif not inside:
                end_command()
            elif before == "$" and word:
                word[-1:] = filter(None, [word[-1][:-1]])
            stack.append((c, pipeline, words, word, bool(word), "", in_test))
            pipeline, words, word, is_word, target, in_test = [], [], [], False, "", False
            at += 1
        else:   # ) or a closing backtick
            end_command()
            if stack:
                _, pipeline, words, word, is_word, target, in_test = stack.pop()
            at += 1
    end_command()
    while stack:   # close what the text leaves open
        _, pipeline, words, word, is_word, target, in_test = stack.pop()
        end_command()
    return done, scripts


@lru_cache
def _programs() -> dict[str, str]:
    """Return {program: style}, with keys "git <verb>" for git commands that change nothing."""
    text = re.sub(r"^#.*\n|\n ", "", text_of("codedata.code", "programs.txt"), flags=re.MULTILINE)
    kinds = dict(line.split(": ", 1) for line in text.splitlines())
    git = {f"git {verb}": EXPLORE for verb in kinds.pop("git-explore").split()}
    return git | {program: style for style, programs in kinds.items() for program in programs.split()}


def _style(words: list[str]) -> str:
    start = next((i for i, word in enumerate(words) if not (word in BEFORE or SKIPPED.match(word))), len(words))
    words = words[start:]
    # the bodies of loops and functions are read as commands of their own
    if not words or words[0] in ("for", "case", "function", "select"):
        return EXPLORE
    name, rest = words[0].rpartition("/")[2], words[1:]
    first = rest[0] if rest else ""
    # drop the version, as in python3.11 and g++-12
    name = name if name in _programs() else name.rstrip("0123456789.-") or name
    if set(rest) in VERSIONS or (name, " ".join(rest[:2])) in LOOKS or (name, first) in LOOKS:
        return EXPLORE
    if name == "git":
        return _programs().get(f"git {_git_verb(rest)}", EDIT)
    if name == "pip" or rest[:2] == ["-m", "pip"]:
        return EXPLORE if PIP_LOOKS & set(rest[:3]) else OTHER
    if (name, first) in RUNS or (name == "npx" and rest):
        return EDIT if _style(rest[name != "npx":]) == EDIT else TEST
    if name == "tee" and rest and all(NOWHERE.search(word) for word in rest):
        return EXPLORE
    is_check = any(word in ("--check", "--diff") for word in rest)
    in_place = IN_PLACE.get(name)
    if not is_check and ((in_place and any(re.match(in_place, word) for word in rest)) or (name, first) in FORMATS):
        return EDIT
    if (name, first) in INSTALLS:
        return OTHER
    if name == "find" and "-exec" in rest:
        return min(_style(rest[rest.index("-exec") + 1:]), EXPLORE, key=STRENGTH.index)
    is_file = "/" in words[0] or name.endswith((".sh", ".py"))
    return _programs().get(name, TEST if is_file else OTHER)


def _git_verb(rest: list[str]) -> str:
    skip = False
    for word in rest:
        if skip or word.startswith("-"):
            skip = not skip and word in ("-c", "-C")
        else:
            return word
    return "help"
