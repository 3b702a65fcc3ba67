"""Bookings and turnover of each room: python3 -m booking.report"""
from sqlalchemy import func

from .db import SessionLocal
from .models import Booking, Room


def main():
    with SessionLocal() as session:
        rows = (
            session.query(Room.name, func.count(Booking.id), func.sum(Booking.price))
            .outerjoin(Booking)
            .group_by(Room.id)
            .order_by(Room.name)
        )
        for name, number, price in rows:
            print(f"{name}\t{number}\t{price or 0}")


if __name__ == "__main__":
    main()
