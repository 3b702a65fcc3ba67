"""List the causes for which trajectories and turns of any form are refused, as they are counted.

CallTurn.problem() and Turn.problem() say what is wrong with a turn itself, for every form alike,
and result_problem() what is wrong with the results in its history.
"""
from __future__ import annotations

# of a trajectory
UNREADABLE = "a file, row or line that "   # followed by what is wrong with it
BAD_ID = "instance_id that cannot be a file name"
NO_MODEL = "no model wrote it"
NO_TURN = "no assistant turn"
SUMMARIZED = "all turns after its history was summarized"
# of a turn
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
