"""${key} and ${section:key} inside values."""
import re

from .errors import InterpolationError

REFERENCE = re.compile(r"\$\{(?:(?P<section>[^:}]*):)?(?P<key>[^}]+)\}")


def expand(sections):
    """A copy of `sections` with every reference replaced by the value it names."""
    return {
        name: {key: resolve(sections, name, key) for key in keys}
        for name, keys in sections.items()
    }


def resolve(sections, section, key):
    """The expanded value of one key; references may lead to further references."""
    try:
        text = sections[section][key]
    except KeyError:
        raise InterpolationError(f"no value for {section}:{key}") from None

    def replace(match):
        target = section if match["section"] is None else match["section"]
        return resolve(sections, target, match["key"])

    return REFERENCE.sub(replace, text)
