"""Prompts drawn out of trajectories, with the records of their pull requests: prompt.py."""
