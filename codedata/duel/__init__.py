"""The duel: sampled agent turns, answered blind and answered knowing the pull request."""
