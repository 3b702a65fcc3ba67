"""The three sides that leak.py compares: what was shown, what is hidden, what the answer says."""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import islice

from codedata.checks.leak_text import (
    NAME,
    NUMBER,
    bare_lines,
    fold,
    lists,
    name_parts,
    path_stem,
    path_tails,
    paths_in,
    word_stems,
)

HEADING = re.compile(r"\A(?:observation|output):[ \t]*", re.IGNORECASE)
PLACE = re.compile(r'([\w+-]{1,80}\.\w{1,5})(?:"?, line |[:-])(\d{1,6})\b')   # of grep -rn, tracebacks
EDITED = re.compile(r"\bsed -i|\.write\(|\bcat >|\bgit (?:diff|apply)\b|\btee\b")
HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+\d{1,9}(?:,(\d{1,9}))? @@(.*)")
FUNCTION = r"(?:def|class|func|function|fn|fun|sub)\b"
DEFINED = re.compile(rf"\b{FUNCTION}\s*(?:\([^)]{{0,200}}\)\s*)?([^\W\d]\w*)")
TYPED = re.compile(r"^(?:(?:static|inline|extern|const|unsigned|signed|struct|void|int|long|char|short|float|double|"
                   r"bool|size_t|public|private|protected|final|async)\b[ \t*&]*){1,6}"
                   r"(?:\w{1,80}[ \t*&<>\[\],]+){0,3}?(\w+)\(", re.MULTILINE)
ASSIGNED = re.compile(r"^(?:(?:const|let|var|export|static|final|auto|self\.|this\.)\s*){0,4}([^\W\d]\w*)[ \t]*"
                      r"(?::=|=(?!=))", re.MULTILINE)
WRITES = re.compile(r"<<|\bsed\s(?:[^|;&\n]{0,40}?\s)?-\w{0,8}i|\bperl\s+-\w{0,8}i|\btee\b|>\s*[\w./]+\.\w|\s-[ce]\s")
OWN_FUNCTION = re.compile(rf"(?:^|\\[nt])[ \t+]*(?:\w+ )?{DEFINED.pattern[2:]}", re.MULTILINE)
GIVEN = re.compile(r"\b([^\W\d]\w*)[ \t]*(?::=|=(?![=~])|: )")
DECLARED = re.compile(r"\b(?:const|let|var|char|int|long|bool|size_t|struct|for|as)\b[ *]+([^\W\d]\w*)")
SIGNATURE = re.compile(rf"(?:(?:export|default|async|pub|public|private|protected|static)\s+)*{FUNCTION}")
TITLE = re.compile(r"""\b(?:it|test|describe|context|specify)\(\s*(?:"([^"\n]{4,200})"|'([^'\n]{4,200})')""")
LABEL = re.compile(r"""["']([a-z]\w*_\w+)["']|"""
                   r"""^(?!return|import|from|assert|await|raise|del|yield)\w+ ([a-z]\w*_\w+)(?= ['"$\w-]|$)""",
                   re.MULTILINE)
LABELLED = re.compile(r"(?:name|title|test|desc\w*)\b ?[:=] *\S|@test\b|#?\s*(?:describe|context|it|test)\b ?[\"'(]")
COMMENT = re.compile(r"(?:^|[ \t])(?:#+|//+|/\*+|\*|--|;+|<!--)[ \t]+(.*)", re.MULTILINE)
PROSE_FILE = re.compile(r"\.(?:md|rst|txt|adoc|html?)\Z|(?:\A|/)[A-Z]+\Z")
FENCE = re.compile(r"^```[^\n]*\n(.*?)(?:^```[ \t\r]*$|\Z)", re.MULTILINE | re.DOTALL)
CODE_LINE = re.compile(r"[;{}]$|^[ \t]*(?:[\w./+-]{1,200}[:-])?(?:\d{1,6}[:\t -][ \t]*)?(?:def|class|return|if|elif|"
                       r"else|for|while|import|from|func|function|const|let|var|static|try|raise|with)\b", re.MULTILINE)
MODULE = re.compile(r"\b([^\W\d]\w{0,80})[`'\"]{0,2} (?:module|file)\b", re.IGNORECASE)
REFERENCE = re.compile(r"(?<![\w&])(?:#|\b(?:PRs?|MR|GH|pull requests?|issues?|pulls?|bugs?)[ _/#-]{0,3})(\d{1,6})\b",
                       re.IGNORECASE)
