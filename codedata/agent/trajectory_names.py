"""Name and write the files of agents' trajectories."""
import glob
from pathlib import Path

from codedata.bounded import inside
from codedata.disk.layouts import to_json, write_atomic
from codedata.driver import in_driver


@in_driver
def new_trajectory(root: Path, folder: str, name: str) -> Path:
    """Return an unused path for an item's trajectory, in a folder below the root. Raise
    BrokenRecord if a link leads out of the folder."""
    n_before = len([*(root / folder).glob(f"{glob.escape(name)}.*.json")])
    return inside(root / folder, f"{name}.{n_before}.json")


@in_driver
def put_trajectory(path: Path, trajectory: dict) -> None:
    """Write a trajectory's file."""
    write_atomic(path, to_json(trajectory))
