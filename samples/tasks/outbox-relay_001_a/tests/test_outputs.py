"""What the Python API of sqlite-utils leaves in a file, seen from a second connection."""
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile

import pytest

REPO = "/app"

# Runs lines of Python that the test sends, and answers each with what it raised.
DRIVER = r"""
import json, sys
sys.path.insert(0, sys.argv[1])
import sqlite_utils
names = {"sqlite_utils": sqlite_utils, "Database": sqlite_utils.Database}
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    try:
        exec(json.loads(line), names)
        answer = None
    except Exception as e:
        answer = type(e).__name__ + ": " + str(e)
    print(json.dumps(answer), flush=True)
"""


class Program:
    def __init__(self):
        self.folder = tempfile.mkdtemp()
        self.number = 0
        self.templates = {}
        path = os.path.join(self.folder, "driver.py")
        with open(path, "w") as f:
            f.write(DRIVER)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", path, REPO], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, cwd=self.folder, start_new_session=True)
        signal.alarm(240)
        assert json.loads(self.process.stdout.readline()) == "ready"

    def run(self, code):
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the program died in: " + code
        return json.loads(line)

    def must(self, code):
        answer = self.run(code)
        assert answer is None, code + " raised " + answer

    def database(self, script, pragma=""):
        self.number += 1
        path = os.path.join(self.folder, "%d.db" % self.number)
        if script not in self.templates:
            template = os.path.join(self.folder, "template%d.db" % self.number)
            connection = sqlite3.connect(template)
            connection.executescript("pragma synchronous = off; begin;" + script + "commit;")
            connection.close()
            self.templates[script] = template
        shutil.copyfile(self.templates[script], path)
        self.must("db = Database(%r)\ndb.execute('pragma synchronous = off')\n%s" % (path, pragma))
        return path

    def end(self):
        signal.alarm(0)
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def program():
    program = Program()
    yield program
    program.end()


def ask(path, sql):
    connection = sqlite3.connect(path, timeout=0.2)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def dump(path):
    connection = sqlite3.connect(path, timeout=0.2)
    try:
        schema = connection.execute(
            "select type, name, sql from sqlite_master order by type, name").fetchall()
        rows = []
        for (name,) in connection.execute(
                "select name from sqlite_master where type = 'table' order by name").fetchall():
            rows.append((name, sorted(map(repr, connection.execute("select * from [%s]" % name)))))
        return schema, rows
    finally:
        connection.close()


def is_locked(path):
    "Does somebody hold a transaction that writes?"
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        connection.execute("begin immediate")
        connection.execute("rollback")
        return False
    except sqlite3.OperationalError:
        return True
    finally:
        connection.close()


PLANTS = """
create table plant (id integer primary key, kind text, place text, height integer);
insert into plant values (1, 'oak', 'park', 20), (2, 'elm', 'yard', 9), (3, 'oak', 'yard', 12);
create table place (id integer primary key, name text);
insert into place values (1, 'park'), (2, 'yard');
create table mark (note text);
create view tall as select * from word where id > 1;
create table essay (id integer primary key, body text);
insert into essay values (1, 'the quick fox'), (2, 'a lazy dog');
create virtual table essay_fts using fts5 (body, content=[essay]);
insert into essay_fts (rowid, body) select id, body from essay;
create table word (id integer primary key, text text);
insert into word values (1, 'red'), (2, 'green');
create virtual table word_fts using fts5 (text, content=[word]);
"""

