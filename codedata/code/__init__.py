"""Parse what belongs to code: the results of its tests, and patches."""
