"""Describe repositories: what tests ran, definitions, calls, and the functions that matter most."""
