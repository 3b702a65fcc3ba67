"""Split and check the fields that the rows of all suppliers have in common."""


class BadRow(ValueError):
    """Say why a row cannot be used: columns, time or value."""


def columns(line: str, separator: str) -> list[str]:
    """Return the three columns of a row."""
    fields = line.split(separator)
    if len(fields) != 3:
        raise BadRow("columns")
    return fields
