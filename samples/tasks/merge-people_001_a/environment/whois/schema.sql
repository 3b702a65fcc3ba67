CREATE TABLE IF NOT EXISTS records (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    source   TEXT,
    given    TEXT,
    surname  TEXT,
    mail     TEXT,
    phone    TEXT,
    tax      TEXT,
    born     TEXT,
    person   INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX IF NOT EXISTS records_person ON records (person);

CREATE TABLE IF NOT EXISTS decisions (
    a        INTEGER NOT NULL REFERENCES records (id) ON DELETE CASCADE,
    b        INTEGER NOT NULL REFERENCES records (id) ON DELETE CASCADE,
    verdict  TEXT NOT NULL CHECK (verdict IN ('same', 'different')),
    PRIMARY KEY (a, b),
    CHECK (a < b)
);

CREATE TABLE IF NOT EXISTS events (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    person   TEXT NOT NULL,
    records  TEXT NOT NULL
);
