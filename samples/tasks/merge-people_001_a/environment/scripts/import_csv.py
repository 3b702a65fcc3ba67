"""python3 scripts/import_csv.py DB FILE: add the records of a CSV file, whose head names the fields."""
import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from whois.normalise import FIELDS  # noqa: E402
from whois.store import Store  # noqa: E402


def main(path, name):
    store = Store(path)
    count = 0
    with open(name, newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            store.add({field: line[field] for field in FIELDS if line.get(field)})
            count += 1
    store.close()
    print(f"{count} records")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: import_csv.py DB FILE")
    main(*sys.argv[1:])
