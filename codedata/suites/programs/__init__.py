"""Hold the programs that run in a project's container. check_history.sh also runs on this machine,
on a copy of the repository without settings and hooks."""
