"""Five fields together, against dates and times."""
from datetime import datetime, timedelta

from .fields import DAY, HOUR, MINUTE, MONTH, WEEKDAY, CronError, parse_field

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
SEARCH_DAYS = 366 * 8 + 1   # 29 February may be eight years away


class Schedule:
    """A parsed expression. Knows nothing of time zones: moments are taken as they are."""

    def __init__(self, expression):
        self.expression = expression
        parts = ALIASES.get(expression.strip(), expression).split()
        if len(parts) != 5:
            raise CronError(f"expected 5 fields, found {len(parts)}: {expression!r}")
        self.minutes = parse_field(parts[0], MINUTE)
        self.hours = parse_field(parts[1], HOUR)
        self.days = parse_field(parts[2], DAY)
        self.months = parse_field(parts[3], MONTH)
        self.weekdays = parse_field(parts[4], WEEKDAY)

    def __repr__(self):
        return f"Schedule({self.expression!r})"

    def matches(self, moment):
        """Whether the minute of `moment` is one of the schedule's."""
        return (
            moment.minute in self.minutes
            and moment.hour in self.hours
            and self.matches_day(moment)
        )

    def matches_day(self, day):
        """Whether anything can happen on this date."""
        weekday = (day.weekday() + 1) % 7   # cron starts the week on Sunday, Python on Monday
        return (
            day.month in self.months
            and day.day in self.days
            and weekday in self.weekdays
        )

    def next_after(self, moment):
        """The first matching minute later than `moment`."""
        start = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        day = start.replace(hour=0, minute=0)
        for _ in range(SEARCH_DAYS):
            if self.matches_day(day):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        found = day.replace(hour=hour, minute=minute)
                        if found >= start:
                            return found
            day += timedelta(days=1)
        raise CronError(f"{self.expression!r} never matches")

    def upcoming(self, moment, count):
        """The next `count` matching minutes, as a list."""
        found = []
        for _ in range(count):
            moment = self.next_after(moment)
            found.append(moment)
        return found


def parse_moment(text):
    """A datetime from ISO text, seconds optional."""
    return datetime.fromisoformat(text)
