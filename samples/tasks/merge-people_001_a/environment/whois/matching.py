from .normalise import values

SHARED_FROM = 4


def shared(db, field, value):
    """Whether too many have this mail or phone for it to tell something."""
    rows = db.execute(f"SELECT {field} FROM records WHERE {field} IS NOT NULL")
    return sum(values_of(field, row[0]) == value for row in rows) >= SHARED_FROM


def values_of(field, text):
    from .normalise import KINDS
    return KINDS[field](text)


def level(db, one, other, decisions):
    """How strong the evidence is that two records are the same person; 0: there is none."""
    a, b = values(one), values(other)

    def same(field):
        return a[field] != "" and a[field] == b[field]

    if decisions.get(other["id"]) == "same":
        return 4
    if same("tax"):
        return 3
    if same("mail") and (same("surname") or same("born")) and not shared(db, "mail", a["mail"]):
        return 2
    if same("phone") and same("given") and same("surname") and not shared(db, "phone", a["phone"]):
        return 1
    return 0


def contradicts(one, other, decisions):
    a, b = values(one), values(other)
    if decisions.get(other["id"]) == "different":
        return True
    return any(a[field] and b[field] and a[field] != b[field] for field in ("tax", "born"))


def find_person(db, record):
    """The person of the record that fits best, the oldest of several."""
    decisions = {}
    for row in db.execute("SELECT * FROM decisions WHERE ? IN (a, b)", (record["id"],)):
        decisions[row["a"] if row["b"] == record["id"] else row["b"]] = row["verdict"]
    best = (0, None)
    for other in db.execute("SELECT * FROM records WHERE id <> ? ORDER BY id", (record["id"],)):
        if contradicts(record, other, decisions):
            continue
        found = level(db, record, other, decisions)
        if found > best[0]:
            best = (found, other["person"])
    return best[1]
