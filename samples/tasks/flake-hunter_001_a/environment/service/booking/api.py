from collections import Counter

from fastapi import APIRouter, Depends, HTTPException, Query
from sqlalchemy.orm import Session

from . import pricing, quota
from .config import get_settings
from .db import get_session
from .events import bus
from .models import Booking, Room
from .references import next_reference
from .rooms import RoomDirectory
from .schemas import BandIn, BookingIn, RoomIn

router = APIRouter()
stats: Counter = Counter()


@bus.on("booking.made")
def count_booking(payload):
    stats["bookings"] += 1


def show(booking: Booking, directory: RoomDirectory) -> dict:
    return {
        "reference": booking.reference,
        "room": directory.name(booking.room_id),
        "client": booking.client,
        "start": booking.start,
        "minutes": booking.minutes,
        "price": booking.price,
        "currency": booking.currency,
    }


@router.get("/rooms")
def rooms(session: Session = Depends(get_session)):
    return [{"id": room.id, "name": room.name} for room in session.query(Room).order_by(Room.id)]


@router.post("/rooms", status_code=201)
def add_room(body: RoomIn, session: Session = Depends(get_session)):
    room = RoomDirectory(session).add(body.name)
    return {"id": room.id, "name": room.name}


@router.patch("/rooms/{room_id}")
def rename_room(room_id: int, body: RoomIn, session: Session = Depends(get_session)):
    room = RoomDirectory(session).rename(room_id, body.name)
    return {"id": room.id, "name": room.name}


@router.get("/quote")
def get_quote(start: int = Query(..., ge=0, lt=1440), minutes: int = Query(..., gt=0)):
    return {"price": pricing.quote(start, minutes), "currency": get_settings().currency}


@router.put("/bands/{name}")
def change_band(name: str, body: BandIn):
    if name not in pricing.book.bands:
        raise HTTPException(404, f"no band {name}")
    pricing.book.set_percent(name, body.percent)
    bus.publish("price.changed", {"band": name, "percent": body.percent})
    return pricing.book.bands[name]


@router.post("/bookings", status_code=201)
def make_booking(
    body: BookingIn,
    client: str = Depends(quota.check_quota),
    session: Session = Depends(get_session),
):
    directory = RoomDirectory(session)
    directory.name(body.room)
    booking = Booking(
        reference=next_reference(),
        room_id=body.room,
        client=client,
        start=body.start,
        minutes=body.minutes,
        price=pricing.quote(body.start, body.minutes),
        currency=body.currency,
    )
    session.add(booking)
    session.commit()
    quota.count(client)
    return show(booking, directory)


@router.get("/bookings")
def bookings(
    limit: int = Query(get_settings().page_size, ge=1, le=100),
    offset: int = Query(0, ge=0),
    session: Session = Depends(get_session),
):
    query = session.query(Booking).order_by(Booking.id)
    directory = RoomDirectory(session)
    return {
        "total": query.count(),
        "items": [show(booking, directory) for booking in query.offset(offset).limit(limit)],
    }


@router.get("/stats")
def get_stats():
    return {name: stats[name] for name in ("requests", "errors", "bookings")}
