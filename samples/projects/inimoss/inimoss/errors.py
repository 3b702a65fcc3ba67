"""What goes wrong while reading."""


class IniError(ValueError):
    """The text is not INI; `line` is the number of the line, from 1."""

    def __init__(self, message, line=None):
        super().__init__(message if line is None else f"line {line}: {message}")
        self.line = line


class InterpolationError(IniError):
    """A ${...} reference that cannot be expanded."""
