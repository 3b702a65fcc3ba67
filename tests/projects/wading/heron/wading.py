"""Herons, and how deep they wade."""
LEG_CM = 40


def wade(depth):
    """Return how a heron wades."""
    return _pace_of(depth) + f", in {depth} cm"


def _pace_of(depth):
    if depth >= LEG_CM:
        raise ValueError(f"too deep: {depth}")
    return "slowly"
