"""Make recipes (how to install and test a repository) from the repository's files, without a
model."""
