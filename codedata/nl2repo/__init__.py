"""Write documents from which a repository can be rebuilt, and stripped patches that its tests
prove."""
