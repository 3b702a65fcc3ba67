"""Screen many changes of a project quickly with its own tests."""
