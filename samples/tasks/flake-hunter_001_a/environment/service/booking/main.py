from fastapi import FastAPI

from . import audit, worker  # noqa: F401
from .api import router, stats
from .db import Base, engine

app = FastAPI(title="Bookings")
app.include_router(router)


@app.middleware("http")
async def count_requests(request, call_next):
    stats["requests"] += 1
    response = await call_next(request)
    if response.status_code >= 400:
        stats["errors"] += 1
    return response


@app.on_event("startup")
def startup():
    Base.metadata.create_all(engine)
    worker.start()


@app.on_event("shutdown")
def shutdown():
    worker.stop()
