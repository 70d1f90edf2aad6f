"""Loops that count their items: what `track` and `tqdm` have in common."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from typing import Any, Generic, Literal, TypeVar

from milepost.reporting.reporter import (
    HERE,
    MESSAGE_CHARACTERS,
    NAME_CHARACTERS,
    Place,
    Stopped,
    finite,
    here,
    text,
)

T = TypeVar("T")


class Loop:
    """A loop under way in a job: counts on the present step, or on one below it inside of another loop.

    What is reported from now on, in this context, belongs to its items, until `close`; not if it is `apart`.
    """

    def __init__(
        self,
        outer: Place,
        *,
        name: str | None = None,
        total: Any = None,
        initial: Any = 0,
        unit: Any = None,
        message: Any = None,
        apart: bool = False,
    ) -> None:
        total, initial = None if total is None else finite(total), finite(initial)
        unit = None if unit is None else text(unit, NAME_CHARACTERS)
        message = None if message is None else text(message, MESSAGE_CHARACTERS)
        self.reporter = outer.reporter
        name = text(name or unit or "items", MESSAGE_CHARACTERS)[:NAME_CHARACTERS]
        self.step = self.reporter.begin_loop(outer.step, name)
        self.step.current, self.step.total, self.step.unit = initial, total, unit
        self.place = Place(self.reporter, self.step, outer)
        self._outer = outer
        self._before = self.reporter.meter.message
        self._said: str | None = None
        if not apart:
            HERE.set(self.place)
        self.say(message)

    def say(self, message: Any) -> None:
        """Show `message` as long as the loop lasts; None leaves what is shown."""
        if message is not None:
            self._said = text(message, MESSAGE_CHARACTERS)
            self.reporter.meter.message = self._said
        self.reporter.touch(self.step)

    def close(self, outcome: Literal["done", "failed", "left"] = "done") -> None:
        """The loop is over; nothing happens if it was before."""
        if self.place.over:
            return
        self.place.over = True
        self.reporter.end_loop(self.step, self._outer.step, outcome)
        if self.step is not self._outer.step and self.reporter.meter.message == self._said:
            self.reporter.meter.message = self._before
        HERE.set(here())


def counting(begin: Callable[[], Loop], iterable: Iterable[T], by: float = 1) -> Iterator[T]:
    """Pass the items on; one is counted when the next is asked for.

    A counter of its own, a write to one attribute and a look at two flags: no call for each item.
    """
    loop = begin()
    reporter, step = loop.reporter, loop.step
    done = step.current or 0
    try:
        for item in iterable:
            yield item
            done += by
            step.current = done
            if not reporter.dirty or reporter.stop is not None:
                reporter.touch(step)
    except GeneratorExit:
        loop.close("left")
        raise
    except BaseException:
        loop.close("failed")
        raise
    loop.close()


class AsyncCounting(Generic[T]):
    """The same for `async for`. Not an async generator: one that is left by `break` is closed much later."""

    def __init__(self, begin: Callable[[], Loop], iterable: AsyncIterable[T], by: float = 1) -> None:
        self._begin, self._next, self._by = begin, aiter(iterable).__anext__, by
        self._loop: Loop | None = None

    def __aiter__(self) -> AsyncCounting[T]:
        return self

    async def __anext__(self) -> T:
        if self._loop is None:
            self._loop = self._begin()
        else:
            self._count(self._loop)
        try:
            return await self._next()
        except StopAsyncIteration:
            self._loop.close()
            raise
        except BaseException:
            self._loop.close("failed")
            raise

    def _count(self, loop: Loop) -> None:
        reporter, step = loop.reporter, loop.step
        step.current = (step.current or 0) + self._by
        if not reporter.dirty or reporter.stop is not None:
            try:
                reporter.touch(step)
            except Stopped:
                loop.close("failed")
                raise

    async def aclose(self) -> None:
        """The loop was left."""
        self.__del__()

    def __del__(self) -> None:
        if self._loop is not None:
            self._loop.close("left")
