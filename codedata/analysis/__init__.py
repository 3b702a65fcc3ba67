"""Describe repositories: what tests ran, definitions, who calls whom, which functions matter."""
