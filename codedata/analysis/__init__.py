"""Describe repositories: tests and the lines that they run, definitions, calls, and hotspots."""
