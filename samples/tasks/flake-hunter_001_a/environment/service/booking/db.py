from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session, declarative_base, sessionmaker

from .config import get_settings
from .events import bus

Base = declarative_base()

engine = create_engine(
    f"sqlite:///{get_settings().database}", connect_args={"check_same_thread": False}
)
SessionLocal = sessionmaker(bind=engine, expire_on_commit=False)


@event.listens_for(Session, "after_flush")
def collect(session, flush_context):
    for obj in session.new:
        if hasattr(obj, "announcement"):
            session.info.setdefault("announcements", []).append(obj.announcement())


@event.listens_for(Session, "after_commit")
def announce(session):
    for name, payload in session.info.pop("announcements", []):
        bus.publish(name, payload)


@event.listens_for(Session, "after_rollback")
def forget(session):
    session.info.pop("announcements", None)


def get_session():
    with SessionLocal() as session:
        yield session
