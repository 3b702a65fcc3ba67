set -e
cat > /tmp/edit.py <<'PY'
import re

path = "sqlite_utils/db.py"
text = open(path).read()


def sub(old, new, count=1):
    global text
    assert text.count(old) == count, (text.count(old), old)
    text = text.replace(old, new)


sub("import contextlib\n", "import contextlib\nimport functools\n")
sub(
    "class Database:\n",
    '''def _joins_transaction(method):
    "Run a whole method in a savepoint if a transaction is open, else as it is"

    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        db = self if isinstance(self, Database) else self.db
        if not db.conn.in_transaction:
            return method(self, *args, **kwargs)
        with db._atomic():
            return method(self, *args, **kwargs)

    return wrapper


def _split_script(sql):
    "Split a script into its statements; a trigger's body stays in one piece"
    statement = ""
    for part in re.split("(;)", sql):
        statement += part
        if part == ";" and sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""
    if statement.strip():
        yield statement.strip()


class Database:
''',
)
text = re.sub(r"^import re\n", "", text, flags=re.M)
sub("import secrets\n", "import re\nimport secrets\n")
sub(
    '''    @contextlib.contextmanager
    def ensure_autocommit_off(self):
''',
    '''    @contextlib.contextmanager
    def _atomic(self):
        """
        A savepoint inside the transaction that is open, which ends with the block and
        is undone if it raises - or a transaction of its own, if none is open.
        """
        if not self.conn.in_transaction:
            with self.conn:
                yield
            return
        name = "sqlite_utils_{}".format(secrets.token_hex(8))
        self.conn.execute("SAVEPOINT {}".format(name))
        try:
            yield
        except BaseException:
            # Some errors make SQLite itself roll back everything
            if self.conn.in_transaction:
                self.conn.execute("ROLLBACK TO {}".format(name))
                self.conn.execute("RELEASE {}".format(name))
            raise
        else:
            self.conn.execute("RELEASE {}".format(name))

    def _script(self, sql, traced=True):
        "Like executescript(), but without a COMMIT before it"
        target = self if traced else self.conn
        if not self.conn.in_transaction:
            target.executescript(sql)
            return
        for statement in _split_script(sql):
            target.execute(statement)

    @contextlib.contextmanager
    def ensure_autocommit_off(self):
''',
)
# A change of isolation_level commits
sub(
    '''        old_isolation_level = self.conn.isolation_level
        try:
''',
    '''        if self.conn.in_transaction:
            yield
            return
        old_isolation_level = self.conn.isolation_level
        try:
''',
)
text = text.replace("with self.db.conn:", "with self.db._atomic():")
sub(
    '''            with self.conn:
                self.conn.execute(
                    "create table''',
    '''            with self._atomic():
                self.conn.execute(
                    "create table''',
)
sub(
    "        with self.conn:\n            self.execute(_COUNTS",
    "        with self._atomic():\n            self.execute(_COUNTS",
)
sub(
    "        with self.conn:\n            self._ensure_counts_table()",
    "        with self._atomic():\n            self._ensure_counts_table()",
)
sub(
    "        self.vacuum()\n\n    def index_foreign_keys",
    "        if not self.conn.in_transaction:\n            self.vacuum()\n\n    def index_foreign_keys",
)
sub(
    "            self.db.conn.executescript(sql)\n",
    "            self.db._script(sql, traced=False)\n",
)
for what in ("create_fts_sql", "triggers", "sql"):
    sub("self.db.executescript({})".format(what), "self.db._script({})".format(what))
# transform() inside a transaction
sub(
    '''        try:
            if pragma_foreign_keys_was_on:
                self.db.execute("PRAGMA foreign_keys=0;")
''',
    '''        if pragma_foreign_keys_was_on and self.db.conn.in_transaction:
            # The pragma has no effect here, and dropping the old table would delete
            # its rows, with all that ON DELETE says
            if not keep_table and self._is_referenced():
                raise TransformError(
                    "Table '{}' is referenced by foreign keys, which are enforced: it can "
                    "not be transformed inside a transaction".format(self.name)
                )
            pragma_foreign_keys_was_on = False
        try:
            if pragma_foreign_keys_was_on:
                self.db.execute("PRAGMA foreign_keys=0;")
''',
)
sub(
    "    def transform_sql(\n",
    '''    def _is_referenced(self) -> bool:
        return any(
            fk.other_table.lower() == self.name.lower()
            for table in self.db.tables
            for fk in table.foreign_keys
        )

    def transform_sql(
''',
)
# Writes that nobody committed
for start in (
    '        self.db.execute(\n            "INSERT OR IGNORE INTO [{lookup_table}]',
    '        self.db.execute(\n            "UPDATE [{table}] SET [{magic_lookup_column}]',
    "        self.db.execute(\n            \"INSERT INTO [{table}]([{table}]) VALUES('rebuild')",
    '            self.db.execute(\n                """\n                INSERT INTO [{table}] ([{table}]) VALUES ("optimize")',
):
    assert text.count(start) == 1, start
    at = text.index(start)
    indent = re.match(" *", start).group()
    end = text.index("\n" + indent + ")\n", at) + len("\n" + indent + ")\n")
    block = "".join("    " + line + "\n" for line in text[at:end].splitlines())
    text = text[:at] + indent + "with self.db._atomic():\n" + block + text[end:]
sub(
    '''        self.db.execute(sql, where_args or [])
        if analyze:
''',
    '''        with self.db._atomic():
            self.db.execute(sql, where_args or [])
        if analyze:
''',
)
# The rows that truncate= deletes belong to the first batch
sub(
    '''        if truncate and self.exists():
            self.db.execute("DELETE FROM [{}];".format(self.name))
''',
    '''        truncate = truncate and self.exists()
''',
)
at = text.index("            self.insert_chunk(\n                alter,\n                extracts,\n                chunk,")
end = text.index("            )\n", at) + len("            )\n")
block = "".join("    " + line + "\n" for line in text[at:end].splitlines())
text = (
    text[:at]
    + '''            with self.db._atomic():
                if truncate:
                    self.db.execute("DELETE FROM [{}];".format(self.name))
                    truncate = False
'''
    + block
    + text[end:]
)
# After an update of its own, transform() can switch foreign keys off
sub(
    '''                self.db.execute(sql, where_args or [])
                if drop:
                    self.transform(drop=columns)
''',
    '''                self.db.execute(sql, where_args or [])
            if drop:
                self.transform(drop=columns)
''',
)
# Calls of several steps
for name in (
    "enable_counts reset_counts create_table create_view add_foreign_keys "
    "index_foreign_keys transform extract create_index add_column add_foreign_key enable_fts "
    "populate_fts disable_fts delete_where update convert insert_all add_missing_columns lookup m2m"
).split():
    text, n = re.subn(
        r"^    def {}\(".format(name), "    @_joins_transaction\n    def {}(".format(name), text, flags=re.M
    )
    assert n >= 1, name
text = text.replace("    @_joins_transaction\n    def enable_fts(self, *args", "    def enable_fts(self, *args")
open(path, "w").write(text)
PY
python3 /tmp/edit.py
rm /tmp/edit.py
