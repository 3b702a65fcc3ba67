"""Run sandboxes in containers of a Docker engine."""
