"""Turn local times of a delivery into UTC."""
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from meterflow.rows import BadRow


class Clock:
    """Hold the clock of one zone, for the rows of one delivery."""

    def __init__(self, zone: str):
        self.zone = ZoneInfo(zone)

    def utc(self, meter: str, text: str) -> datetime:
        """Return the time in UTC of a row of this meter."""
        try:
            local = datetime.strptime(text, "%Y-%m-%d %H:%M")
        except ValueError as error:
            raise BadRow("time") from error
        return local.replace(tzinfo=self.zone).astimezone(timezone.utc)
