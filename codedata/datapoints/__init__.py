"""Build terminal tasks that are proven solvable and hard to cheat, and hand out the work on
them."""
