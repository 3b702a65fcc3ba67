"""Make recipes (how to install and test a repository) from its files, without a model."""
