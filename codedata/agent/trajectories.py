"""Choose the file names of agents' trajectories."""
import glob
from pathlib import Path

from codedata.bounded import inside
from codedata.driver import in_driver


@in_driver
def new_trajectory(root: Path, folder: str, name: str) -> Path:
    """Return an unused path in a folder of the root for an item's next trajectory. Raise
    BrokenRecord if a link leads out of the root."""
    n_before = len([*(root / folder).glob(f"{glob.escape(name)}.*.json")])
    return inside(root, folder, f"{name}.{n_before}.json")
