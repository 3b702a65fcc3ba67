"""Text to sections: a dict of dicts of strings, in the order of the file."""
import re

from .errors import IniError

SECTION = re.compile(r"\[(?P<name>[^\]]+)\]$")
COMMENT_MARKS = "#;"
TOP = ""   # the section of keys above the first header


def loads(text):
    """All sections of `text`; a section that comes twice is merged."""
    sections = {TOP: {}}
    current, last_key = sections[TOP], None
    for number, raw in enumerate(text.splitlines(), 1):
        line = strip_comment(raw).rstrip()
        if not line:
            last_key = None
            continue
        if line[0].isspace() and last_key is not None:
            current[last_key] += "\n" + line.strip()
            continue
        line = line.strip()
        header = SECTION.match(line)
        if header:
            current = sections.setdefault(header["name"].strip(), {})
            last_key = None
            continue
        key, value = split_pair(line, number)
        if key in current:
            raise IniError(f"duplicate key {key!r}", number)
        current[key] = unquote(value)
        last_key = key
    if not sections[TOP]:
        del sections[TOP]
    return sections


def split_pair(line, number):
    """Key and value around the first = or :, whichever comes first."""
    for at, char in enumerate(line):
        if char in "=:":
            key = line[:at].strip()
            if not key:
                raise IniError("a value without a key", number)
            return key, line[at + 1:].strip()
    raise IniError(f"expected key = value, found {line!r}", number)


def strip_comment(line):
    """`line` without its comment."""
    for mark in COMMENT_MARKS:
        line = line.split(mark, 1)[0]
    return line


def unquote(value):
    """`value` without the pair of quotes around it, if there is one."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value
