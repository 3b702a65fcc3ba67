"""Read the trajectory files of coding agents: one module for each agent or format."""
