set -e
# One class per application: a FastAPI whose endpoints are its methods.
cat > booking/bookings.py <<'PY'
import itertools
import json
import queue
import random
import threading

from fastapi import Body, Depends, FastAPI, Header, HTTPException, Query
from pydantic import Field, create_model, validator
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from .models import Base, Booking, Room
from .schemas import BandIn, RoomIn

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


class Bookings(FastAPI):
    def __init__(self, settings):
        super().__init__(title="Bookings")
        self.settings = settings
        self.engine = create_engine(
            f"sqlite:///{settings.database}", connect_args={"check_same_thread": False}
        )
        self.bands = [["night", 480, 50], ["day", 1080, 100], ["evening", 1440, 80]]
        self.letters = random.Random(settings.reference_seed)
        self.made = {}
        self.counts = {"requests": 0, "errors": 0, "bookings": 0}
        self.log = None
        self.outbox = queue.SimpleQueue()
        self.router.add_event_handler("startup", self.begin)
        self.router.add_event_handler("shutdown", self.end)
        self.middleware("http")(self.count)
        self._add_routes()

    # life

    def begin(self):
        Base.metadata.create_all(self.engine)
        self.log = open(self.settings.audit_log, "a", buffering=1)
        self.writer = threading.Thread(target=self.write_outbox, name="outbox")
        self.writer.start()

    def end(self):
        self.outbox.put(None)
        self.writer.join()
        self.log.close()
        self.engine.dispose()

    def write_outbox(self):
        with open(self.settings.outbox, "a", buffering=1) as file:
            for job in iter(self.outbox.get, None):
                file.write(json.dumps(job) + "\n")

    async def count(self, request, call_next):
        self.counts["requests"] += 1
        response = await call_next(request)
        self.counts["errors"] += response.status_code >= 400
        return response

    # tools

    def session(self):
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    def client(self, x_client: str = Header(...)):
        if self.made.get(x_client, 0) >= self.settings.quota:
            raise HTTPException(429, f"{x_client} has made {self.settings.quota} bookings")
        return x_client

    def room(self, session, number):
        room = session.get(Room, number)
        if room is None:
            raise HTTPException(404, f"no room {number}")
        return room

    def price(self, start, minutes):
        percent = next(p for _, until, p in self.bands if start < until)
        return -(-self.settings.hourly_rate * minutes * percent // 6000)

    # endpoints

    def _add_routes(self):
        settings = self.settings

        def not_too_long(cls, value):
            if value > settings.max_minutes:
                raise ValueError(f"at most {settings.max_minutes} minutes")
            return value

        BookingIn = create_model(
            "BookingIn",
            __validators__={"long": validator("minutes", allow_reuse=True)(not_too_long)},
            room=(int, ...),
            start=(int, Field(..., ge=0, lt=1440)),
            minutes=(int, Field(..., gt=0)),
            currency=(str, Field(settings.currency, min_length=3, max_length=3)),
        )

        @self.get("/rooms")
        def rooms(session: Session = Depends(self.session)):
            return [{"id": r.id, "name": r.name} for r in session.query(Room).order_by(Room.id)]

        @self.post("/rooms", status_code=201)
        def add_room(body: RoomIn, session: Session = Depends(self.session)):
            if session.query(Room).filter_by(name=body.name).first():
                raise HTTPException(409, f"there is a room {body.name}")
            room = Room(name=body.name)
            session.add(room)
            session.commit()
            self.log.write(f"room {room.id} {room.name}\n")
            return {"id": room.id, "name": room.name}

        @self.patch("/rooms/{room_id}")
        def rename_room(room_id: int, body: RoomIn, session: Session = Depends(self.session)):
            room = self.room(session, room_id)
            room.name = body.name
            session.commit()
            return {"id": room.id, "name": room.name}

        @self.get("/quote")
        def quote(start: int = Query(..., ge=0, lt=1440), minutes: int = Query(..., gt=0)):
            return {"price": self.price(start, minutes), "currency": settings.currency}

        @self.put("/bands/{name}")
        def change_band(name: str, body: BandIn):
            for band in self.bands:
                if band[0] == name:
                    band[2] = body.percent
                    self.log.write(f"price {name} {body.percent}\n")
                    return {"until": band[1], "percent": band[2]}
            raise HTTPException(404, f"no band {name}")

        @self.post("/bookings", status_code=201)
        def book(
            body: BookingIn = Body(...),
            client: str = Depends(self.client),
            session: Session = Depends(self.session),
        ):
            room = self.room(session, body.room)
            booking = Booking(
                reference="BK-" + "".join(self.letters.choice(LETTERS) for _ in range(6)),
                room_id=room.id,
                client=client,
                start=body.start,
                minutes=body.minutes,
                price=self.price(body.start, body.minutes),
                currency=body.currency,
            )
            session.add(booking)
            session.commit()
            self.made[client] = self.made.get(client, 0) + 1
            self.counts["bookings"] += 1
            price = f"{booking.price / 100:.2f} {booking.currency}"
            self.log.write(f"booking {booking.reference} {client} {price}\n")
            self.outbox.put({"to": client, "text": f"{booking.reference}: {price}"})
            return self.show(booking, room.name)

        @self.get("/bookings")
        def bookings(
            limit: int = Query(settings.page_size, ge=1, le=100),
            offset: int = Query(0, ge=0),
            session: Session = Depends(self.session),
        ):
            found = session.query(Booking, Room.name).join(Room).order_by(Booking.id)
            return {
                "total": found.count(),
                "items": list(itertools.starmap(self.show, found.offset(offset).limit(limit))),
            }

        @self.get("/stats")
        def stats():
            return self.counts

    def show(self, booking, room):
        return {
            "reference": booking.reference,
            "room": room,
            "client": booking.client,
            "start": booking.start,
            "minutes": booking.minutes,
            "price": booking.price,
            "currency": booking.currency,
        }
PY
cat > booking/schemas.py <<'PY'
from pydantic import BaseModel, Field


class RoomIn(BaseModel):
    name: str = Field(..., min_length=1)


class BandIn(BaseModel):
    percent: int = Field(..., ge=0)
PY
cat > /tmp/edit.py <<'PY'
text = open("booking/models.py").read()
text = text.replace("from .db import Base\n", "from sqlalchemy.orm import declarative_base\n\nBase = declarative_base()\n")
text = text.replace("String\n\nfrom sqlalchemy.orm", "String\nfrom sqlalchemy.orm")
open("booking/models.py", "w").write(text)
text = open("booking/report.py").read()
text = text.replace("from sqlalchemy import func\n", "from sqlalchemy import create_engine, func\nfrom sqlalchemy.orm import Session\n")
text = text.replace("from .db import SessionLocal\n", "from .config import get_settings\n")
text = text.replace("SessionLocal()", 'Session(create_engine(f"sqlite:///{get_settings().database}"))')
open("booking/report.py", "w").write(text)
PY
python3 /tmp/edit.py
rm /tmp/edit.py booking/audit.py booking/worker.py booking/events.py booking/db.py booking/api.py booking/quota.py
rm booking/rooms.py booking/pricing.py booking/references.py
cat > booking/main.py <<'PY'
import sys
import types

from .bookings import Bookings
from .config import Settings, get_settings


def create_app(settings: Settings) -> Bookings:
    return Bookings(settings)


class _Module(types.ModuleType):
    @property
    def app(self):
        if "_app" not in self.__dict__:
            self._app = create_app(get_settings())
        return self._app


sys.modules[__name__].__class__ = _Module
PY
