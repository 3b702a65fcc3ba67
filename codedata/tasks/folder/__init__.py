"""Read, make and check a task's folder."""
