"""Guess the dialect of delimited text."""
from .header import looks_like_header
from .sniff import Dialect, SniffError, rows, sniff, split_row

__all__ = ["Dialect", "SniffError", "looks_like_header", "rows", "sniff", "split_row"]
