set -e
cat > booking/events.py <<'PY'
from typing import Callable, Dict, List


class EventBus:
    def __init__(self):
        self.handlers: Dict[str, List[Callable]] = {}

    def on(self, name: str, handler: Callable):
        self.handlers.setdefault(name, []).append(handler)

    def publish(self, name: str, payload: dict):
        for handler in self.handlers.get(name, ()):
            handler(payload)
PY
cat > booking/db.py <<'PY'
from sqlalchemy import create_engine, event
from sqlalchemy.orm import declarative_base, sessionmaker

Base = declarative_base()


class Database:
    """An engine and its sessions, which publish what they have committed."""

    def __init__(self, path: str, publish=lambda name, payload: None):
        self.publish = publish
        self.engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
        # a sessionmaker has a class of sessions of its own: no other session hears these
        self.session = sessionmaker(bind=self.engine, expire_on_commit=False)
        event.listen(self.session, "after_flush", self._collect)
        event.listen(self.session, "after_commit", self._announce)
        event.listen(self.session, "after_rollback", self._forget)

    def create(self):
        Base.metadata.create_all(self.engine)

    def close(self):
        self.engine.dispose()

    def _collect(self, session, flush_context):
        for obj in session.new:
            if hasattr(obj, "announcement"):
                session.info.setdefault("announcements", []).append(obj.announcement())

    def _announce(self, session):
        for name, payload in session.info.pop("announcements", []):
            self.publish(name, payload)

    def _forget(self, session):
        session.info.pop("announcements", None)
PY
cat > booking/rooms.py <<'PY'
from typing import Dict

from fastapi import HTTPException
from sqlalchemy.orm import Session

from .models import Room


class RoomDirectory:
    """Names of rooms by id; they are asked for far more often than they change."""

    def __init__(self, session: Session, names: Dict[int, str]):
        self.session = session
        self._names = names

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
PY
cat > booking/pricing.py <<'PY'
from copy import deepcopy
from functools import lru_cache
from typing import Dict

# percent of the hourly rate, by the time at which a booking starts
BANDS = {
    "night": {"until": 480, "percent": 50},
    "day": {"until": 1080, "percent": 100},
    "evening": {"until": 1440, "percent": 80},
}


