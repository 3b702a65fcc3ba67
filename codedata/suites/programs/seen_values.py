"""Decide in a changed source file whether right or wrong statements run: wrong_repairs.py puts
this text at the end of the file. It runs on Python 3.9 and later and needs nothing else.
"""


def codedata_is_right(names, scope):
    """Return whether the right statements run, by the variable CODEDATA_WAY: "note" (always, and
    the values of the names are noted), "all" (if all values are noted ones), "first" (in a frame
    once), a name (if its value is a noted one), or "drop 0" (always)."""
    import json
    import marshal
    import os

    def text_of(value):
        try:
            marshal.dumps(value, 2)   # refuses what is not plain: its repr() may call the project
            return repr(value)[:400]
        except ValueError:
            return type(value).__name__

    way, place = os.environ.get("CODEDATA_WAY", "drop"), "/tmp/codedata-seen"
    state = vars(codedata_is_right)
    if way == "first":
        return scope.get("codedata_n") == 1
    if way.startswith("drop"):
        return True
    found = {}
    for name in names:
        first, _, attribute = name.partition(".")
        value = scope.get(first)
        found[name] = text_of(getattr(value, "__dict__", {}).get(attribute) if attribute else value)
    row = json.dumps(found)
    if way == "note":
        if row not in state and len(state) < 2000:
            state[row] = found
            with open(place, "a") as file:
                file.write(row + "\n")
        return True
    if not state and os.path.exists(place):
        with open(place) as file:
            state.update({line: json.loads(line) for line in file.read().splitlines()})
    if found.get(way, "True") in ("True", "False", "None"):   # nothing narrower than all of them
        return row in state
    return any(found[way] == noted[way] for noted in state.values())
