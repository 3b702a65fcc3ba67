"""Parse sources and their definitions, calls, patches, and agents' turns with their commands."""
