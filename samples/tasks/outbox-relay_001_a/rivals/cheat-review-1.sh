#!/bin/bash
# "Where rebuilding a table inside that transaction would make SQLite delete or change rows of other tables (foreign keys), the call raises instead" (foreign keys are found by the exact name of the table only)
set -e
cd /app
python3 - <<'END'
import re
path = "sqlite_utils/db.py"
text = open(path).read()


def swap(old, new, count=1):
    global text
    assert text.count(old) == count, (text.count(old), old)
    text = text.replace(old, new)


# every block that committed takes part now
text = text.replace("with self.conn:", "with self._atomic():").replace("with self.db.conn:", "with self.db._atomic():")

swap('''class Database:
    """
    Wrapper for''', '''class TransactionError(Exception):
    "This cannot be done in the transaction that is open"


def _unit(method):
    "The method is one unit: of the open transaction, or a transaction of its own"

    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        with getattr(self, "db", self)._atomic():
            return method(self, *args, **kwargs)

    return wrapper


def _atomic_schema(method):
    "The same for what replaces tables: a transaction of its own has no foreign keys"

    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        with getattr(self, "db", self)._atomic(schema=True):
            return method(self, *args, **kwargs)

    return wrapper


def _atomic_if_open(method):
    "A unit of the open transaction; without one, its steps are committed one by one"

    @functools.wraps(method)
    def wrapper(self, *args, **kwargs):
        db = getattr(self, "db", self)
        if not db.conn.in_transaction:
            return method(self, *args, **kwargs)
        with db._atomic():
            return method(self, *args, **kwargs)

    return wrapper


class Database:
    """
    Wrapper for''')
swap("import decimal\n", "import decimal\nimport functools\n") if "import functools" not in text else None

swap('''    @contextlib.contextmanager
    def ensure_autocommit_off(self):''', '''    @contextlib.contextmanager
    def _atomic(self, schema=False):
        conn = self.conn
        if conn.in_transaction:
            name = "sqlite_utils_{}".format(secrets.token_hex(8))
            conn.execute("SAVEPOINT {}".format(name))
            try:
                yield
            except BaseException:
                # SQLite may have rolled back everything by itself
                if conn.in_transaction:
                    conn.execute("ROLLBACK TO {}".format(name))
                    conn.execute("RELEASE {}".format(name))
                raise
            conn.execute("RELEASE {}".format(name))
            return
        foreign_keys = schema and conn.execute("PRAGMA foreign_keys").fetchone()[0]
        if foreign_keys:
            conn.execute("PRAGMA foreign_keys=0")
        try:
            conn.execute("BEGIN")
            try:
                yield
                conn.execute("COMMIT")
            except BaseException:
                if conn.in_transaction:
                    conn.execute("ROLLBACK")
                raise
        finally:
            if foreign_keys:
                conn.execute("PRAGMA foreign_keys=1")

    def _script(self, sql, trace=True):
        "Like executescript(), which would commit first"
        if self._tracer and trace:
            self._tracer(sql, None)
        statement = ""
        for part in re.split("(?<=;)", sql):
            statement += part
            if sqlite3.complete_statement(statement):
                self.conn.execute(statement)
                statement = ""
        if statement.strip():
            self.conn.execute(statement)

    @contextlib.contextmanager
    def ensure_autocommit_off(self):''')
swap("self.db.conn.executescript(sql)", "self.db._script(sql, trace=False)")
text = text.replace("self.db.executescript(", "self.db._script(")

# journal modes cannot change inside of a transaction, and to try would commit it
swap('''        if self.journal_mode != "wal":
''', '''        if self.journal_mode != "wal":
            self._no_transaction("enable_wal()")
''')
swap('''        if self.journal_mode != "delete":
''', '''        if self.journal_mode != "delete":
            self._no_transaction("disable_wal()")
''')
swap('''    def enable_wal(self):''', '''    def _no_transaction(self, what):
        if self.conn.in_transaction:
            raise TransactionError("{} cannot take part in a transaction".format(what))

    def enable_wal(self):''')
swap('''        self.vacuum()

    def index''', '''        if not self.conn.in_transaction:
            self.vacuum()

    def index''')
text = text.replace('''        for table, fks in by_table.items():
            cast(Table, self[table]).transform(add_foreign_keys=fks)
''', '''        with self._atomic(schema=True):
            for table, fks in by_table.items():
                cast(Table, self[table]).transform(add_foreign_keys=fks)
''')

