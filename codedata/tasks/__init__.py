"""Hold what all kinds of tasks share: the folder, and the one verifier.

Makers of tasks write task/<id>/, and exports read it; docs/tasks.md describes the folder. `python
-m codedata.tasks check FOLDER` lists the faults of a folder.
"""
