"""Define the commands of agents on tasks and datapoints, a class for each theme.

Each public method of these classes is a command of `build_dp.py tool`; role_agents.py lists the
ones that agents have as tools. A command that changes a claimed task takes the task's claim, and
renews its lease.
"""
from __future__ import annotations

from collections.abc import Callable

from codedata.datapoints.commands.build import BuildCommands
from codedata.datapoints.commands.ideas import IdeaCommands
from codedata.datapoints.commands.queue import QueueCommands
from codedata.datapoints.commands.review import ReviewCommands


class Commands(QueueCommands, IdeaCommands, BuildCommands, ReviewCommands):
    """Hold all commands on a root."""

    def by_name(self) -> dict[str, Callable]:
        """Return the commands by name, in the order of the source."""
        return {name: getattr(self, name) for theme in Commands.__bases__ for name in vars(theme)
                if name[0] != "_"}
