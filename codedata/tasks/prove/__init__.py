"""Prove by execution that a task is correct."""
