"""Define the types of fields, and the constants that records share.

An alias such as `Seconds = float` is more than another word for the type: record_checks.py finds
the check of a field by the NAME in its annotation. So `Seconds` and `float` can have different
checks, and a new alias needs an entry in record_checks._CHECKS.
"""
from __future__ import annotations

Object = dict    # an object whose keys the schema does not fix
Seconds = float
Points = float    # from 0 to 100
ItemName = str    # a name that safe_name() accepts as a file name
Integer = int     # an integer of 64 bits
UnixTime = float
AnyText = str     # a text that may contain NUL bytes
Ranges = list     # line ranges [first, last, first, last, …], from 1
Files = dict      # {relative path: bytes, or the Path of a file on disk}
Tools = list      # definitions of an agent's tools, in the form of the chat API
Side = str | dict   # a turn in the agent's form: a text, or a Message with a tool call
METRICS = ("correctness", "grounding", "progress", "protocol", "efficiency")   # graded by a judge
ORDERS = ("king_first", "reference_first", "challenger_first")   # the answer shown first
ABSENT = None             # default of fields of a Duel that are missing in older files
MAX_LINE = 2_000_000      # limit for line numbers, since a set of lines is a mask, one bit per line
MAY_LACK = ("calls", "planned", "data", "memory_bytes")   # keys that may be missing in TypedDicts
# fields that are not written to disk if they are null
OMITTED_IF_NULL = ("tools", "several", "choice", "matched")
