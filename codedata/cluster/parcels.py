"""Pack objects that a driver and its workers exchange, without keys.

An object that stays in the driver arrives as a Remote, an event as the receiving process's `stop`.
Locks are new, caches are empty.
"""
from __future__ import annotations

import io
import pickle
import sys
import threading
from functools import lru_cache, partial
from pathlib import Path

from ray.cloudpickle import CloudPickler

from codedata.disk.layouts import without_paths
from codedata.driver import StaysInDriver, hold
from codedata.settings import ApiKey, Endpoint

LOCKS = {type(make()): make for make in (threading.Lock, threading.RLock)}
CACHE = type(lru_cache(lambda: None))
stop = threading.Event()   # ends waiting in this process, if it is a worker


class _Packer(CloudPickler):
    def reducer_override(self, obj):
        if isinstance(obj, StaysInDriver):
            return hold(obj)
        if type(obj) in LOCKS:
            return LOCKS[type(obj)], ()
        if type(obj) is threading.Event:
            return _stop, ()
        if isinstance(obj, CACHE) and not _is_global(obj):
            return _cached, (obj.cache_parameters()["maxsize"], obj.__wrapped__)
        if isinstance(obj, ApiKey):
            return ApiKey, ("",)
        if isinstance(obj, Endpoint):   # a header may hold a key, too
            return partial(Endpoint, **vars(obj) | {"api_key": ApiKey(""), "headers": {}}), ()
        if getattr(type(obj), "places", None):   # an item that is a folder
            return partial(type(obj), **{name: _in_memory(value)
                                         for name, value in vars(obj).items()}), ()
        return super().reducer_override(obj)


def _is_global(cache) -> bool:
    name = getattr(cache, "__qualname__", "")
    return getattr(sys.modules.get(getattr(cache, "__module__", "")), name, None) is cache


def _in_memory(value):
    is_files = isinstance(value, dict) and any(isinstance(one, Path) for one in value.values())
    return without_paths(value) if is_files else value


def _cached(maxsize: int | None, function):
    return lru_cache(maxsize)(function)


def _stop() -> threading.Event:
    return stop


def pack(value) -> bytes:
    """Return a value as bytes."""
    with io.BytesIO() as file:
        _Packer(file).dump(value)
        return file.getvalue()


unpack = pickle.loads
