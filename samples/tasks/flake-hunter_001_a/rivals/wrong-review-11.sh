#!/bin/bash
# "all running at once" (the application at work is a global of the process, set by each request)
set -e
# The modules stay as they are; what an application has is found by a global.
cat > booking/current.py <<'PY'
"""The application at work: set around each request, and around start and end."""
import copy
import logging
import queue
import random
from collections import Counter

_current = None


class State:
    def __init__(self, settings):
        from sqlalchemy import create_engine
        from sqlalchemy.orm import sessionmaker

        from .db import BookingSession
        from .pricing import BANDS, PriceBook

        self.settings = settings
        self.engine = create_engine(
            f"sqlite:///{settings.database}", connect_args={"check_same_thread": False}
        )
        self.sessions = sessionmaker(
            bind=self.engine, class_=BookingSession, expire_on_commit=False
        )
        self.names = {}
        self.book = PriceBook(settings.hourly_rate, copy.deepcopy(BANDS))
        self.prices = {}
        self.random = random.Random(settings.reference_seed)
        self.used = Counter()
        self.stats = Counter()
        self.logger = logging.Logger("booking.audit", logging.INFO)
        self.jobs = queue.Queue()
        self.thread = None


def state() -> State:
    return _current


def enter(here: State):
    global _current
    _current = here


class Within:
    def __init__(self, app, state):
        self.app = app
        self.state = state

    async def __call__(self, scope, receive, send):
        enter(self.state)
        await self.app(scope, receive, send)
PY
cat > /tmp/edit.py <<'PY'
import re


def edit(name, *pairs):
    path = f"booking/{name}.py"
    text = open(path).read()
    for old, new in pairs:
        assert old in text, (name, old)
        text = text.replace(old, new)
    open(path, "w").write(text)


settings = ("from .config import get_settings\n", "from .current import state\n")
edit(
    "db",
    settings,
    ("from sqlalchemy import create_engine, event", "from sqlalchemy import event"),
    ("import Session, declarative_base, sessionmaker", "import Session, declarative_base"),
    (
        '''engine = create_engine(
    f"sqlite:///{get_settings().database}", connect_args={"check_same_thread": False}
)
SessionLocal = sessionmaker(bind=engine, expire_on_commit=False)
''',
        '''
class BookingSession(Session):
    pass
''',
    ),
    ("listens_for(Session", "listens_for(BookingSession"),
    ("with SessionLocal() as session", "with state().sessions() as session"),
)
edit("rooms", ("from .models import Room\n", "from .current import state\nfrom .models import Room\n"),
     ("    _names: Dict[int, str] = {}\n\n", ""),
     ("        self.session = session\n", "        self.session = session\n        self._names: Dict[int, str] = state().names\n"))
edit("pricing", settings, ("from functools import lru_cache\n", ""),
     ("        quote.cache_clear()\n", "        state().prices.clear()\n"),
     ("\n\nbook = PriceBook(get_settings().hourly_rate)\n", ""),
     ("@lru_cache(maxsize=1024)\n", ""),
     ("    return -(-book.hourly_rate * minutes * book.percent(start) // 6000)\n",
      '''    prices, book = state().prices, state().book
    if (start, minutes) not in prices:
        if len(prices) >= 1024:
            prices.clear()
        prices[start, minutes] = -(-book.hourly_rate * minutes * book.percent(start) // 6000)
    return prices[start, minutes]
'''))
edit("references", settings, ("import random\n\n", ""), ("random.seed(get_settings().reference_seed)\n\n\n", "\n"),
     ("random.choice", "state().random.choice"))
edit("quota", settings, ("from collections import Counter\n\n", ""), ("used: Counter = Counter()\n\n\n", "\n"),
     ("get_settings().quota", "state().settings.quota"), ("used[", "state().used["))
edit("audit", settings,
     ('''logger = logging.getLogger("booking.audit")
logger.setLevel(logging.INFO)
logger.propagate = False
logger.addHandler(logging.FileHandler(get_settings().audit_log))
''', '''
def start():
    state().logger.addHandler(logging.FileHandler(state().settings.audit_log))


def stop():
    handler = state().logger.handlers.pop()
    handler.close()
'''), ("    logger.info", "    state().logger.info"))
edit("worker", settings, ("import queue\n", ""), ("\njobs: queue.Queue = queue.Queue()\nthread = None\n", ""),
     ("    jobs.put(", "    state().jobs.put("), ("def run():", "def run(path, jobs):"),
     ("open(get_settings().outbox", "open(path"),
     ('''    global thread
    thread = threading.Thread(target=run, name="outbox")
    thread.start()
''', '''    here = state()
    here.thread = threading.Thread(
        target=run, args=(here.settings.outbox, here.jobs), name="outbox"
    )
    here.thread.start()
'''), ("    thread.join()", "    state().thread.join()"))
edit("schemas", settings,
     ("Field(get_settings().currency,", "Field(default_factory=lambda: state().settings.currency,"),
     ("get_settings().max_minutes", "state().settings.max_minutes"))
edit("api", settings, ("from collections import Counter\n\n", ""), ("stats: Counter = Counter()\n", ""),
     ('    stats["book', '    state().stats["book'), ("stats[name]", "state().stats[name]"),
     ("pricing.book", "state().book"), ("Query(get_settings().page_size, ge", "Query(None, ge"),
     ("    query = session.query(Booking)", "    if limit is None:\n        limit = state().settings.page_size\n    query = session.query(Booking)"),
     ("get_settings().currency", "state().settings.currency"))
edit("report", ("from .db import SessionLocal\n", "from .config import get_settings\nfrom .current import State\n"),
     ("with SessionLocal() as", "with State(get_settings()).sessions() as"))
PY
python3 /tmp/edit.py
rm /tmp/edit.py
cat > booking/main.py <<'PY'
from functools import lru_cache

from fastapi import FastAPI

from . import audit, worker
from .api import router
from .config import Settings, get_settings
from .current import State, Within, enter, state
from .db import Base


async def count_requests(request, call_next):
    stats = state().stats
    stats["requests"] += 1
    response = await call_next(request)
    if response.status_code >= 400:
        stats["errors"] += 1
    return response


def startup():
    Base.metadata.create_all(state().engine)
    audit.start()
    worker.start()


def shutdown():
    worker.stop()
    audit.stop()
    state().engine.dispose()


def create_app(settings: Settings) -> FastAPI:
    here = State(settings)

    def enter_it():
        enter(here)

    app = FastAPI(
        title="Bookings", on_startup=[enter_it, startup], on_shutdown=[enter_it, shutdown]
    )
    app.include_router(router)
    app.middleware("http")(count_requests)
    app.add_middleware(Within, state=here)
    return app


@lru_cache
def _environment_app() -> FastAPI:
    return create_app(get_settings())


def __getattr__(name):
    if name == "app":
        return _environment_app()
    raise AttributeError(name)
PY
