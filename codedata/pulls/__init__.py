"""Make tasks from real pull requests: pr_tasks.py."""
