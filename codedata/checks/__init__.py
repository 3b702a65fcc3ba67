"""What is checked by program before anybody trains on it."""