class PriceBook:
    def __init__(self, hourly_rate: int, bands: Dict[str, dict] = BANDS):
        self.hourly_rate = hourly_rate
        self.bands = deepcopy(bands)
        self.quote = lru_cache(maxsize=1024)(self._quote)

    def set_percent(self, band: str, percent: int):
        self.bands[band]["percent"] = percent
        self.quote.cache_clear()

    def percent(self, start: int) -> int:
        return next(b["percent"] for b in self.bands.values() if start < b["until"])

    def _quote(self, start: int, minutes: int) -> int:
        """What a booking costs, in cents, rounded up."""
        return -(-self.hourly_rate * minutes * self.percent(start) // 6000)
PY
cat > booking/references.py <<'PY'
import random

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


class References:
    def __init__(self, seed: int):
        self.random = random.Random(seed)

    def next(self) -> str:
        return "BK-" + "".join(self.random.choice(LETTERS) for _ in range(6))
PY
cat > booking/quota.py <<'PY'
from collections import Counter

from fastapi import Header, HTTPException


class Quota:
    def __init__(self, limit: int):
        self.limit = limit
        self.used: Counter = Counter()

    def check(self, x_client: str = Header(...)) -> str:
        if self.used[x_client] >= self.limit:
            raise HTTPException(429, f"{x_client} has made {self.limit} bookings")
        return x_client

    def count(self, client: str):
        self.used[client] += 1
PY
cat > booking/audit.py <<'PY'
import logging


class Audit:
    def __init__(self, path: str, bus):
        self.path = path
        # not from getLogger(), whose loggers belong to the process
        self.logger = logging.Logger("booking.audit", logging.INFO)
        bus.on("room.added", self.room_added)
        bus.on("booking.made", self.booking_made)
        bus.on("price.changed", self.price_changed)

    def start(self):
        self.logger.addHandler(logging.FileHandler(self.path))

    def stop(self):
        for handler in list(self.logger.handlers):
            self.logger.removeHandler(handler)
            handler.close()

    def room_added(self, payload):
        self.logger.info("room %s %s", payload["room"], payload["name"])

    def booking_made(self, payload):
        self.logger.info(
            "booking %s %s %s", payload["reference"], payload["client"], payload["price"]
        )

    def price_changed(self, payload):
        self.logger.info("price %s %s", payload["band"], payload["percent"])
PY
cat > booking/worker.py <<'PY'
"""Writes messages to clients into the outbox, from which another program sends them."""
import json
import queue
import threading


class Worker:
    def __init__(self, path: str, bus):
        self.path = path
        self.jobs: queue.Queue = queue.Queue()
        self.thread = None
        bus.on("booking.made", self.tell_client)

    def tell_client(self, payload):
        self.jobs.put({"to": payload["client"], "text": f"{payload['reference']}: {payload['price']}"})

    def run(self):
        with open(self.path, "a") as outbox:
            while True:
                job = self.jobs.get()
                if job is None:
                    return
                outbox.write(json.dumps(job) + "\n")
                outbox.flush()

    def start(self):
        self.thread = threading.Thread(target=self.run, name="outbox")
        self.thread.start()

    def stop(self):
        self.jobs.put(None)
        self.thread.join()
PY
cat > booking/schemas.py <<'PY'
from pydantic import BaseModel, Field, validator


class RoomIn(BaseModel):
    name: str = Field(..., min_length=1)


class BandIn(BaseModel):
    percent: int = Field(..., ge=0)


def booking_model(settings):
    """The body of a booking; its limits are those of an application."""

    class BookingIn(BaseModel):
        room: int
        start: int = Field(..., ge=0, lt=1440)
        minutes: int = Field(..., gt=0)
        currency: str = Field(settings.currency, min_length=3, max_length=3)

        @validator("minutes", allow_reuse=True)
        def not_too_long(cls, value):
            if value > settings.max_minutes:
                raise ValueError(f"at most {settings.max_minutes} minutes")
            return value

    return BookingIn
PY
cat > booking/service.py <<'PY'
from collections import Counter

from .audit import Audit
from .db import Database
from .events import EventBus
from .pricing import PriceBook
from .quota import Quota
from .references import References
from .worker import Worker


class Service:
    """All that one application has and knows."""

    def __init__(self, settings):
        self.settings = settings
        self.stats: Counter = Counter()
        self.room_names: dict = {}
        self.bus = EventBus()
        self.bus.on("booking.made", self._count_booking)
        self.database = Database(settings.database, self.bus.publish)
        self.prices = PriceBook(settings.hourly_rate)
        self.references = References(settings.reference_seed)
        self.quota = Quota(settings.quota)
        self.audit = Audit(settings.audit_log, self.bus)
        self.worker = Worker(settings.outbox, self.bus)

    def start(self):
        self.database.create()
        self.audit.start()
        self.worker.start()

    def stop(self):
        self.worker.stop()
        self.audit.stop()
        self.database.close()

    def _count_booking(self, payload):
        self.stats["bookings"] += 1
PY
cat > /tmp/edit.py <<'PY'
import re

text = open("booking/api.py").read()
head, rest = text.split("router = APIRouter()\n")
head = '''from fastapi import APIRouter, Depends, HTTPException, Query
from sqlalchemy.orm import Session

from .models import Booking, Room
from .rooms import RoomDirectory
from .schemas import BandIn, RoomIn, booking_model
from .service import Service


'''
show, routes = rest[rest.index("def show("):].split('@router.get("/rooms")', 1)
routes = '@router.get("/rooms")' + routes
for old, new in (
    ("RoomDirectory(session)", "RoomDirectory(session, service.room_names)"),
    ("pricing.quote(", "service.prices.quote("),
    ("pricing.book", "service.prices"),
    ("get_settings()", "service.settings"),
    ("bus.publish", "service.bus.publish"),
    ("quota.check_quota", "service.quota.check"),
    ("quota.count(", "service.quota.count("),
    ("next_reference()", "service.references.next()"),
    ("stats[name]", "service.stats[name]"),
):
    assert old in routes, old
    routes = routes.replace(old, new)
body = '''    router = APIRouter()
    BookingIn = booking_model(service.settings)

    def get_session():
        with service.database.session() as session:
            yield session

''' + "".join("    " + line + "\n" if line else "\n" for line in routes.rstrip().split("\n"))
body = re.sub(r"\n\n\n(?=    @)", "\n\n", body)
open("booking/api.py", "w").write(
    head + show + "def build_router(service: Service) -> APIRouter:\n" + body + "\n    return router\n"
)
PY
python3 /tmp/edit.py
rm /tmp/edit.py
cat > booking/main.py <<'PY'
import threading

from fastapi import FastAPI

from .api import build_router
from .config import Settings, get_settings
from .service import Service

_lock = threading.Lock()


def create_app(settings: Settings) -> FastAPI:
    service = Service(settings)
    app = FastAPI(title="Bookings")
    app.include_router(build_router(service))

    @app.middleware("http")
    async def count_requests(request, call_next):
        service.stats["requests"] += 1
        response = await call_next(request)
        if response.status_code >= 400:
            service.stats["errors"] += 1
        return response

    app.on_event("startup")(service.start)
    app.on_event("shutdown")(service.stop)
    return app


def __getattr__(name):
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _lock:
        if "app" not in globals():
            globals()["app"] = create_app(get_settings())
    return globals()["app"]
PY
cat > booking/report.py <<'PY'
"""Bookings and turnover of each room: python3 -m booking.report"""
from sqlalchemy import func

from .config import get_settings
from .db import Database
from .models import Booking, Room


def main():
    with Database(get_settings().database).session() as session:
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
PY
