"""Recipes: how a repository is installed and tested, found in its files without a model."""
