"""Read an agent's turns: the conversation before them, their calls, their commands."""
