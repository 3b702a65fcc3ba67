"""Grade a task in a container: these files alone run there, beside the task's own tests. They need
the standard library from Python 3.7 on; weighted tests need pytest, and Python 3.8."""
