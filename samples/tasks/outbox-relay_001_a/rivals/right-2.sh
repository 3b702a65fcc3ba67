set -e
cat >> sqlite_utils/db.py <<'PY'


class _Within:
    """
    Stands for the connection while a method runs inside its caller's transaction: what
    would end that transaction does nothing, or is done in another way.
    """

    def __init__(self, conn):
        self.__dict__["real"] = conn

    def __getattr__(self, name):
        return getattr(self.real, name)

    def __setattr__(self, name, value):
        if name != "isolation_level":
            setattr(self.real, name, value)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        return False

    def commit(self):
        pass

    def executescript(self, script):
        cursor = self.real.cursor()
        statement = ""
        for character in script + ";":
            statement += character
            if character == ";" and sqlite3.complete_statement(statement):
                if statement.strip(" \n;"):
                    cursor.execute(statement)
                statement = ""
        return cursor


def _writer(method):
    def call(self, *args, **kwargs):
        db = getattr(self, "db", self)
        conn = db.conn
        if isinstance(conn, _Within) or getattr(db, "_depth", 0):
            return method(self, *args, **kwargs)
        if conn.in_transaction:
            conn.execute("SAVEPOINT sqlite_utils_call")
            db.conn = _Within(conn)
            try:
                result = method(self, *args, **kwargs)
            except BaseException:
                if conn.in_transaction:
                    conn.execute("ROLLBACK TO sqlite_utils_call")
                    conn.execute("RELEASE sqlite_utils_call")
                raise
            else:
                conn.execute("RELEASE sqlite_utils_call")
                return result
            finally:
                db.conn = conn
        db._depth = 1
        try:
            result = method(self, *args, **kwargs)
            if conn.in_transaction:
                conn.commit()
            return result
        except BaseException:
            if conn.in_transaction:
                conn.rollback()
            raise
        finally:
            db._depth = 0

    call.__name__ = method.__name__
    call.__doc__ = method.__doc__
    call.__signature__ = inspect.signature(method)
    call.__wrapped__ = method
    return call


def _safe_transform(transform):
    def call(self, *args, **kwargs):
        if isinstance(self.db.conn, _Within) and not kwargs.get("keep_table"):
            if self.db.conn.execute("PRAGMA foreign_keys").fetchone()[0]:
                for table in self.db.tables:
                    if any(key.other_table.lower() == self.name.lower() for key in table.foreign_keys):
                        raise TransformError(
                            "{} refers to {}, and foreign keys cannot be switched off "
                            "inside a transaction".format(table.name, self.name)
                        )
        return transform(self, *args, **kwargs)

    call.__name__ = transform.__name__
    call.__doc__ = transform.__doc__
    call.__signature__ = inspect.signature(transform)
    call.__wrapped__ = transform
    return call


Table.transform = _safe_transform(Table.transform)

_WRITERS = {
    Database: "enable_wal disable_wal enable_counts reset_counts create_table rename_table create_view "
    "add_foreign_keys index_foreign_keys analyze",
    Table: "create duplicate transform extract create_index add_column drop add_foreign_key enable_counts "
    "enable_fts populate_fts disable_fts rebuild_fts optimize delete delete_where update convert insert "
    "insert_all upsert upsert_all add_missing_columns lookup m2m analyze",
    View: "drop",
}
for _class, _names in _WRITERS.items():
    for _name in _names.split():
        setattr(_class, _name, _writer(getattr(_class, _name)))
Database.supports_strict = property(_writer(Database.supports_strict.fget))  # type: ignore
PY
python3 - <<'PY'
path = "sqlite_utils/db.py"
text = open(path).read()
old = "        self.vacuum()\n\n    def index_foreign_keys"
assert old in text
text = text.replace(old, "        if not self.conn.in_transaction:\n            self.vacuum()\n\n    def index_foreign_keys")
open(path, "w").write(text)
PY
