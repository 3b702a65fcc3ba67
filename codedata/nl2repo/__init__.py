"""Write documents from which a repository can be rebuilt, and make patches that strip function
bodies. The repository's tests prove each patch."""
