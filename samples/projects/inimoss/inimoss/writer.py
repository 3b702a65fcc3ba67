"""Sections to text."""


def dumps(sections):
    """The INI text of `sections`, one blank line between two sections."""
    blocks = []
    for name, keys in sections.items():
        lines = [f"[{name}]"] if name else []
        for key, value in keys.items():
            lines.append(f"{key} = {value}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"
