import json


def records_of(db, person):
    return [row["id"] for row in db.execute("SELECT id FROM records WHERE person = ? ORDER BY id", (person,))]


def tell(db, people):
    """Say of these people which records they have now."""
    for person in people:
        add(db, person, records_of(db, person))


def add(db, person, records):
    db.execute("INSERT INTO events (person, records) VALUES (?, ?)", (f"p{person}", json.dumps(records)))


def after(db, seq):
    rows = db.execute("SELECT * FROM events WHERE seq > ? ORDER BY seq", (seq,))
    return [{"seq": row["seq"], "person": row["person"], "records": json.loads(row["records"])} for row in rows]
