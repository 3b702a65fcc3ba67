"""Wrens."""
import os

LIMIT = 3


def doubled(n):
    return 2 * n


def following(n):
    return n + 1


SECOND = following(1)


class Bird:
    def name(self):
        return "bird"


class Wren(Bird):
    def name(self):
        return "wren, a " + super().name()


def counted(n, step=1):
    return [i + step for i in range(n)]


def each(n):
    for i in range(n):
        yield i


def said():
    return "tweet"


def unused():
    return 1


if __name__ == "__main__":
    print(said())
