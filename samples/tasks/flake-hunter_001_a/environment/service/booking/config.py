from functools import lru_cache

from pydantic import BaseSettings


class Settings(BaseSettings):
    database: str = "bookings.db"  # file of the SQLite database
    audit_log: str = "audit.log"  # one line for each thing that happened
    outbox: str = "outbox.jsonl"  # one JSON object for each message to a client
    hourly_rate: int = 2000  # cents
    currency: str = "EUR"  # of bookings that name none
    max_minutes: int = 240  # of one booking
    page_size: int = 20  # bookings on a page, unless the request says otherwise
    quota: int = 100  # bookings that a client may make while the service runs
    reference_seed: int = 1  # makes the references the same in each environment

    class Config:
        env_prefix = "BOOKING_"


@lru_cache
def get_settings() -> Settings:
    return Settings()
