"""Write the report of a duel, and its turns by bucket: report.py."""
