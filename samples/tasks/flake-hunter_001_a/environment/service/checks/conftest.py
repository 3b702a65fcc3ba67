import os
import tempfile

folder = tempfile.mkdtemp()
os.environ["BOOKING_DATABASE"] = os.path.join(folder, "bookings.db")
os.environ["BOOKING_AUDIT_LOG"] = os.path.join(folder, "audit.log")
os.environ["BOOKING_OUTBOX"] = os.path.join(folder, "outbox.jsonl")
