"""Draw prompts from trajectories, with the records of their pull requests: prompt.py."""
