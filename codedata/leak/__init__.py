"""Find what a turn knows of the hidden pull request: facts by program, meaning by a model."""
