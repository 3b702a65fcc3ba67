#!/bin/bash
# "each booking is then still audited and told to its client once" (an application that starts again registers its handlers again)
set -e
cd /app
cat > booking/events.py <<'END'
from typing import Callable, Dict, List


class EventBus:
    def __init__(self):
        self.handlers: Dict[str, List[Callable]] = {}

    def on(self, name: str):
        def register(handler):
            self.handlers.setdefault(name, []).append(handler)
            return handler

        return register

    def publish(self, name: str, payload: dict):
        for handler in self.handlers.get(name, ()):
            handler(payload)
END
cat > booking/db.py <<'END'
from sqlalchemy import create_engine, event
from sqlalchemy.orm import declarative_base, sessionmaker

Base = declarative_base()


class Database:
    """The database of one application, which tells its bus what has been added."""

    def __init__(self, path: str, bus=None):
        self.engine = create_engine(
            f"sqlite:///{path}", connect_args={"check_same_thread": False}
        )
        self.session = sessionmaker(bind=self.engine, expire_on_commit=False)
        if bus is not None:
            self._announce_to(bus)

    def _announce_to(self, bus):
        @event.listens_for(self.session, "after_flush")
        def collect(session, flush_context):
            for obj in session.new:
                if hasattr(obj, "announcement"):
                    session.info.setdefault("announcements", []).append(obj.announcement())

        @event.listens_for(self.session, "after_commit")
        def announce(session):
            for name, payload in session.info.pop("announcements", []):
                bus.publish(name, payload)

        @event.listens_for(self.session, "after_rollback")
        def forget(session):
            session.info.pop("announcements", None)

    def start(self):
        Base.metadata.create_all(self.engine)

    def stop(self):
        self.engine.dispose()
END
cat > booking/audit.py <<'END'
import logging


class Audit:
    """One line for each thing that happened."""

    def __init__(self, path: str, bus):
        self.path = path
        self.handler = None
        # one of its own, which the logging module does not keep
        self.logger = logging.Logger("booking.audit", logging.INFO)
        self.logger.propagate = False
        self.bus = bus

    def start(self):
        self.bus.on("room.added")(self.room_added)
        self.bus.on("booking.made")(self.booking_made)
        self.bus.on("price.changed")(self.price_changed)
        self.handler = logging.FileHandler(self.path)
        self.logger.addHandler(self.handler)

    def stop(self):
        if self.handler is not None:
            self.logger.removeHandler(self.handler)
            self.handler.close()
            self.handler = None

    def room_added(self, payload):
        self.logger.info("room %s %s", payload["room"], payload["name"])

    def booking_made(self, payload):
        self.logger.info(
            "booking %s %s %s", payload["reference"], payload["client"], payload["price"]
        )

    def price_changed(self, payload):
        self.logger.info("price %s %s", payload["band"], payload["percent"])
END
cat > booking/worker.py <<'END'
"""Writes messages to clients into the outbox, from which another program sends them."""
import json
import queue
import threading


class Worker:
    def __init__(self, path: str, bus):
        self.path = path
        self.jobs: queue.Queue = queue.Queue()
        self.thread = None
        bus.on("booking.made")(self.tell_client)

    def tell_client(self, payload):
        self.jobs.put(
            {"to": payload["client"], "text": f"{payload['reference']}: {payload['price']}"}
        )

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
        if self.thread is not None:
            self.jobs.put(None)
            self.thread.join()
            self.thread = None
END
cat > booking/pricing.py <<'END'
from typing import Dict, Tuple

# percent of the hourly rate, by the time at which a booking starts
BANDS = {
    "night": {"until": 480, "percent": 50},
    "day": {"until": 1080, "percent": 100},
    "evening": {"until": 1440, "percent": 80},
}


