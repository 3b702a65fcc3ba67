"""Make the parts of a task that are the same for each kind: its tests/ with the verifier in it, and
the script that graders of SWE-bench run."""
