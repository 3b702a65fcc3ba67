"""Parse sizes as people write them: 10GB, 5Gi, 300 MB."""
from __future__ import annotations

import re

from codedata.errors import Trouble

UNITS = {"": 1, **{unit: 1000 ** n for n, unit in enumerate("kmgt", 1)},
         **{unit + "i": 1024 ** n for n, unit in enumerate("kmgt", 1)}}


def bytes_of(size: str) -> int:
    """Return a size in bytes: 10GB and 10G are 10**10, 10GiB and 10Gi are 10 * 2**30, as in
    Kubernetes manifests. Raise Trouble for a text that is no size."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", str(size).strip().lower())
    if not match or match[2] not in UNITS:
        raise Trouble("is no size.", repr(size), "It looks like 10GB or 5Gi.")
    return int(float(match[1]) * UNITS[match[2]])
