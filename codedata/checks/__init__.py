"""Check training data by program: duplicates, contamination, secrets and injections."""
