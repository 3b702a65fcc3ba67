"""Counting bits in bytes."""
from bitloom._bits import popcount


def distance(a: bytes, b: bytes) -> int:
    """The number of bits in which two strings of one length differ."""
    if len(a) != len(b):
        raise ValueError("of different length")
    return popcount(bytes(x ^ y for x, y in zip(a, b)))


__all__ = ["distance", "popcount"]
