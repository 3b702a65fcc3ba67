"""Name repositories, in env/ and in everything made from it, by one rule."""
import re
from pathlib import Path

ADDRESS = re.compile(r"(?:https?|ssh|git|file)://|[\w.-]+@[\w.-]+:")
HOST = re.compile(r"^(?:file://|\w+://[^/]*/|[^/:]+:)")   # the host of an address
LOCAL = "local"   # the owner in the name of a local folder
# matches `repo` in a row of SWE-smith: swesmith/<owner>__<name>.<8 digits of the commit>
SMITH = re.compile(r"[\w.-]+/(?P<name>[\w.-]+?__[\w.-]+)\.(?P<commit>[0-9a-f]{8})")


def repo_name_of(repo: str, commit: str = "", is_local: bool = False) -> str:
    """Return <owner>__<name>__<8 digits of the commit>; without a commit only <name>, or
    <owner>__<name> if `repo` is owner/name."""
    is_address = bool(ADDRESS.match(repo))
    *above, name = parts_of(str(Path(repo).resolve()) if is_local else repo)
    if not commit:
        return clean_name(name) if is_local or is_address else repo.replace("/", "__")
    is_local = is_local or repo.startswith("file:")
    owner = above[-1] if above and not is_local else LOCAL
    return f"{clean_name(owner)}__{clean_name(name)}__{commit[:8]}"


def upstream_of(repo: str) -> tuple[str, str]:
    """Return (owner/name, 8 digits of the commit) of a repository of SWE-smith, which is a copy of
    another one at that commit; (repo, "") of any other."""
    copy = SMITH.fullmatch(repo)
    return (copy["name"].replace("__", "/", 1), copy["commit"]) if copy else (repo, "")


def parts_of(address: str) -> list[str]:
    """Return the parts of an address after its host."""
    path = re.sub(r"\.git/?\Z|(?<!/)/+\Z", "", address)
    return [part for part in HOST.sub("", path, count=1).split("/") if part] or [path]


def clean_name(text: str) -> str:
    """Return a safe file name: the text with "-" for other characters, or "repository"."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-") or "repository"
