import pathlib
import shutil
import sqlite3


def plans(tmp_path):
    script = pathlib.Path("/app/indexes.sql")
    assert script.is_file()
    shutil.copy("/app/shop.db", tmp_path / "shop.db")
    database = sqlite3.connect(tmp_path / "shop.db")
    database.executescript(script.read_text())
    database.execute("ANALYZE")
    queries = pathlib.Path("/app/queries.sql").read_text().split(";")
    return database, [[row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {one}")]
                      for one in queries if one.strip()]


def test_no_scan_and_no_sort(tmp_path):
    _, found = plans(tmp_path)
    assert len(found) == 3
    for steps in found:
        assert not [step for step in steps if step.startswith("SCAN") or "TEMP B-TREE" in step]


def test_few_and_narrow_indexes(tmp_path):
    database, _ = plans(tmp_path)
    names = database.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall()
    assert 1 <= len(names) <= 3
    for name, in names:
        assert len(database.execute(f"PRAGMA index_info({name})").fetchall()) <= 3
