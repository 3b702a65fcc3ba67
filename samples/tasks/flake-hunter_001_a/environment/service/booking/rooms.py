from typing import Dict

from fastapi import HTTPException
from sqlalchemy.orm import Session

from .models import Room


class RoomDirectory:
    """Names of rooms by id; they are asked for far more often than they change."""

    _names: Dict[int, str] = {}

    def __init__(self, session: Session):
        self.session = session

    def name(self, room_id: int) -> str:
        if room_id not in self._names:
            room = self.session.get(Room, room_id)
            if room is None:
                raise HTTPException(404, f"no room {room_id}")
            self._names[room_id] = room.name
        return self._names[room_id]

    def add(self, name: str) -> Room:
        if self.session.query(Room).filter_by(name=name).first():
            raise HTTPException(409, f"there is a room {name}")
        room = Room(name=name)
        self.session.add(room)
        self.session.commit()
        self._names[room.id] = name
        return room

    def rename(self, room_id: int, name: str) -> Room:
        self.name(room_id)
        room = self.session.get(Room, room_id)
        room.name = name
        self.session.commit()
        self._names[room_id] = name
        return room
