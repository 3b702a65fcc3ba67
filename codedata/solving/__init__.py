"""Let agents attempt tasks, and grade their work: solve.py."""
