"""Run a script in a process of its own, in which an audit hook sees what is opened and changed.

    done = run_watched(root, REPO / "prompt.py", "--root", root)
    assert outside(done) == []                    # nothing outside of the root
"""
import os
import runpy
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).parents[1]
NAMES = ["../x", "../../../victim", "/", "linked", "round", "a\0b", "x" * 300, "\ud800", ""]
WATCHED = """open shutil.rmtree shutil.copytree os.remove os.rename os.rmdir os.mkdir os.symlink
    os.link os.chmod os.utime os.listdir os.scandir os.truncate"""
OF_PYTHON = (sys.prefix, sys.base_prefix, os.path.realpath(sys.prefix), str(REPO), "/usr/lib/",
             "/proc/", "/dev/", "/etc/localtime", "/etc/ssl/")


def run_watched(root: Path, script: Path | str, *argv) -> subprocess.CompletedProcess:
    """Run a script in `root`, with nothing of this process's environment."""
    places = os.pathsep.join(map(str, (Path(script).parent, REPO / "tests", REPO)))
    command = [sys.executable, "-B", __file__, root, script, *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env={
        "HOME": str(root), "TMPDIR": str(root), "PYTHONPATH": places, "PATH": os.environ["PATH"]})


def outside(done: subprocess.CompletedProcess) -> list[str]:
    return [line for line in done.stdout.splitlines() if line.startswith("OUTSIDE")]


def watch(root: Path) -> None:
    """Print what this process opens or changes outside of a root."""
    def hook(event: str, args: tuple) -> None:
        if event not in WATCHED.split() or not isinstance(args[0], (str, bytes, os.PathLike)):
            return
        paths = args[:2] if event in ("os.rename", "os.link", "shutil.copytree") else args[:1]
        for path in map(os.fsdecode, paths):
            real = os.path.realpath(path)
            is_read = event in ("os.listdir", "os.scandir") or (
                event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            is_of_python = is_read and real.startswith(OF_PYTHON) and not real.endswith("/environ")
            if not (real.startswith(f"{root}/") or real == str(root) or is_of_python):
                print("OUTSIDE", event, path, flush=True)
    os.chdir(root)
    sys.addaudithook(hook)


if __name__ == "__main__":
    watch(Path(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
