"""Print a line for each module of the project that would be imported from outside its source, and
for an installed copy of the project.

    python shadowed.py SOURCE DISTRIBUTION MODULE…

Run it with the tests' interpreter, in a folder other than the source.
"""
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys


def places(module):
    """Return the paths from which the module would be imported."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return []
    if spec is None:
        return []
    if spec.origin and spec.origin not in ("namespace", "built-in", "frozen"):
        return [spec.origin]
    return list(spec.submodule_search_locations or [])


def main():
    """Print a line for each module that would be imported from outside the source, and for an
    installed copy of the project."""
    source, distribution, modules = os.path.realpath(sys.argv[1]), sys.argv[2], sys.argv[3:]

    def inside(path):
        path = os.path.realpath(path)
        parts = path[len(source):].split(os.sep)
        return path.startswith(source + os.sep) and "site-packages" not in parts

    def of_source(path):
        git = ["git", "-c", "safe.directory=*", "-C", source, "ls-files", "--error-unmatch",
               os.path.realpath(path)]
        return os.path.isdir(path) or subprocess.run(git, capture_output=True).returncode == 0

    # find the modules of a project that is not installed
    sys.path += [source, os.path.join(source, "src"), os.path.join(source, "lib")]
    for module in modules:
        found = places(module)
        compiled = any(path.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))
                       for path in found)
        if found and not compiled and not any(map(inside, found)):
            print(f"{module} is imported from {found[0]}")
        elif not compiled and any(inside(path) and not of_source(path) for path in found):
            print(f"{module} is imported from {found[0]}, which the source does not have")
    try:
        installed = importlib.metadata.distribution(distribution) if distribution else None
    except importlib.metadata.PackageNotFoundError:
        installed = None
    if installed is not None and not inside(str(installed.locate_file(""))):
        origin = json.loads(installed.read_text("direct_url.json") or "{}")
        if not origin.get("dir_info", {}).get("editable"):
            place = installed.locate_file("")
            print(f"a copy of {distribution} {installed.version} is installed in {place}")


if __name__ == "__main__":
    main()
