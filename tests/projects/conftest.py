"""Keep the tests of the projects out of the tests of codedata."""
collect_ignore_glob = ["*/*"]
