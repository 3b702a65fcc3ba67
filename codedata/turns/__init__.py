"""Run the candidates of turns at the states that their histories lead to: run_turns.py."""
