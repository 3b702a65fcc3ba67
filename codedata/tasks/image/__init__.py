"""Make the image of a task, and find what must not be in it."""