COLUMNS = "select group_concat(name) from pragma_table_info('%s')"
# code, a question about its effect, the answer (of the first row) when it has been done
CALLS = [
    ("db['plant'].insert({'id': 7, 'kind': 'fir'})", "select kind from plant where id = 7", ("fir",)),
    ("db['plant'].insert({'id': 7, 'moss': 1}, alter=True)", "select moss from plant where id = 7", (1,)),
    ("db['fresh'].insert({'id': 4, 'a': 'b'}, pk='id', strict=True)", "select a from fresh where id = 4", ("b",)),
    ("db['plant'].insert_all(({'id': n} for n in range(50, 300)), batch_size=20)",
     "select count(*) from plant where id >= 50", (250,)),
    ("db['copy'].insert_all(db['plant'].rows, batch_size=1)", "select count(*) from copy", (3,)),
    ("db['plant'].insert_all([{'id': 5}, {'id': 6}], truncate=True)", "select count(*), max(id) from plant", (2, 6)),
    ("db['plant'].upsert({'id': 2, 'kind': 'ash'}, pk='id')", "select kind, place from plant where id = 2",
     ("ash", "yard")),
    ("db['plant'].upsert_all([{'id': n, 'kind': 'yew'} for n in (1, 2, 8)], pk='id')",
     "select count(*) from plant where kind = 'yew'", (3,)),
    ("db['plant'].insert_all([{'id': 1, 'kind': 'fig'}, {'id': 4}], pk='id', replace=True)",
     "select kind, place from plant where id = 1", ("fig", None)),
    ("db['plant'].insert_all([{'id': 1, 'kind': 'fig'}, {'id': 4, 'kind': 'bay'}], pk='id', ignore=True)",
     "select group_concat(kind) from plant", ("oak,elm,oak,bay",)),
    ("db['plant'].insert({'id': 7, 'kind': 'fir'}, conversions={'kind': 'upper(?)'})",
     "select kind from plant where id = 7", ("FIR",)),
    ("db['fresh'].upsert({'id': 4, 'a': 'b', 'c': 5}, pk='id', not_null=['c'], defaults={'a': 'z'})",
     "select a, c from fresh where id = 4", ("b", 5)),
    ("db['plant'].update(3, {'height': 13})", "select height from plant where id = 3", (13,)),
    ("db['plant'].update(3, {'moss': 'y'}, alter=True)", "select moss from plant where id = 3", ("y",)),
    ("db['plant'].delete(2)", "select count(*) from plant", (2,)),
    ("db['plant'].delete_where('kind = ?', ['oak'])", "select count(*) from plant", (1,)),
    ("db['plant'].delete_where(analyze=True)", "select count(*) from plant", (0,)),
    ("db['plant'].convert('kind', lambda v: v + '!')", "select kind from plant where id = 2", ("elm!",)),
    ("db['plant'].convert('kind', lambda v: v + '?', output='query', drop=True)", COLUMNS % "plant",
     ("id,place,height,query",)),
    ("db['plant'].convert('kind', lambda v: {'big': v.upper()}, multi=True, drop=True)", COLUMNS % "plant",
     ("id,place,height,big",)),
    ("db['pot'].create({'id': int, 'size': float}, pk='id')", COLUMNS % "pot", ("id,size",)),
    ("db['pot'].create({'id': int, 'size': float}, pk='id', strict=True)", COLUMNS % "pot", ("id,size",)),
    ("db['plant'].create({'id': int, 'kind': str}, pk='id', transform=True)", COLUMNS % "plant", ("id,kind",)),
    ("db.create_table('pot', {'id': int})", COLUMNS % "pot", ("id",)),
    ("db['plant'].create({'id': int, 'sun': str}, pk='id', replace=True)", COLUMNS % "plant", ("id,sun",)),
    ("db.create_table('plant', {'id': int, 'sun': str}, replace=True)", COLUMNS % "plant", ("id,sun",)),
    ("db.rename_table('plant', 'tree')", "select count(*) from tree", (3,)),
    ("db.create_view('tall', 'select 1 as one', replace=True)", "select one from tall", (1,)),
    ("db['plant'].duplicate('copy')", "select count(*) from copy", (3,)),
    ("db['plant'].transform(rename={'kind': 'sort'}, types={'height': float})", COLUMNS % "plant",
     ("id,sort,place,height",)),
    ("db['plant'].extract(['place'], table='site')", "select name from pragma_table_info('plant') where cid = 2",
     ("site_id",)),
    ("db['plant'].create_index(['kind'], analyze=True)", "select name from pragma_index_list('plant')",
     ("idx_plant_kind",)),
    ("db['plant'].add_column('place_id', fk='place')", "select [table], [to] from pragma_foreign_key_list('plant')",
     ("place", "id")),
    ("db.add_foreign_keys([('plant', 'height', 'place', 'id')])",
     "select [from] from pragma_foreign_key_list('plant')", ("height",)),
    ("db['plant'].add_column('place_id', fk='place')\ndb.index_foreign_keys()",
     "select name from pragma_index_list('plant')", ("idx_plant_place_id",)),
    ("db['plant'].drop()", "select count(*) from sqlite_master where name = 'plant'", (0,)),
    ("db['tall'].drop()", "select count(*) from sqlite_master where name = 'tall'", (0,)),
    ("db.enable_counts()", "select count from _counts where [table] = 'plant'", (3,)),
    ("db['plant'].enable_counts()\ndb['plant'].insert({'kind': 'x'})",
     "select count from _counts where [table] = 'plant'", (4,)),
    ("db['place'].enable_counts()\ndb.reset_counts()", "select count from _counts", (2,)),
    ("db['plant'].enable_fts(['kind'], create_triggers=True)\ndb['plant'].insert({'kind': 'rare; one'})",
     "select count(*) from plant_fts where plant_fts match 'rare'", (1,)),
    ("db['essay'].enable_fts(['body'], tokenize='porter', replace=True)",
     "select count(*) from essay_fts where essay_fts match 'foxes'", (1,)),
    ("db['word'].populate_fts(['text'])", "select count(*) from word_fts where word_fts match 'green'", (1,)),
    ("db['essay'].disable_fts()", "select count(*) from sqlite_master where name = 'essay_fts'", (0,)),
    ("db['word'].rebuild_fts()", "select count(*) from word_fts where word_fts match 'green'", (1,)),
    ("db['essay'].optimize()", "select count(*) from essay_fts where essay_fts match 'lazy'", (1,)),
    ("db['colour'].lookup({'name': 'blue'})", "select name from colour", ("blue",)),
    ("db['place'].lookup({'name': 'moor'}, {'size': 3})", "select size from place where name = 'moor'", (3,)),
    ("db['plant'].update(1, {'height': 21}).m2m('tag', [{'id': 1}, {'id': 2}], pk='id')",
     "select count(*) from plant_tag where plant_id = 1", (2,)),
    ("db.analyze()", "select count(*) from sqlite_stat1 where tbl = 'place'", (1,)),
]


