"""Audit tasks: say how often the verdict on a solution is wrong."""