class PriceBook:
    def __init__(self, hourly_rate: int, bands: Dict[str, dict] = BANDS):
        self.hourly_rate = hourly_rate
        self.bands = {name: dict(band) for name, band in bands.items()}
        self.quotes: Dict[Tuple[int, int], int] = {}

    def set_percent(self, band: str, percent: int):
        self.bands[band]["percent"] = percent

    def percent(self, start: int) -> int:
        return next(b["percent"] for b in self.bands.values() if start < b["until"])

    def quote(self, start: int, minutes: int) -> int:
        """What a booking costs, in cents, rounded up."""
        return -(-self.hourly_rate * minutes * self.percent(start) // 6000)
END
sed -i '/self.quotes/d; s/from typing import Dict, Tuple/from typing import Dict/' booking/pricing.py
cat > booking/quota.py <<'END'
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
END
cat > booking/references.py <<'END'
import random

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


class References:
    def __init__(self, seed: int):
        self.random = random.Random(seed)

    def next(self) -> str:
        return "BK-" + "".join(self.random.choice(LETTERS) for _ in range(6))
END
python3 - <<'END'
import re


def edit(path, *pairs):
    text = open(path).read()
    for old, new in pairs:
        assert text.count(old) >= 1, (path, old)
        text = text.replace(old, new)
    open(path, "w").write(text)


edit("booking/rooms.py",
     ("    _names: Dict[int, str] = {}\n\n    def __init__(self, session: Session):\n        self.session = session\n",
      "    def __init__(self, session: Session, names: Dict[int, str]):\n        self.session = session\n        self._names = names\n"))
edit("booking/schemas.py",
     ("\nfrom .config import get_settings\n", "\nfrom .config import Settings\n"),
     ("class BookingIn(BaseModel):\n", "def booking_in(settings: Settings):\n    \"\"\"What a booking is asked for with, under these settings.\"\"\"\n\n    class BookingIn(BaseModel):\n"))
text = open("booking/schemas.py").read()
head, tail = text.split("    class BookingIn(BaseModel):\n")
tail = "".join("    " + line if line.strip() else line for line in tail.splitlines(True)).replace("get_settings()", "settings")
tail = tail.replace('@validator("minutes")', '@validator("minutes", allow_reuse=True)')
open("booking/schemas.py", "w").write(head + "    class BookingIn(BaseModel):\n" + tail + "\n    return BookingIn\n")

text = open("booking/api.py").read()
start = text.index("def show(")
head = '''from collections import Counter

from fastapi import APIRouter, Depends, HTTPException, Query
from sqlalchemy.orm import Session

from .config import Settings
from .db import Database
from .events import EventBus
from .models import Booking, Room
from .pricing import PriceBook
from .quota import Quota
from .references import References
from .rooms import RoomDirectory
from .schemas import BandIn, RoomIn, booking_in


'''
show, routes = text[start:].split('@router.get("/rooms")', 1)
routes = '@router.get("/rooms")' + routes
for old, new in (("RoomDirectory(session)", "RoomDirectory(session, names)"), ("pricing.book", "book"), ("pricing.quote", "book.quote"),
                 ("get_settings()", "settings"), ("quota.check_quota", "quota.check"), ("next_reference()", "references.next()")):
    assert old in routes, old
    routes = routes.replace(old, new)
body = '''    router = APIRouter()
    book = PriceBook(settings.hourly_rate)
    quota = Quota(settings.quota)
    references = References(settings.reference_seed)
    names: dict = {}
    BookingIn = booking_in(settings)

    def get_session():
        with database.session() as session:
            yield session

    @bus.on("booking.made")
    def count_booking(payload):
        stats["bookings"] += 1

'''
routes = "".join("    " + line if line.strip() else line for line in re.sub(r"\n\n\n", "\n\n", routes).splitlines(True))
open("booking/api.py", "w").write(
    head + show + "def make_router(settings: Settings, database: Database, bus: EventBus, stats: Counter) -> APIRouter:\n"
    + body + routes.rstrip() + "\n\n    return router\n")
open("booking/main.py", "w").write('''from collections import Counter
from threading import Lock

from fastapi import FastAPI

from . import models  # noqa: F401
from .api import make_router
from .audit import Audit
from .config import Settings, get_settings
from .db import Database
from .events import EventBus
from .worker import Worker

_lock = Lock()


def create_app(settings: Settings) -> FastAPI:
    """An application that shares nothing with others."""
    bus = EventBus()
    stats: Counter = Counter()
    database = Database(settings.database, bus)
    audit = Audit(settings.audit_log, bus)
    worker = Worker(settings.outbox, bus)

    app = FastAPI(title="Bookings")
    app.include_router(make_router(settings, database, bus, stats))

    @app.middleware("http")
    async def count_requests(request, call_next):
        stats["requests"] += 1
        response = await call_next(request)
        if response.status_code >= 400:
            stats["errors"] += 1
        return response

    @app.on_event("startup")
    def startup():
        database.start()
        audit.start()
        worker.start()

    @app.on_event("shutdown")
    def shutdown():
        worker.stop()
        audit.stop()
        database.stop()

    return app


def __getattr__(name):
    # uvicorn booking.main:app
    if name == "app":
        with _lock:
            if "app" not in globals():
                globals()["app"] = create_app(get_settings())
            return globals()["app"]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
''')
edit("booking/report.py", ("from .db import SessionLocal\n", "from .config import get_settings\nfrom .db import Database\n"),
     ("with SessionLocal() as session", "with Database(get_settings().database).session() as session"))
END
