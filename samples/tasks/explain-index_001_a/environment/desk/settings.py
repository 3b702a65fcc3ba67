import os

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
PORT = int(os.environ.get("PORT", "8080"))

STATES = ("open", "pending", "closed")
LISTED = ("open", "pending")
CLOSED_TTL = 30 * 24 * 3600
PAGE = 50
MAX_PAGE = 200
