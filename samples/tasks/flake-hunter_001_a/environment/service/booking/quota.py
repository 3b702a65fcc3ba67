from collections import Counter

from fastapi import Header, HTTPException

from .config import get_settings

used: Counter = Counter()


def check_quota(x_client: str = Header(...)) -> str:
    limit = get_settings().quota
    if used[x_client] >= limit:
        raise HTTPException(429, f"{x_client} has made {limit} bookings")
    return x_client


def count(client: str):
    used[client] += 1
