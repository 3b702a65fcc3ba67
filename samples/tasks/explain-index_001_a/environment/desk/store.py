import redis

from . import settings


def connect():
    return redis.Redis.from_url(settings.REDIS_URL, decode_responses=True)
