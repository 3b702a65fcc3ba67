from sqlalchemy import Column, ForeignKey, Integer, String

from .db import Base


class Room(Base):
    __tablename__ = "rooms"

    id = Column(Integer, primary_key=True)
    name = Column(String, unique=True, nullable=False)

    def announcement(self):
        return "room.added", {"room": self.id, "name": self.name}


class Booking(Base):
    __tablename__ = "bookings"

    id = Column(Integer, primary_key=True)
    reference = Column(String, nullable=False)
    room_id = Column(ForeignKey("rooms.id"), nullable=False)
    client = Column(String, nullable=False)
    start = Column(Integer, nullable=False)  # minutes after midnight
    minutes = Column(Integer, nullable=False)
    price = Column(Integer, nullable=False)  # cents
    currency = Column(String, nullable=False)

    def announcement(self):
        return "booking.made", {
            "reference": self.reference,
            "client": self.client,
            "price": f"{self.price / 100:.2f} {self.currency}",
        }
