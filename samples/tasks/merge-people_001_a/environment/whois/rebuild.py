"""python3 -m whois.rebuild DB: match all records of a database anew."""
import sys

from . import events, matching
from .store import Store


def rebuild(path):
    store = Store(path)
    with store:
        before = {row["id"]: row["person"] for row in store.db.execute("SELECT id, person FROM records")}
        store.db.execute("UPDATE records SET person = id")
        for number in sorted(before):
            person = matching.find_person(store.db, store.record(number)) or number
            store.db.execute("UPDATE records SET person = ? WHERE id = ?", (person, number))
        after = {row["id"]: row["person"] for row in store.db.execute("SELECT id, person FROM records")}
        changed = {person for number in before if before[number] != after[number]
                   for person in (before[number], after[number])}
        events.tell(store.db, sorted(changed))
    store.close()
    return len(changed)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 -m whois.rebuild DB")
    print(f"{rebuild(sys.argv[1])} people changed")
