"""Read the files that coding agents leave behind: a module for each agent or format."""
