"""Unpack and pack samples/task_set/tasks.parquet: one row a task, its folder as tar.gz.

  python samples/task_set.py unpack runs/set/task    # a folder a task; edit them, or add one
  python build_dp.py validate --root runs/set        # proves again what was edited
  python samples/task_set.py pack runs/set/task      # write the file again from all folders there

Equal folders give equal rows: members are sorted, without times and owners.
"""
import argparse
import gzip
import io
import shutil
import sys
import tarfile
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))   # codedata is not installed

from codedata.audit.others import rows_in, task_name
from codedata.texts import tomllib

FILE = Path(__file__).resolve().parent / "task_set/tasks.parquet"
COLUMNS = {"path": "VARCHAR", "task_binary": "BLOB", "kind": "VARCHAR", "category": "VARCHAR",
           "difficulty": "VARCHAR", "tags": "VARCHAR[]", "languages": "VARCHAR[]",
           "licence": "VARCHAR", "n_rivals": "BIGINT"}
PARTS = ("task.toml", "instruction.md", "proof.json", "environment", "solution", "tests", "rivals")


def unpack(folder: Path, file: Path = FILE) -> Path:
    """Write the folder of each task below `folder`, and return that."""
    for row in rows_in(file):
        with row.open_folder() as unpacked:
            shutil.copytree(unpacked, folder / task_name(row.item))
    return folder


def pack(folder: Path, file: Path = FILE) -> Path:
    """Write the tasks whose folders lie in `folder` as a Parquet file, and return that."""
    with duckdb.connect(config={"threads": 1}) as db:
        db.execute("set enable_progress_bar = false")
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        db.execute(f"create table tasks ({columns})")
        for task in sorted(path.parent for path in folder.glob("*/task.toml")):
            db.execute(f"insert into tasks values ({', '.join('?' * len(COLUMNS))})", row_of(task))
        db.execute(f"copy tasks to '{file}' (format parquet, compression zstd, row_group_size 8)")
    return file


def row_of(task: Path) -> list:
    """Return the row of a task's folder."""
    metadata = tomllib.loads((task / "task.toml").read_text(encoding="utf-8"))["metadata"]
    about = metadata["codedata"]
    languages = about.get("languages") or [about["language"]]
    return [task.name, archive(task), about["kind"], metadata["category"],
            metadata.get("difficulty", ""), metadata["tags"], languages,
            about.get("licence") or "CC0-1.0", len([*task.glob("rivals/*")])]


def archive(task: Path) -> bytes:
    """Return the tar.gz of a task's folder."""
    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        return None if member.name.endswith("__pycache__") else member   # of tests run by hand

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for part in PARTS:
            if (task / part).exists():
                tar.add(task / part, part, filter=plain)
    return gzip.compress(out.getvalue(), mtime=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("word", choices=["unpack", "pack"])
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    {"unpack": unpack, "pack": pack}[args.word](args.folder)
