"""Wait for something to become true: the only place in the tests that sleeps."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

T = TypeVar("T")

DEADLINE_SECONDS = 60.0
"""Generous, because it is only ever reached by a test that fails."""

_POLL_SECONDS = 0.02


@overload
async def eventually(
    predicate: Callable[[], Coroutine[Any, Any, T | None]],
    message: str,
    *,
    deadline: float = ...,
    ignoring: tuple[type[Exception], ...] = ...,
) -> T: ...
@overload
async def eventually(
    predicate: Callable[[], T | None],
    message: str,
    *,
    deadline: float = ...,
    ignoring: tuple[type[Exception], ...] = ...,
) -> T: ...
async def eventually(
    predicate: Callable[[], Any],
    message: str,
    *,
    deadline: float = DEADLINE_SECONDS,
    ignoring: tuple[type[Exception], ...] = (),
) -> Any:
    """Call `predicate` (plain or async) until it returns something true, and return that.

    Exceptions in `ignoring` count as not yet. Fails the test with `message` after `deadline` seconds.
    """
    last: object = None
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        try:
            found = predicate()
            if last := await found if inspect.isawaitable(found) else found:
                return last
        except ignoring as error:
            last = error
        await asyncio.sleep(_POLL_SECONDS)
    raise _too_late(message, deadline, last)


def eventually_sync(
    predicate: Callable[[], T | None],
    message: str,
    *,
    deadline: float = DEADLINE_SECONDS,
    ignoring: tuple[type[Exception], ...] = (),
) -> T:
    """Do the same for code that is not asynchronous: starting servers."""
    last: object = None
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        try:
            if last := predicate():
                return last
        except ignoring as error:
            last = error
        time.sleep(_POLL_SECONDS)
    raise _too_late(message, deadline, last)


def _too_late(message: str, deadline: float, last: object) -> AssertionError:
    return AssertionError(f"{message}: not within {deadline:g} s; the last look gave {last!r}")