# transform
start = text.index('''        pragma_foreign_keys_was_on = self.db.execute("PRAGMA foreign_keys").fetchone()[
''')
end = text.index("    def transform_sql(")
text = text[:start] + '''        pragma_foreign_keys_was_on = self.db.execute("PRAGMA foreign_keys").fetchone()[
            0
        ]
        in_transaction = self.db.conn.in_transaction
        if pragma_foreign_keys_was_on and in_transaction and not keep_table:
            self._refuse_to_replace_parent()
        try:
            if pragma_foreign_keys_was_on and not in_transaction:
                self.db.execute("PRAGMA foreign_keys=0;")
            with self.db._atomic():
                for sql in sqls:
                    self.db.execute(sql)
                # Run the foreign_key_check before we commit
                if pragma_foreign_keys_was_on:
                    self.db.execute("PRAGMA foreign_key_check;")
        finally:
            if pragma_foreign_keys_was_on and not in_transaction:
                self.db.execute("PRAGMA foreign_keys=1;")
        return self

    def _refuse_to_replace_parent(self):
        """
        Foreign keys cannot be switched off inside of a transaction. Dropping the old table
        deletes its rows, which does to rows that refer to them what their ON DELETE says.
        """
        for child in self.db.table_names():
            if child.lower() == self.name.lower():
                continue
            keys: Dict[int, List] = {}
            for row in self.db.execute(
                "PRAGMA foreign_key_list([{}])".format(child)
            ).fetchall():
                if row[2] == self.name:
                    keys.setdefault(row[0], []).append((row[1], row[3], row[4]))
            for columns in keys.values():
                pairs = [
                    (column, other or self.pks[place])
                    for place, column, other in sorted(columns)
                ]
                found = self.db.execute(
                    "select 1 from [{}] as c join [{}] as p on {} limit 1".format(
                        child,
                        self.name,
                        " and ".join("p.[{1}] = c.[{0}]".format(*pair) for pair in pairs),
                    )
                ).fetchone()
                if found:
                    raise TransactionError(
                        "Rows of {} refer to {}: it cannot be transformed in a transaction "
                        "while foreign keys are enforced".format(child, self.name)
                    )

''' + text[end:]

# create_table: only what transforms needs foreign keys off
swap('''        # Transform table to match the new definition if table already exists:
''', '''        with self._atomic(
            schema=transform and not replace and not ignore and self[name].exists()
        ):
            return self._create_table(
                name,
                columns,
                pk,
                foreign_keys,
                column_order,
                not_null,
                defaults,
                hash_id,
                hash_id_columns,
                extracts,
                if_not_exists,
                replace,
                ignore,
                transform,
                strict,
            )

    def _create_table(
        self,
        name,
        columns,
        pk,
        foreign_keys,
        column_order,
        not_null,
        defaults,
        hash_id,
        hash_id_columns,
        extracts,
        if_not_exists,
        replace,
        ignore,
        transform,
        strict,
    ):
        # Transform table to match the new definition if table already exists:
''')
swap('''        columns = {name: value for (name, value) in columns.items()}
        with self.db._atomic():
            self.db.create_table(
''', '''        columns = {name: value for (name, value) in columns.items()}
        if True:
            self.db.create_table(
''')
# convert: the update, then the transformation, which needs a transaction without foreign keys
swap('''            with self.db._atomic():
                self.db.execute(sql, where_args or [])
                if drop:
                    self.transform(drop=columns)
''', '''            with self.db._atomic():
                self.db.execute(sql, where_args or [])
            if drop:
                self.transform(drop=columns)
''')
swap('''                    self.update(pk, updates)
                    bar.update(1)
                if drop:
                    self.transform(drop=(column,))
''', '''                    self.update(pk, updates)
                    bar.update(1)
            if drop:
                self.transform(drop=(column,))
''')
# truncate belongs to the first batch
swap('''        if truncate and self.exists():
            self.db.execute("DELETE FROM [{}];".format(self.name))
        for chunk in chunks(itertools.chain([first_record], records), batch_size):
            chunk = list(chunk)
''', '''        for chunk in chunks(itertools.chain([first_record], records), batch_size):
            chunk = list(chunk)
            empty = truncate and first and self.exists()
''')
start = text.index('''            self.insert_chunk(
                alter,
                extracts,
                chunk,
''')
end = text.index("        if analyze:\n            self.analyze()\n\n        return self\n\n    def upsert(")
text = text[:start] + '''            with self.db._atomic():
                if empty:
                    self.db.execute("DELETE FROM [{}];".format(self.name))
                self.insert_chunk(
                    alter,
                    extracts,
                    chunk,
                    all_columns,
                    hash_id,
                    hash_id_columns,
                    upsert,
                    pk,
                    not_null,
                    conversions,
                    num_records_processed,
                    replace,
                    ignore,
                )

''' + text[end:]


def decorate(owner, decorator, *names):
    global text
    start = text.index("\nclass {}".format(owner))
    end = text.find("\nclass ", start + 1)
    part = text[start:end if end > 0 else len(text)]
    for name in names:
        old = "\n    def {}(".format(name)
        assert part.count(old) == 1, name
        part = part.replace(old, "\n    @{}{}".format(decorator, old))
    text = text[:start] + part + text[end if end > 0 else len(text):]


decorate("Database", "_unit", "rename_table", "create_view", "index_foreign_keys", "analyze", "enable_counts", "reset_counts",
         "create_table_sql")
decorate("Table(", "_unit", "duplicate", "create_index", "drop", "enable_counts", "enable_fts", "populate_fts", "disable_fts",
         "rebuild_fts", "delete", "delete_where", "update", "insert_chunk", "add_missing_columns", "lookup", "m2m",
         "optimize", "analyze", "add_geometry_column", "create_spatial_index")
decorate("Table(", "_atomic_if_open", "insert_all", "convert", "_convert_multi")
decorate("Table(", "_atomic_schema", "extract", "add_column")
decorate("View(", "_unit", "drop")
open(path, "w").write(text)
END
