import logging

from .config import get_settings
from .events import bus

logger = logging.getLogger("booking.audit")
logger.setLevel(logging.INFO)
logger.propagate = False
logger.addHandler(logging.FileHandler(get_settings().audit_log))


@bus.on("room.added")
def room_added(payload):
    logger.info("room %s %s", payload["room"], payload["name"])


@bus.on("booking.made")
def booking_made(payload):
    logger.info("booking %s %s %s", payload["reference"], payload["client"], payload["price"])


@bus.on("price.changed")
def price_changed(payload):
    logger.info("price %s %s", payload["band"], payload["percent"])
