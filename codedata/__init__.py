"""codedata makes training data for coding agents: scripts over directories, and the craft they share."""

__version__ = "0.1.0"
