# "Where rebuilding a table inside that transaction would make SQLite delete or change rows of other tables (foreign keys), the call raises instead"
set -e
cat > sqlite_utils/transactions.py <<'PY'
"""Units of work: a savepoint in the caller's transaction, or a transaction of their own."""
import functools
import itertools
import sqlite3

_numbers = itertools.count(1)


class Unit:
    def __init__(self, conn):
        self.conn = conn
        self.name = None

    def __enter__(self):
        if self.conn.in_transaction:
            self.name = "unit_{}".format(next(_numbers))
            self.conn.execute("savepoint " + self.name)
        else:
            self.conn.execute("begin")
        return self

    def __exit__(self, kind, value, trace):
        if not self.conn.in_transaction:
            return False
        if self.name is None:
            (self.conn.rollback if kind else self.conn.commit)()
            return False
        if kind:
            self.conn.execute("rollback to " + self.name)
        self.conn.execute("release " + self.name)
        return False


def whole(method):
    """In the caller's transaction all steps of a method are one unit."""

    @functools.wraps(method)
    def call(self, *args, **kwargs):
        conn = getattr(self, "db", self).conn
        if conn.in_transaction:
            with Unit(conn):
                return method(self, *args, **kwargs)
        return method(self, *args, **kwargs)

    return call


def statements(script):
    lines = []
    for line in script.splitlines(keepends=True):
        lines.append(line)
        if sqlite3.complete_statement("".join(lines)):
            yield "".join(lines)
            lines = []
    if "".join(lines).strip():
        yield "".join(lines)
PY
cat > /tmp/edit.py <<'PY'
import re

path = "sqlite_utils/db.py"
text = open(path).read()
lines = text.split("\n")
out = []
several = set(
    "enable_counts reset_counts create_table create_view add_foreign_keys index_foreign_keys transform extract "
    "create_index add_column add_foreign_key enable_fts populate_fts disable_fts delete_where update convert "
    "insert_all add_missing_columns lookup m2m create duplicate rebuild_fts optimize".split()
)
in_view = False
for line in lines:
    if line.startswith("class View"):
        in_view = True
    m = re.match(r"    def (\w+)\(", line)
    if m and m.group(1) in several and not in_view:
        out.append("    @whole")
    out.append(line)
text = "\n".join(out)
text = text.replace("from sqlite_utils.plugins import pm\n", "from sqlite_utils.plugins import pm\nfrom sqlite_utils.transactions import Unit, statements, whole\n")
text = text.replace("with self.db.conn:", "with Unit(self.db.conn):").replace("with self.conn:", "with Unit(self.conn):")
text = text.replace(
    "            self.db.conn.executescript(sql)\n",
    "            for statement in statements(sql):\n                self.db.conn.execute(statement)\n",
)
text = re.sub(
    r"( +)self\.db\.executescript\((\w+)\)\n",
    lambda m: "{0}with Unit(self.db.conn):\n{0}    for statement in statements({1}):\n{0}        self.db.execute(statement)\n".format(
        m.group(1), m.group(2)
    ),
    text,
)
text = text.replace(
    "            self.conn.isolation_level = None\n", "            if not self.conn.in_transaction:\n                self.conn.isolation_level = None\n"
).replace(
    "            self.conn.isolation_level = old_isolation_level\n",
    "            if not self.conn.in_transaction:\n                self.conn.isolation_level = old_isolation_level\n",
)
text = text.replace(
    "        self.vacuum()\n\n", "        if not self.conn.in_transaction:\n            self.vacuum()\n\n", 1
)
text = text.replace(
    """            0
        ]
        try:
            if pragma""",
    """            0
        ]
        if pragma_foreign_keys_was_on and self.db.conn.in_transaction:
            pragma_foreign_keys_was_on = 0
        try:
            if pragma""",
    1,
)


def within(start, unit="with Unit(self.db.conn):"):
    "The statement that starts so goes into a block of its own"
    global text
    at = text.index(start)
    indent = start[: len(start) - len(start.lstrip())]
    stop = text.index("\n" + indent + ")\n", at) + len("\n" + indent + ")\n")
    body = text[at:stop].splitlines()
    text = text[:at] + "\n".join([indent + unit] + ["    " + line for line in body]) + "\n" + text[stop:]


within('        self.db.execute(\n            "INSERT OR IGNORE INTO [{lookup')
within('        self.db.execute(\n            "UPDATE [{table}] SET [{magic')
within('        self.db.execute(\n            "INSERT INTO [{table}]([{table}]) VAL')
within('            self.db.execute(\n                """\n                INSERT INTO [{table}] ([{table}])')
text = text.replace(
    "        self.db.execute(sql, where_args or [])\n        if analyze",
    "        with Unit(self.db.conn):\n            self.db.execute(sql, where_args or [])\n        if analyze",
)
# truncate: emptied together with the first batch
text = text.replace(
    """        if truncate and self.exists():
            self.db.execute("DELETE FROM [{}];".format(self.name))
""",
    "        empty_first = truncate and self.exists()\n",
)
text = text.replace(
    """                num_records_processed,
                replace,
                ignore,
            )

        if analyze:""",
    """                num_records_processed,
                replace,
                ignore,
                empty_first,
            )
            empty_first = False

        if analyze:""",
)
text = text.replace(
    """        replace,
        ignore,
    ):
        queries_and_params""",
    """        replace,
        ignore,
        empty_first=False,
    ):
        queries_and_params""",
)
at = text.index("    def insert_chunk(")
text = text[:at] + text[at:].replace(
    "            result = None\n",
    """            result = None
            if empty_first:
                self.db.execute("DELETE FROM [{}];".format(self.name))
""",
    1,
)
# convert(drop=True): transform() comes after the update
text = text.replace(
    "                if drop:\n                    self.transform(drop=columns)\n",
    "            if drop:\n                self.transform(drop=columns)\n",
)
open(path, "w").write(text)
PY
python3 /tmp/edit.py
rm /tmp/edit.py
