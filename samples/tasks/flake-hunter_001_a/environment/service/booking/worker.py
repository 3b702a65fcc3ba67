"""Writes messages to clients into the outbox, from which another program sends them."""
import json
import queue
import threading

from .config import get_settings
from .events import bus

jobs: queue.Queue = queue.Queue()
thread = None


@bus.on("booking.made")
def tell_client(payload):
    jobs.put({"to": payload["client"], "text": f"{payload['reference']}: {payload['price']}"})


def run():
    with open(get_settings().outbox, "a") as outbox:
        while True:
            job = jobs.get()
            if job is None:
                return
            outbox.write(json.dumps(job) + "\n")
            outbox.flush()


def start():
    global thread
    thread = threading.Thread(target=run, name="outbox")
    thread.start()


def stop():
    jobs.put(None)
    thread.join()
