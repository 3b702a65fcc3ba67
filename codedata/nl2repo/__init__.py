"""Documents from which a repository can be rebuilt, and patches that strip what they describe."""