def test_calls_take_part_in_the_open_transaction(program):
    for code, question, answer in CALLS:
        path = program.database(PLANTS)
        before = dump(path)
        for end in ("db.conn.rollback()", "db.conn.commit()"):
            program.must("db.execute('begin')\ndb.execute(\"insert into mark values ('mine')\")")
            program.must(code)
            assert dump(path) == before, "seen from outside before the commit: " + code
            assert is_locked(path), "ended the transaction: " + code
            program.must("assert db.execute(%r).fetchall()[:1] == [%r]" % (question, answer))
            program.must("assert db.execute('select note from mark').fetchall() == [('mine',)]")
            program.must("db.execute('select 1')\n" + end)
            assert not is_locked(path), "still open: " + code
            if "rollback" in end:
                assert dump(path) == before, "not undone: " + code
        assert ask(path, question)[:1] == [answer], "not done: " + code
        assert ask(path, "select note from mark") == [("mine",)], code
    # a transaction that a statement has opened; and what cannot be done in one
    path = program.database(PLANTS)
    before = dump(path)
    program.must("db.execute(\"insert into mark values ('mine')\")\nstrict = db.supports_strict")
    program.must("assert strict")
    for code in ("db.enable_wal()", "db.vacuum()"):
        program.run(code)
        assert dump(path) == before and is_locked(path), code
    program.must("db['plant'].delete(1)\ndb['mark'].insert({'note': 'too'})")
    assert dump(path) == before and is_locked(path)
    program.must("db.conn.rollback()")
    assert dump(path) == before
    program.must("db.enable_wal()\nassert db.journal_mode == 'wal'\ndb.disable_wal()")


