"""Images: how they are built, and where they go."""
