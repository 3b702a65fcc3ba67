from pydantic import BaseModel, Field, validator

from .config import get_settings


class RoomIn(BaseModel):
    name: str = Field(..., min_length=1)


class BandIn(BaseModel):
    percent: int = Field(..., ge=0)


class BookingIn(BaseModel):
    room: int
    start: int = Field(..., ge=0, lt=1440)
    minutes: int = Field(..., gt=0)
    currency: str = Field(get_settings().currency, min_length=3, max_length=3)

    @validator("minutes")
    def not_too_long(cls, value):
        limit = get_settings().max_minutes
        if value > limit:
            raise ValueError(f"at most {limit} minutes")
        return value
