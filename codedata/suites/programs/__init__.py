"""Programs that run in a project's container. Only check_history.sh runs on this machine, too: on a
copy of what git may read of a repository."""