TOKEN = re.compile(r"[^\W\d]\w*|\d[\w.]*|[^\w\s\\]")
WORD = re.compile(r"\b[^\W\d]\w*")
ESCAPE = re.compile(r"\\[nrt]")     # in a text: no letter of the next word
TEXTS = ("patch", "test_patch", "description", "issue", "instance_id", "base_commit", "repo")
GRAM = 3             # tokens in a row
SOME_CODE = 5        # lines
SHORT_LINE = 10      # shorter ones (brackets, else, return x) are in any code


# what was shown

class Shown:
    """What a conversation has shown up to its last message."""

    def __init__(self, messages: list[dict]):
        texts = [(m.get("role"), HEADING.sub("", _content(m))) for m in messages if isinstance(m, dict)]
        first = next((i for i, (role, _) in enumerate(texts) if role == "assistant"), len(texts))
        self.text = "\n".join(text for _, text in texts)
        self.commands = "\n".join(text for role, text in texts if role == "assistant")
        self.outputs = "\n".join(text for role, text in texts[first:] if role != "assistant")
        self.has_edit = bool(EDITED.search(self.commands))
        names = set(WORD.findall(ESCAPE.sub("  ", self.text) if "\\" in self.text else self.text))
        self.names = set(map(fold, names))
        self.words = word_stems(" ".join(names))
        self.meanings = lists().meanings(self.words)
        self._task = "\n".join(text for _, text in texts[:first])

    @cached_property
    def task_words(self) -> set[str]:
        return word_stems(self._task)

    @cached_property
    def paths(self) -> set[str]:
        return {tail for path in paths_in(self.text) for tail in path_tails(path)}

    @cached_property
    def modules(self) -> set[str]:
        """Dotted names with their beginnings, and words that were told to be a module or file."""
        dotted = (path.split(".")[:8] for path in self.paths if "/" not in path)
        return {".".join(parts[:i]) for parts in dotted for i in range(2, len(parts) + 1)} | {
            match[1].lower() for match in MODULE.finditer(self.text)}

    @cached_property
    def _opened(self) -> set[str]:
        return paths_in(self.commands)

    def has_opened(self, path: str) -> bool:
        """Whether an earlier command named the file, by its whole path or the end of it."""
        return not self._opened.isdisjoint(path_tails(path)) or any(one.endswith(f"/{path}") for one in self._opened)

    @cached_property
    def path_stems(self) -> set[str]:
        return {path_stem(path) for path in self.paths}

    @cached_property
    def has_code(self) -> bool:
        """Whether outputs have lines that look like code, enough to see how the project is written."""
        return next(islice(CODE_LINE.finditer(self.outputs), SOME_CODE - 1, None), None) is not None

    @cached_property
    def lines(self) -> set[str]:
        return bare_lines(self.text)

    @cached_property
    def squeezed(self) -> str:
        """The text as its tokens stand side by side."""
        return "".join(ESCAPE.sub("", self.text.lower()).split()).replace("\\", "")

    @cached_property
    def numbers(self) -> set[str]:
        return set(NUMBER.findall(self.text))

    @cached_property
    def places(self) -> set[tuple[str, int]]:
        """(file name, line number) of lines that an output or the task named."""
        return {(match[1], int(match[2])) for match in PLACE.finditer(self.text)}

    @cached_property
    def named_places(self) -> set[str]:
        return {name for name, _ in self.places}

    def shows(self, hunk: Hunk) -> bool:
        """Whether enough of the code that a hunk changes was printed for an opinion on it. Signatures are none."""
        old = [line for line in hunk.old if len(line) >= SHORT_LINE and not SIGNATURE.match(line)]
        return bool(old) and sum(line in self.lines for line in old) >= max(1, len(old) / 3)


def tokens(text: str) -> list[tuple[str, int, int]]:
    """(token, start, end) of names, numbers and signs, without regard to case."""
    return [(match[0].lower(), *match.span()) for match in TOKEN.finditer(ESCAPE.sub("  ", text))]


