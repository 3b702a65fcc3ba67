"""The three sides that leak.py compares: what was shown, what is hidden, what the answer says."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from codedata.checks.leak_text import NAME, NUMBER, bare_lines, fold, lists, path_stem, path_tails, paths_in, word_stems

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
SIGNATURE = re.compile(rf"(?:(?:export|default|async|pub|public|private|protected|static)\s+)*{FUNCTION}")
TITLE = re.compile(r"""\b(?:it|test|describe|context|specify)\(\s*(?:"([^"\n]{4,200})"|'([^'\n]{4,200})')""")
LABEL = re.compile(r"""["']([a-z]\w*_\w+)["']|"""
                   r"""^(?!return|import|from|assert|await|raise|del|yield)\w+ ([a-z]\w*_\w+)(?= ['"$\w-]|$)""",
                   re.MULTILINE)
DOCSTRING = re.compile(r'"""(.*?)"""', re.DOTALL)
TEXT = re.compile(r"""(?:"([^"\\\n]{4,300})"|'([^'\\\n]{4,300})'|`([^`\n]{4,300})`)""")
COMMENT = re.compile(r"(?:^|[ \t])(?:#+|//+|/\*+|\*|--|;+|<!--)[ \t]+(.*)", re.MULTILINE)
PROSE_FILE = re.compile(r"\.(?:md|rst|txt|adoc|html?)\Z|(?:\A|/)[A-Z]+\Z")
FENCE = re.compile(r"^```[^\n]*\n(.*?)(?:^```[ \t\r]*$|\Z)", re.MULTILINE | re.DOTALL)
CODE_LINE = re.compile(r"[;{}]$|^[ \t]*(?:[\w./+-]{1,200}[:-])?(?:\d{1,6}[:\t -][ \t]*)?(?:def|class|return|if|elif|"
                       r"else|for|while|import|from|func|function|const|let|var|static|try|raise|with)\b", re.MULTILINE)
MODULE = re.compile(r"\b([^\W\d]\w{0,80})[`'\"]{0,2} (?:module|file)\b", re.IGNORECASE)
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
        names = set(NAME.findall(self.text))
        self.names = set(map(fold, names))
        self.words = word_stems(" ".join(names))
        self.meanings = lists().meanings(self.words)
        self.task_words = word_stems("\n".join(text for _, text in texts[:first]))

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
    def opened(self) -> set[str]:
        """Names of files that an earlier command named."""
        return {path.rpartition("/")[2] for path in paths_in(self.commands)}

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
    def numbers(self) -> set[str]:
        return set(NUMBER.findall(self.text))

    @cached_property
    def places(self) -> set[tuple[str, int]]:
        """(file name, line number) of lines that an output or the task named."""
        return {(match[1], int(match[2])) for match in PLACE.finditer(self.text)}

    def shows(self, hunk: Hunk) -> bool:
        """Whether enough of the code that a hunk changes was printed for an opinion on it. Signatures are none."""
        old = [line for line in hunk.old if len(line) >= SHORT_LINE and not SIGNATURE.match(line)]
        return bool(old) and sum(line in self.lines for line in old) >= max(1, len(old) / 3)


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


class Hidden:
    """What a pull request holds."""

    def __init__(self, pr):
        def text(name):
            value = getattr(pr, name, "")
            return value if isinstance(value, str) else ""
        self.texts = {name: text(name) for name in ("patch", "test_patch", "description", "issue")}
        self.instance_id, self.base_commit, self.repo = text("instance_id"), text("base_commit"), text("repo")
        self.hunks: list[Hunk] = []
        self.new_paths: set[str] = set()
        self.paths: dict[str, str] = {}   # {path: "files" | "patch" | "test_patch"}
        for source in ("patch", "test_patch"):
            self._read_patch(source)
        listed = getattr(pr, "files", None)
        self.paths = {path: "files" for path in listed or () if isinstance(path, str)} | self.paths

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

    @cached_property
    def titles(self) -> list[str]:
        """What new tests are called where they have sentences for names."""
        return sorted({match[match.lastindex] for match in TITLE.finditer(self._lines("test_patch", True))})

    @cached_property
    def words(self) -> dict[str, tuple[str, float]]:
        """{stem: (source, how near to the change)} of the words in patches and description."""
        found: dict[str, tuple[str, float]] = {}
        changed = [line for h in self.source_hunks for line in (*h.removed, *h.added, h.header)]
        around = [line for h in self.source_hunks for line in h.old]
        tests = [line for h in self.hunks if h.source == "test_patch" for line in h.added]
        for place, text in ((("test_patch", 0.6), tests), (("patch", 0.6), around), (("patch", 1.0), changed),
                            (("description", 1.0), [self.texts["description"]])):
            found |= dict.fromkeys(word_stems("\n".join(text)), place)   # the nearest comes last and wins
        return found

    @cached_property
    def meanings(self) -> dict[int, tuple[str, float]]:
        """The same by groups of words that say the same."""
        return {number: self.words[key] for key, numbers in lists().concepts.items() if key in self.words
                for number in numbers}

    @cached_property
    def prose(self) -> dict[str, str]:
        """{source: its sentences}: descriptions, and the comments and texts in the patches, one a line."""
        out = {"description": self.texts["description"], "issue": self.texts["issue"]}
        for source in ("patch", "test_patch"):
            pieces = []
            for hunk in (h for h in self.hunks if h.source == source):
                text = "\n".join((*hunk.old, *hunk.added))
                pieces += [text] if PROSE_FILE.search(hunk.path) else [
                    match[match.lastindex] for kind in (DOCSTRING, TEXT, COMMENT) for match in kind.finditer(text)]
            out[source] = "\n".join(pieces)
        return out


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

    @property
    def parts(self) -> list[tuple[int, str, bool]]:
        """(start, text, is it a command), in order."""
        return sorted([(at, text, False) for at, text in self.thoughts if text] +
                      [(at, text, True) for at, text in self.commands if text])
