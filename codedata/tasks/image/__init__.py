"""Make the image of a task, and search it for texts that it must not contain."""
