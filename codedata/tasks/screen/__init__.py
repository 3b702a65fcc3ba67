"""Try many changes against a suite, quickly."""
