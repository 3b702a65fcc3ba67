"""Grade a task in a container: only these files run there, next to the task's own tests. They need
the standard library from Python 3.7 on; weighted tests need pytest, and Python 3.8."""
