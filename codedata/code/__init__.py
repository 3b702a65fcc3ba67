"""Read programs as text: sources and what they define, calls, patches, turns and their commands."""
