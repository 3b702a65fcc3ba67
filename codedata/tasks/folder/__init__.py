"""A task as a folder."""
