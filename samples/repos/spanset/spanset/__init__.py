"""Sets of half-open integer spans: [start, end) pairs that never touch or overlap."""
from spanset.spans import SpanSet

__all__ = ["SpanSet"]
