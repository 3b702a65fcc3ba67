"""Measure how well a task's tests tell right solutions from wrong ones."""
