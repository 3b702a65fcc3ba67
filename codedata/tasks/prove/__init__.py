"""Prove by runs that a task is right."""
