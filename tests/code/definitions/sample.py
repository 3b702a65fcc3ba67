# ruff: noqa
"""Definitions in all the forms that Python has."""
import functools
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    class Hint: ...
try:
    from fast import parse
except ImportError:
    def parse(text):
        # a comment comes first
        r"""Return the \d parts.

        In order.
        """
        return text.split()


@overload
def size(of: int) -> int: ...
@overload
def size(of: str) -> int: ...
def size(of): return len(str(of))


@functools.lru_cache(
    maxsize=None)
async def wait(first, *,
               second={"a": 1},   # noqa
               third: dict[str, int] = {}) -> None:
    "One line."; later = first
    def inner(): return later

    @functools.wraps(
        inner)
    class Local:
        """Local."""
        x = 1

        def method(self):
            yield self.x
    return inner, Local


class Outer(dict, metaclass=type):
    'Outer' ' in two parts.'

    class Inner:
        b"is no docstring"
        def both(self): pass

    @property
    def value(self):
        f"is {self} no docstring"
        return lambda: self

    @value.setter
    def value(self, to):
        """Only a docstring."""

    async def café(self):
        async with self as one:
            def deep():
                return [n for n in one]
            return deep
        if self:
            def deep(): return 1


def ends(): "doc"; return 1
def last(
    a,
    b): return (a,
                b)
