"""`progress.bind`: a function that reports to the job it was bound in, whichever thread or process calls it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar, cast

from milepost.reporting.reporter import HERE, Place

P = ParamSpec("P")
R = TypeVar("R")


class Bound(Generic[P, R]):
    """A function and the place it reports to. Any number of threads may call it at once.

    Pickled, it finds its job from other processes as well, as long as the attempt lasts.

    Only the place is carried over, not the whole context: a context can be entered by one thread at a time.
    """

    def __init__(self, function: Callable[P, R], place: Place) -> None:
        functools.update_wrapper(self, function)
        self.function, self.place = function, place

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        token = HERE.set(self.place)
        try:
            return self.function(*args, **kwargs)
        finally:
            HERE.reset(token)

    def __reduce__(self) -> tuple[Any, ...]:
        """Take along where to report to, for the process in which this is unpickled."""
        from milepost.reporting.switchboard import switchboard_of

        board = switchboard_of(self.place.reporter)
        return _rebound, (self.function, board.address, board.key, board.number(self.place))

    def __repr__(self) -> str:
        return f"<{self.function!r} bound to a job>"


def _rebound(function: Callable[P, R], address: str, key: bytes, number: int) -> Callable[P, R]:
    from milepost.reporting.switchboard import Remote, place_here

    place = place_here(address, number)
    return Remote(function, address, key, number) if place is None else Bound(function, place)


def bind(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` bound to the present job and step; outside a job, `function` itself.

    Raises `TypeError` for a generator function: what it does happens after the call, where nobody binds it.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"progress.bind() was given {function!r}, a generator function: its body runs where it is iterated. "
            "Bind the function that iterates."
        )
    place = HERE.get()
    if place is None:
        return function
    if inspect.iscoroutinefunction(function):
        return cast("Callable[P, R]", _bound_coroutine(function, place))
    return Bound(function, place)


def _bound_coroutine(function: Callable[..., Any], place: Place) -> Callable[..., Any]:
    @functools.wraps(function)
    async def bound(*args: Any, **kwargs: Any) -> Any:
        token = HERE.set(place)
        try:
            return await function(*args, **kwargs)
        finally:
            HERE.reset(token)

    return bound
