"""Audit tasks: measure how often the verdict on a solution is wrong."""
