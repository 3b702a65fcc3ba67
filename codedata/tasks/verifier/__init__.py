"""Grade a task in a container: only these files and the task's own tests run there. They need the
standard library from Python 3.7 on; weighted tests need pytest, and Python 3.8."""
