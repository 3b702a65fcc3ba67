#!/usr/bin/env python3
"""Bring the objects of a damaged pack file into a repository."""
import subprocess
import sys
import zlib

KINDS = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}


def entry(pack, offset):
    """Kind, content and end of the entry at an offset."""
    first = pack[offset]
    offset += 1
    kind, length, bits = first >> 4 & 7, first & 15, 4
    while first & 128:
        first = pack[offset]
        offset += 1
        length |= (first & 127) << bits
        bits += 7
    inflater = zlib.decompressobj()
    content = inflater.decompress(pack[offset:])
    if len(content) != length or not inflater.eof:
        raise ValueError(f"bad entry before {offset}")
    return kind, content, len(pack) - len(inflater.unused_data)


def main(pack_path, repo):
    with open(pack_path, "rb") as file:
        pack = file.read()
    if pack[:4] != b"PACK":
        raise ValueError("not a pack")
    offset, found = 12, set()
    while offset < len(pack) - 20:
        kind, content, offset = entry(pack, offset)
        if kind not in KINDS:
            print("a delta, skipped", file=sys.stderr)
            continue
        done = subprocess.run(["git", "-C", repo, "hash-object", "-w", "-t", KINDS[kind], "--stdin"],
                              input=content, capture_output=True, check=True)
        found.add(f"{done.stdout.decode().strip()} {KINDS[kind]}")
    print("\n".join(sorted(found)))


if __name__ == "__main__":
    main(*sys.argv[1:])
