"""Hold the types of fields, and the names that records share."""
from __future__ import annotations

import re

Object = dict    # keys that this schema does not fix
Seconds = float
Points = float    # 0..100
ItemName = str    # a name that safe_name() accepts as a file name
Integer = int     # 64 bits
UnixTime = float
AnyText = str     # may contain NUL bytes
Ranges = list     # line ranges [first, last, first, last, …], from 1
Files = dict      # {relative path: bytes, or the Path of a file on disk}
Tools = list      # definitions of an agent's tools, in the form of the chat API
Side = str | dict   # a turn as its agent writes it: a text, or a Message with a tool call
METRICS = ("correctness", "grounding", "progress", "protocol", "efficiency")   # a judge's grades
ORDERS = ("king_first", "reference_first", "challenger_first")   # whose answer is shown first
ABSENT = None             # default of a Duel's fields that older files lack
MAX_LINE = 2_000_000      # highest line number: a set of lines is a mask with a bit for each
MAY_LACK = ("calls", "planned", "data")   # keys of TypedDicts that may be missing
# null values of these fields are not written to disk
OMITTED_IF_NULL = ("tools", "several", "choice", "new_names")
SAFE_NAME = re.compile(r"[A-Za-z0-9-][A-Za-z0-9._-]{0,199}")
