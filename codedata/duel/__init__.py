"""Run the duel: agent turns answered blind against answers that know the pull request."""
