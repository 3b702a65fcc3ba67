"""Hold what all kinds of tasks share: the folder, and the one verifier.

Makers of tasks end in task/<id>/, exports begin there; docs/tasks.md has the folder. `python -m
codedata.tasks check FOLDER` says what is wrong with one.
"""
