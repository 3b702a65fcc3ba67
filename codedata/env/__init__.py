"""Turn a repository into an environment: read its files, make scripts, verify them."""
