"""Parse sizes such as 10GB, 5Gi, 300 MB."""
import re

from codedata.errors import Trouble

UNITS = " kmgt"   # each is 1000 or 1024 times the previous one


def bytes_of(size: str) -> int:
    """Return a size in bytes: 10GB and 10G are 10**10, 10GiB and 10Gi are 10 * 2**30, as in
    Kubernetes manifests. Raise Trouble for a text that is not a size."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?))?b?", size.strip().lower())
    if not match:
        raise Trouble("is not a size.", repr(size), "It looks like 10GB or 5Gi.")
    step = 1024 if match[3] else 1000
    return int(float(match[1]) * step ** UNITS.index(match[2] or " "))
