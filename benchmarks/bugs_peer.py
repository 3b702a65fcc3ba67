"""Run SWE-smith's modifiers of Python on files: every pair of an entity and a modifier that its
`generate` would take, in a loop of our own, for its command line wants a registered repository.

  PEER_PYTHON bugs_peer.py FOLDER < paths    # a path a line; benchmarks/bugs.py makes PEER_PYTHON

It prints one JSON line; the CPU seconds are of reading entities, changing them and making diffs.
"""
import ast
import json
import sys
import time
from pathlib import Path

from swesmith.bug_gen.adapters.python import get_entities_from_file_py
from swesmith.bug_gen.procedural import MAP_EXT_TO_MODIFIERS
from swesmith.bug_gen.utils import generate_patch_fast


def main() -> None:
    folder, paths = sys.argv[1], sys.stdin.read().splitlines()
    started, entities, unreadable = time.process_time(), [], 0
    for path in paths:
        try:
            get_entities_from_file_py(entities, str(Path(folder, path)))
        except Exception:   # of the peer: whatever it stumbles over is not read
            unreadable += 1
    patches, pairs = [], 0
    for modifier in MAP_EXT_TO_MODIFIERS[".py"]:
        for entity in filter(modifier.can_change, entities):
            pairs += 1
            bug = modifier.modify(entity)
            if patch := bug and generate_patch_fast(entity, bug, folder):
                patches.append((patch, bug.rewrite))
    seconds = time.process_time() - started
    unique = dict(patches)
    print(json.dumps({"entities": len(entities), "unreadable": unreadable, "pairs": pairs,
                      "made": len(patches), "candidates": sum(map(parses, unique.values())),
                      "seconds": round(seconds, 2)}))


def parses(text: str) -> bool:
    """Return whether a rewritten entity is Python."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


if __name__ == "__main__":
    main()
