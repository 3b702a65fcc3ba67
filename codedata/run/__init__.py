"""The run loop of every stage: plan, make, write, and what is said of it."""
