"""Define the schema: one frozen record for each directory.

Each module defines the records of a stage; record_checks.py checks them. Import records from here.

Reading checks every field and names each fault. Unknown keys stay on disk unchanged: a user may add
notes to any record.

The entries of a record's lists (Message, Reason, Finding, JudgeVerdict) are TypedDicts, not frozen
classes. A record may hold thousands of entries, and each keeps keys that a user or another version
has added. parse() checks the entries' keys.
"""
from codedata.records.field_types import *
from codedata.records.record_checks import *
from codedata.records.prompts import *
from codedata.records.answers import *
from codedata.records.executions import *
from codedata.records.scores import *
from codedata.records.judged_turns import *
from codedata.records.repositories import *
from codedata.records.injected_bugs import *
from codedata.records.stripped_bodies import *
from codedata.records.task_records import *
from codedata.records.candidate_records import *
from codedata.records.task_audits import *
from codedata.records.datapoint_records import *
from codedata.records.attempt_records import *

# a root's folders with records: "answer", "variants"
DIRECTORIES = sorted({kind.directory.partition("/")[0] for kind in list(globals().values())
                      if isinstance(getattr(kind, "directory", None), str)})
