"""Run a stage: plan, make, write, and report."""
