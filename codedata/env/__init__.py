"""A repository becomes an environment: what it says of itself, scripts made from that, and the proof that they work."""
