"""Programs that run in a project's container, never on this machine."""