FAILURES = [
    # several batches, the last of which fails
    "db['plant'].insert_all([{'id': n} for n in (70, 71, 72, 73, 74, 1)], batch_size=2)",
    "db['plant'].insert_all([{'id': 70}, {'id': 71}, {'id': 71}], batch_size=1, truncate=True)",
    "db['plant'].insert_all(({'id': 90 - n, 'height': 6 // (3 - n)} for n in range(5)), batch_size=1)",
    "db['fresh'].insert_all([{'id': 1}, {'id': 2}, {'id': 1}], pk='id', batch_size=1)",
    "db['plant'].upsert_all([{'id': 1, 'kind': 'a'}, {'id': 60, 'moss': 1}], pk='id', batch_size=1)",
    # changes of the schema before the failure
    "db['plant'].insert_all([{'id': 80, 'moss': 1}, {'id': 1, 'moss': 2}], alter=True)",
    "db['plant'].convert('height', lambda v: 5 // (v - 12), output='ratio')",
    "db['plant'].convert('kind', lambda v: {'n': 1} if v == 'oak' else 'no', multi=True)",
    "db['plant'].transform(not_null={'kind', 'place'}, pk='kind')",
    "db['plant'].extract(['place'], table='mark')",
    "db['essay'].enable_fts(['nothing'], replace=True)",
    "db['plant'].enable_fts(['kind', 'nothing'])",
    "db['plant'].create({'id': int, 'extra': str}, pk='extra', not_null=['extra'], transform=True)",
    "db['plant'].lookup({'place': 'lake', 'kind': 'oak', 'height': 2}, {'id': 1})",
    "db['plant'].update(1, {}).m2m('place', [{'id': 8}, {'id': 9, 'colour': 'red'}], pk='id')",
    "db.add_foreign_keys([('plant', 'height', 'place', 'id'), ('essay', 'id', 'nowhere', 'id')])",
    # somebody presses a key between two batches
    "def rows():\n    yield {'id': 70}\n    yield {'id': 71}\n    raise KeyboardInterrupt\n"
    "try:\n    db['plant'].insert_all(rows(), batch_size=1)\nexcept KeyboardInterrupt:\n    raise ValueError('interrupted')",
]


def test_a_failed_call_undoes_its_own_changes_only(program):
    for code in FAILURES:
        path = program.database(PLANTS)
        program.must("db['mark'].insert({'note': 'committed'})")
        program.must("db.execute('begin')\ndb['mark'].insert({'note': 'mine'})\ndb['plant'].update(2, {'height': 8})")
        program.must("shown = lambda: [list(db.execute(q)) for q in ["
                     "'select * from sqlite_master order by name', 'select * from plant', 'select * from place',"
                     "'select * from mark', \"select rowid from essay_fts where essay_fts match 'fox'\"]]\n"
                     "first = shown()")
        assert program.run(code) is not None, "did not raise: " + code
        assert is_locked(path), "ended the transaction: " + code
        program.must("assert shown() == first")
        program.must("db['mark'].insert({'note': 'later'})\ndb.conn.commit()")
        assert not is_locked(path)
        assert ask(path, "select note from mark order by rowid") == [("committed",), ("mine",), ("later",)], code
        assert ask(path, "select id, height from plant") == [(1, 20), (2, 8), (3, 12)], code


FAMILIES = """
create table parent (id integer primary key, name text);
create table child (id integer primary key, name text,
  parent_id integer references parent (id) on delete %s);
insert into parent values (1, 'ann'), (2, 'bob');
insert into child values (10, 'cid', 1), (11, 'dan', 2);
create table mark (note text);
create table size (id integer primary key);
create table shoe (id integer primary key, size_id integer references size (id));
"""


