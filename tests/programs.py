"""Write programs that stand in for others, and run one to its end."""
import subprocess
from pathlib import Path

from root import write_files


def write_programs(folder: Path, programs: dict[str, str]) -> None:
    """Write executable files by their paths in a folder."""
    write_files(folder, programs)
    for name in programs:
        (folder / name).chmod(0o755)


def run_program(*command, **kwargs) -> subprocess.CompletedProcess:
    """Run a program for at most a minute; return its exit code with what it printed."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **kwargs)