def grams(words: list[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(words[i:] for i in range(GRAM)), strict=False)


def _content(message: dict) -> str:
    """The text of a message; of one in parts, their texts."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


# the pull request

@dataclass
class Hunk:
    """A hunk of one of the two patches, its lines without sign and indent."""

    path: str
    source: str              # "patch" | "test_patch"
    start: int               # of the old lines
    length: int
    header: str              # what git writes behind the @@: the function around it
    old: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class HiddenName:
    """A name in a pull request."""

    spelling: str
    source: str
    is_new: bool             # stands in added lines only
    is_defined: bool         # as a function or class
    is_own: bool             # or assigned to, so no name of some library
    is_label: bool = False   # what a new test is called, in quotes or as a word of a shell script

    @property
    def is_test(self) -> bool:
        return (self.source == "test_patch" and not {"test", "tests"}.isdisjoint(name_parts(self.spelling))) or (
            self.is_label)


class Hidden:
    """What a pull request holds."""

    @classmethod
    def of(cls, pr) -> Hidden:
        """The same object for the same pull request: its answers are looked at one after the other."""
        values = (getattr(pr, name, "") for name in TEXTS)
        files = getattr(pr, "files", None) or ()
        return _hidden(tuple(value if isinstance(value, str) else "" for value in values),
                       tuple(path for path in files if isinstance(path, str)))

    def __init__(self, texts: tuple[str, ...], files: tuple[str, ...]):
        self.texts = dict(zip(TEXTS, texts, strict=True))
        self.instance_id, self.base_commit, self.repo = map(self.texts.pop, ("instance_id", "base_commit", "repo"))
        self.hunks: list[Hunk] = []
        self.new_paths: set[str] = set()
        self.paths: dict[str, str] = {}   # {path: "files" | "patch" | "test_patch"}
        for source in ("patch", "test_patch"):
            self._read_patch(source)
        self.paths = dict.fromkeys(files, "files") | self.paths

    def _read_patch(self, source: str) -> None:
        hunk, path, old, new, came_from_nothing = None, "", 0, 0, False
        for line in self.texts[source].split("\n"):
            if line.startswith("diff --git "):
                old = new = 0
            elif hunk and (old > 0 or new > 0):
                sign, bare = line[:1], line[1:].strip()
                if sign != "+":
                    hunk.old.append(bare)
                if sign == "+":
                    hunk.added.append(bare)
                elif sign == "-":
                    hunk.removed.append(bare)
                old -= sign not in ("+", "\\")
                new -= sign not in ("-", "\\")
            elif match := HUNK.match(line):
                start, old, new = int(match[1]), int(match[2] or 1), int(match[3] or 1)
                hunk = Hunk(path, source, start, old, match[4].strip())
                self.hunks.append(hunk)
                self.paths.setdefault(path, source)
            elif line.startswith(("rename from ", "rename to ")):
                self.paths.setdefault(line.partition(" ")[2].partition(" ")[2].strip(), source)
            elif line.startswith(("--- ", "+++ ")):
                name = line[4:].partition("\t")[0].strip().strip('"')
                if name != "/dev/null":
                    path = name[2:] if name[:2] in ("a/", "b/") else name
                    if line[0] == "+" and came_from_nothing:
                        self.new_paths.add(path)
                came_from_nothing = name == "/dev/null"

    @cached_property
    def source_hunks(self) -> list[Hunk]:
        return [hunk for hunk in self.hunks if hunk.source == "patch"]

    @cached_property
    def old_sources(self) -> set[str]:
        """Files that the patch edits, other than what any project has to say in words."""
        return {hunk.path for hunk in self.source_hunks if hunk.old and not PROSE_FILE.search(hunk.path)}

    @cached_property
    def by_tail(self) -> dict[str, str]:
        """{end of a path, or of its dotted form: the path}; of an end that several have, one of them."""
        ends = {tail: path for path in self.paths for tail in path_tails(path)}
        dotted = {tail.rpartition(".")[0].replace("/", "."): path for tail, path in ends.items() if "/" in tail}
        return {end: path for end, path in (dotted | ends).items() if end}

    @cached_property
    def grams(self) -> dict[tuple[str, ...], tuple[str, str]]:
        """{tokens in a row in a line: ("old" | "title" | "new", source)}; where it is oldest."""
        found: dict[tuple[str, ...], tuple[str, str]] = {}
        places = [("new", "description", self.texts["description"])] + [
            (age, source, self._lines(source, age == "new")) for age in ("new", "old")
            for source in ("test_patch", "patch")]
        for age, source, text in places:   # the last one wins
            for line in text.split("\n"):
                is_title = source == "test_patch" and age == "new" and (TITLE.search(line) or LABELLED.match(line))
                found |= dict.fromkeys(grams([token.lower() for token in TOKEN.findall(ESCAPE.sub("  ", line))]),
                                       ("title" if is_title else age, source))
        return found

    @cached_property
    def words(self) -> set[str]:
        """Stems of the words in patches and description."""
        lines = (line for hunk in self.hunks for line in (*hunk.old, *hunk.added, hunk.header))
        return word_stems("\n".join([*lines, self.texts["description"]]))

    @cached_property
    def meanings(self) -> set[int]:
        return lists().meanings(self.words)

    @cached_property
    def old_lines(self) -> set[str]:
        """The tokens of each line of code that is there, other than short ones."""
        lines = (TOKEN.findall(ESCAPE.sub("  ", line.lower())) for hunk in self.source_hunks for line in hunk.old
                 if not PROSE_FILE.search(hunk.path))
        return {" ".join(line) for line in lines if len(line) >= 2 * GRAM}

    @cached_property
    def numbers(self) -> set[str]:
        """Of the pull request, and of the issues and others that it names."""
        return {*re.findall(r"-(\d{1,6})\Z", self.instance_id), *(
            match[1] for text in self.texts.values() for match in REFERENCE.finditer(text))}

    @cached_property
    def labels(self) -> set[str]:
        """What new tests are called with hyphens."""
        lines = filter(LABELLED.match, self._lines("test_patch", True).split("\n"))
        return {label for line in lines for label in re.findall(r"[a-z]\w*(?:-\w+)+", line)}

    @cached_property
    def own_words(self) -> set[str]:
        """What the project is called."""
        return {fold(word) for word in NAME.findall(f"{self.repo} {self.instance_id}")}

    @cached_property
    def names(self) -> dict[str, HiddenName]:
        """{folded: name} of every name in patches and description; of a name in several, where it is oldest."""
        found: dict[str, HiddenName] = {}
        places = [(source, is_new, self._lines(source, is_new)) for is_new in (False, True)
                  for source in ("patch", "test_patch")]
        defined = {fold(name) for *_, text in places for kind in (DEFINED, TYPED) for name in kind.findall(text)}
        own = defined | {fold(name) for *_, text in places for name in ASSIGNED.findall(text)}
        labels = {fold(match[match.lastindex]) for match in LABEL.finditer(self._lines("test_patch", True))}
        for source, is_new, text in (*places, ("description", False, self.texts["description"])):
            for name in dict.fromkeys(NAME.findall(text)):   # a set has another order in the next run
                if (key := fold(name)) not in found:
                    found[key] = HiddenName(name, source, is_new, key in defined, key in own,
                                            is_new and source == "test_patch" and key in labels)
        return found

    def _lines(self, source: str, is_new: bool) -> str:
        return "\n".join(line for hunk in self.hunks if hunk.source == source
                         for line in (hunk.added if is_new else (*hunk.old, hunk.header)))


@lru_cache(maxsize=4)
def _hidden(texts: tuple[str, ...], files: tuple[str, ...]) -> Hidden:
    return Hidden(texts, files)


# the answer

class Reply:
    """An answer in its parts: thought (prose) and commands (what stands in fences), each with where it starts."""

    def __init__(self, text: str):
        self.text = text
        self.commands: list[tuple[int, str]] = []
        self.thoughts: list[tuple[int, str]] = []
        at = 0
        for found in FENCE.finditer(text):
            self.thoughts.append((at, text[at:found.start()]))
            self.commands.append((found.start(1), found[1]))
            at = found.end()
        self.thoughts.append((at, text[at:]))

    @cached_property
    def defined(self) -> set[str]:
        """Names, folded, that the commands give to something themselves."""
        code = "\n".join(text for _, text in self.commands if WRITES.search(text))
        return {fold(name) for kind in (OWN_FUNCTION, TYPED, GIVEN, DECLARED) for name in kind.findall(code)}

    @property
    def parts(self) -> list[tuple[int, str, bool]]:
        """(start, text, is it a command), in order."""
        return sorted([(at, text, False) for at, text in self.thoughts if text] +
                      [(at, text, True) for at, text in self.commands if text])
