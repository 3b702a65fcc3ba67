import random
import sqlite3
import sys
from pathlib import Path

rng, out = random.Random(4), Path(sys.argv[1])
out.mkdir()
c = sqlite3.connect("/tmp/app.db", isolation_level=None)
c.executescript("pragma page_size=1024; pragma journal_mode=wal; pragma wal_autocheckpoint=0; create table visit(id integer primary key, who text, what blob); create index who on visit(who)")


def work(n):
    for _ in range(n):
        c.execute("begin")
        for _ in range(rng.randrange(1, 6)):
            c.execute("insert into visit(who, what) values(?, ?)", (rng.choice(["ada", "bo", "cy"]), rng.randbytes(rng.randrange(700))))
        c.execute("update visit set who = 'dee' where id = ?", (rng.randrange(1, 20),))
        c.execute("commit")


work(14)
c.execute("pragma wal_checkpoint(restart)").fetchall()
work(5)
bad = [("app.db", 5 * 1024, 512), ("app.db", 9 * 1024 + 100, 300), ("app.db-wal", 32 + 4 * 1048 + 600, 200), ("app.db-wal", 32 + 8 * 1048, 24), ("app.db-wal", 32 + 40 * 1048 + 300, 512)]
for name in ("app.db", "app.db-wal"):
    data = bytearray(Path("/tmp", name).read_bytes())
    for file, at, n in bad:
        if file == name:
            data[at:at + n] = bytes(n)
    (out / name).write_bytes(data)
(out / "bad.txt").write_text("".join("%s %d %d\n" % one for one in bad))
