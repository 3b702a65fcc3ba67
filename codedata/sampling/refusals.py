"""List the reasons for refusing trajectories and turns of any form, as they are counted.

CallTurn.problem() and Turn.problem() return the faults of a turn itself, and result_problem()
the faults of results in its history, equally for every form.
"""
from __future__ import annotations

# trajectories
UNREADABLE = "a file, row or line that "   # followed by the fault
BAD_ID = "instance_id that cannot be a file name"
OTHER_REPOSITORY = "of another repository (--only-repo)"
NO_MODEL = "no model wrote it"
NO_TURN = "no assistant turn"
SUMMARIZED = "all turns after its history was summarized"
# turns
EXCLUDED = "[exclude] ids"
INCOMPLETE = "a history that is empty, or of which the file lacks a part"
NO_HISTORY = "a history without a message of the user"
NO_TOOLS = "a call where nothing yet tells of any tool"
TOO_LONG = "over max_chars"
UNANSWERED = "a text of the agent right after another, without the result of the first"
NUL = "NUL bytes"
SURROGATES = "lone surrogates"
NO_BLOCK = "reference without exactly one "   # followed by the kind of block
ANSWER = "an answer in words, which is no turn"
