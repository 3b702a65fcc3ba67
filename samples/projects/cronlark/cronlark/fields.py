"""One field of a cron expression: from text to the set of numbers it allows."""
from dataclasses import dataclass, field


class CronError(ValueError):
    """The expression cannot be understood; the message names the field."""


@dataclass(frozen=True)
class Spec:
    """A field: its name in messages, its bounds, and the words it knows."""
    name: str
    low: int
    high: int
    words: dict = field(default_factory=dict)


MONTH_WORDS = {word: number for number, word in enumerate(
    "jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
DAY_WORDS = {word: number for number, word in enumerate(
    "sun mon tue wed thu fri sat".split())}

MINUTE = Spec("minute", 0, 59)
HOUR = Spec("hour", 0, 23)
DAY = Spec("day of month", 1, 31)
MONTH = Spec("month", 1, 12, MONTH_WORDS)
WEEKDAY = Spec("day of week", 0, 6, DAY_WORDS)


def parse_field(text, spec):
    """The allowed numbers of a field, from a comma-separated list of parts."""
    allowed = set()
    for part in text.split(","):
        allowed |= parse_part(part, spec)
    return frozenset(allowed)


def parse_part(part, spec):
    """`*`, a number, a word or a range, each with or without a step."""
    body, slash, step_text = part.partition("/")
    step = to_int(step_text, spec) if slash else 1
    if body == "*":
        first, last = spec.low, spec.high
    elif "-" in body:
        first, last = (to_value(end, spec) for end in body.split("-", 1))
    else:
        first = last = to_value(body, spec)
    if first > last:
        raise CronError(f"{spec.name}: the range {body} runs backwards")
    return set(range(first, last + 1, step))


def to_value(text, spec):
    """A number within the bounds of the field, given as digits or as a word."""
    number = spec.words.get(text.lower())
    if number is None:
        number = to_int(text, spec)
    if not spec.low <= number <= spec.high:
        raise CronError(f"{spec.name}: {number} is not in {spec.low}-{spec.high}")
    return number


def to_int(text, spec):
    if not text.isdigit():
        raise CronError(f"{spec.name}: {text!r} is not a number")
    return int(text)
