"""Audit tasks: measure how often a task's grader is wrong."""
