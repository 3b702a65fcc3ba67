"""Build terminal tasks that are proven solvable and hard to cheat; hand out the work on them."""