def test_rows_of_other_tables_survive(program):
    calls = [
        "db['parent'].transform(rename={'name': 'called'})",
        "db['parent'].convert('name', str.upper, drop=True, output='big')",
        "db['parent'].add_column('boss', int)\ndb['parent'].add_foreign_key('boss', 'parent', 'id')",
        "db['parent'].extract(['name'])",
    ]
    for action in ("cascade", "set null", "restrict", "no action", "no action deferrable initially deferred"):
        for code in calls:
            path = program.database(FAMILIES % action, "db.execute('pragma foreign_keys = on')")
            program.must("db.execute('begin')\ndb['mark'].insert({'note': 'mine'})")
            program.must("first = list(db.execute('select sql from sqlite_master where name = \"parent\"'))")
            raised = program.run(code)
            assert is_locked(path), "ended the transaction: " + code
            if raised and "add_column" not in code:
                program.must("assert first == list(db.execute("
                             "'select sql from sqlite_master where name = \"parent\"'))")
            program.must("db.conn.commit()")
            assert ask(path, "select id, parent_id from child") == [(10, 1), (11, 2)], code + " " + str(raised)
            assert ask(path, "select count(*) from parent") == [(2,)], code
            assert ask(path, "select note from mark") == [("mine",)], code
            assert ask(path, "pragma foreign_key_check") == [], code
        # names of tables mean the same in capitals
        path = program.database((FAMILIES % action).replace("references parent", "references PARENT"),
                                "db.execute('pragma foreign_keys = on')")
        program.must("db.execute('begin')\ndb['mark'].insert({'note': 'mine'})")
        program.run(calls[0])
        assert is_locked(path), "ended the transaction: " + calls[0]
        program.must("db.conn.commit()")
        assert ask(path, "select id, parent_id from child") == [(10, 1), (11, 2)], calls[0]
        assert ask(path, "select note from mark") == [("mine",)], calls[0]
        # where no transaction is open, foreign keys can be switched off
        for code in (calls[0], calls[2]):
            path = program.database(FAMILIES % action, "db.execute('pragma foreign_keys = on')")
            program.must(code)
            assert not is_locked(path), "left a transaction open: " + code
            assert ask(path, "select id, parent_id from child") == [(10, 1), (11, 2)], code
            assert ask(path, "select count(*) from parent") == [(2,)], code
            program.must("assert db.execute('pragma foreign_keys').fetchall() == [(1,)]")
        # nobody refers to the child: it can be rebuilt
        path = program.database(FAMILIES % action, "db.execute('pragma foreign_keys = on')")
        program.must("db.execute('begin')\ndb['child'].transform(rename={'name': 'called'})")
        assert ask(path, COLUMNS % "child") == [("id,name,parent_id",)]
        program.must("db.conn.commit()\nassert db.execute('pragma foreign_keys').fetchall() == [(1,)]")
        assert ask(path, "select id, called, parent_id from child") == [(10, "cid", 1), (11, "dan", 2)]


SEQUENCES = [
    ("db['plant'].delete_where('id = 1')\ndb['plant'].insert({'id': 9})", "select count(*), max(id) from plant", (3, 9)),
    ("db['word'].rebuild_fts()\ndb['word'].insert({'text': 'blue'})", "select count(*) from word", (3,)),
    ("db['essay'].optimize()\ndb['essay'].delete(1)", "select count(*) from essay", (1,)),
    ("try:\n    db['plant'].insert({'id': 1})\nexcept Exception:\n    pass\ndb['plant'].delete_where('id = 1')",
     "select count(*) from plant", (2,)),
]


def test_calls_commit_when_no_transaction_is_open(program):
    for code, question, answer in CALLS + SEQUENCES:
        path = program.database(PLANTS)
        program.must(code)
        assert not is_locked(path), "left a transaction open: " + code
        assert ask(path, question)[:1] == [answer], "not committed: " + code
        program.must("db['mark'].insert({'note': 'next'})")
        assert ask(path, "select note from mark") == [("next",)], code
    # what reads, and the commands, which have no transaction open
    path = program.database(PLANTS)
    program.must("""from click.testing import CliRunner
from sqlite_utils import cli
def command(text, *args):
    result = CliRunner().invoke(cli.cli, list(args), input=text, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output
assert [row['id'] for row in db['essay'].search('lazy')] == [2]""")
    program.must("command(%r, 'insert', %r, 'plant', '-', '--pk', 'id')" % ('{"id": 9}', path))
    program.must("command(None, 'transform', %r, 'plant', '--rename', 'kind', 'sort')" % path)
    program.must("assert '9' in command(None, 'rows', %r, 'plant', '--where', 'id = 9')" % path)
    program.must("assert 'a lazy dog' in command(None, 'search', %r, 'essay', 'lazy')" % path)
    assert ask(path, COLUMNS % "plant") == [("id,sort,place,height",)]
    assert ask(path, "select id from plant where id > 3") == [(9,)]
