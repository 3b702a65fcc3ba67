"""Let agents attempt tasks, and grade what they did: solve.py."""
