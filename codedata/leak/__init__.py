"""Detect knowledge of the hidden pull request in a turn: facts by program, meaning by a model."""
