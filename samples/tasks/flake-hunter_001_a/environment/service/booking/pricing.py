from functools import lru_cache
from typing import Dict

from .config import get_settings

# percent of the hourly rate, by the time at which a booking starts
BANDS = {
    "night": {"until": 480, "percent": 50},
    "day": {"until": 1080, "percent": 100},
    "evening": {"until": 1440, "percent": 80},
}


class PriceBook:
    def __init__(self, hourly_rate: int, bands: Dict[str, dict] = BANDS):
        self.hourly_rate = hourly_rate
        self.bands = dict(bands)

    def set_percent(self, band: str, percent: int):
        self.bands[band]["percent"] = percent
        quote.cache_clear()

    def percent(self, start: int) -> int:
        return next(b["percent"] for b in self.bands.values() if start < b["until"])


book = PriceBook(get_settings().hourly_rate)


@lru_cache(maxsize=1024)
def quote(start: int, minutes: int) -> int:
    """What a booking costs, in cents, rounded up."""
    return -(-book.hourly_rate * minutes * book.percent(start) // 6000)
