"""Open projects in sandboxes, run their test suites, and read the results."""
