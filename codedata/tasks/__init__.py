"""Hold the parts that all kinds of tasks share: folder, image, screening, proof and verifier.

Makers of tasks write task/<id>/, and exports read it; docs/tasks.md describes the folder. `python
-m codedata.tasks check FOLDER` lists the faults of a folder.
"""
