"""What is read at once is bounded, and so is what is fetched for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def portions(things: Iterable[T], weight: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """Cut into runs that weigh at most `most`, in order. What is heavier than that is a run of its own.

    >>> list(portions([1, 2, 3, 9, 1], lambda n: n, 4))
    [[1, 2], [3], [9], [1]]
    """
    portion: list[T] = []
    sum_ = 0
    for thing in things:
        heavy = weight(thing)
        if portion and sum_ + heavy > most:
            yield portion
            portion, sum_ = [], 0
        portion.append(thing)
        sum_ += heavy
    if portion:
        yield portion
