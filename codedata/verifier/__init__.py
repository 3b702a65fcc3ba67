"""Grade a task in a container, where only these files and the task's own tests run. They need only
the standard library of Python 3.7 or later; weighted tests need pytest and Python 3.8."""
