"""The image of a task, and what must not be in it."""
