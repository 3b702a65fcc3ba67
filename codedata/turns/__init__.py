"""Run the candidates of turns at the states that the turns' histories lead to: run_turns.py."""
