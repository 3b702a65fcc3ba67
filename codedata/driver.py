"""Keep functions and objects in the driver: the process that plans, writes, and asks models.

The workers of a cluster have neither its root nor its keys. A function that is marked `in_driver`
runs in the driver, whichever process calls it. Objects of classes that derive from StaysInDriver
are made there, and stay there: a worker gets a Remote instead, whose methods run in the driver.
Arguments and results are copied. In the driver itself, both marks do nothing.
"""
from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from functools import partial, wraps
from types import FunctionType, MethodType
from typing import Any

_send: list[Callable] = []   # in a worker: sends (target, attribute, arguments) to the driver
_remotes: weakref.WeakValueDictionary[int, Remote] = weakref.WeakValueDictionary()


def work_for(send: Callable) -> None:
    """Make this process a worker. send(target, attribute, arguments) calls an attribute in the
    driver with (args, kwargs), or reads it if `arguments` is None, and returns the result."""
    _send[:] = [send]


def is_worker() -> bool:
    """Return whether this process is a worker."""
    return bool(_send)


def in_driver(function: Callable) -> Callable:
    """Mark a module's function to run in the driver."""
    @wraps(function)
    def run(*args, **kwargs):
        if not _send:
            return function(*args, **kwargs)
        return _send[0](function.__module__, function.__qualname__, (args, kwargs))
    return run


def in_worker(method: Callable) -> Callable:
    """Mark a method of a StaysInDriver class to run in the worker, on the Remote."""
    method.runs_in_worker = True
    return method


class StaysInDriver:
    """Mark a class whose objects stay in the driver: a worker receives a Remote instead, even as
    the result of an `in_driver` function. `copied` names the attributes that a Remote copies."""

    copied: tuple[str, ...] = ()


class Remote:
    """Represent an object of the driver in a worker."""

    def __init__(self, cls: type, number: int, copies: dict[str, Any]):
        vars(self).update(copies, _cls=cls, _number=number)

    def __getattr__(self, name: str):
        found = inspect.getattr_static(self._cls, name, None)
        if getattr(found, "runs_in_worker", False):
            return MethodType(found, self)
        if isinstance(found, FunctionType):
            return partial(self._ask, name)
        return _send[0](self, name, None)

    def _ask(self, name: str, *args, **kwargs):
        return _send[0](self, name, (args, kwargs))

    def __contains__(self, item) -> bool:
        return self._ask("__contains__", item)

    def __reduce__(self):
        return held, (self._number,)


def remote_of(cls: type, number: int, copies: dict[str, Any]) -> Remote:
    """Return the Remote of an object in this worker, the same one each time."""
    remote = _remotes.get(number)
    if remote is None:
        remote = _remotes[number] = Remote(cls, number, copies)
    return remote


_held: dict[int, StaysInDriver] = {}   # in the driver: the objects that have Remotes in workers


def hold(held_object: StaysInDriver) -> tuple[Callable, tuple]:
    """Keep an object of the driver alive for workers. Return (function, arguments) that
    create its Remote in a worker, as __reduce__() does."""
    number = id(held_object)   # unique while it is held
    _held[number] = held_object
    copies = {name: getattr(held_object, name) for name in held_object.copied}
    return remote_of, (type(held_object), number, copies)


def held(number: int) -> StaysInDriver:
    """Return the driver's object that a worker's Remote represents."""
    return _held[number]


def forget(held_object: StaysInDriver) -> None:
    """Stop holding an object for workers."""
    _held.pop(id(held_object), None)
