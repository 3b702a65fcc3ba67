"""Hold what all kinds of tasks share: the folder, the image, screening, the proof and the verifier.

Makers of tasks write task/<id>/, and exports read it; docs/tasks.md describes the folder. `python
-m codedata.tasks check FOLDER` lists the faults of a folder.
"""
