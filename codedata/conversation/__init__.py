"""An agent's turn: the conversation before it, its calls, its commands."""
