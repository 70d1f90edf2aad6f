"""`progress`: what a task author imports. Outside a job every call is a no-op."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, ParamSpec, TypeVar, overload

from milepost.codec import dumps
from milepost.reporting.bind import bind
from milepost.reporting.loops import AsyncCounting, Loop, counting
from milepost.reporting.reporter import HERE, Place, checkpoint_json, here
from milepost.reporting.tqdm import tqdm, trange

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class ProgressHandle:
    """Finds the job it is called from by a context variable: works in nested calls, tasks and threads."""

    __slots__ = ()

    def __call__(
        self,
        current: float | None = None,
        total: float | None = None,
        message: str | None = None,
        *,
        unit: str | None = None,
        fraction: float | None = None,
    ) -> None:
        """Say how far the present step is; what is left out stays as it was.

        `fraction`, 0–1, is for work whose percent is known from something else than the counts: rows are
        counted, but how many there will be is not known, while the bytes read of the file are.

        Free to call a million times: at most about ten reports a second leave the worker, the last one always.
        Raises `BadReport` for NaN, infinities and what is no number, and for a message of more than a million
        characters.
        """
        place = HERE.get()
        if place is not None:
            place.reporter.update(place.step, current, total, message, unit, fraction)

    def advance(self, n: float = 1) -> None:
        """Count `n` further."""
        place = HERE.get()
        if place is not None:
            place.reporter.advance(place.step, n)

    @overload
    def track(
        self,
        iterable: AsyncIterable[T],
        total: float | None = None,
        message: str | None = None,
        *,
        unit: str | None = None,
    ) -> AsyncIterator[T]: ...

    @overload
    def track(
        self,
        iterable: Iterable[T],
        total: float | None = None,
        message: str | None = None,
        *,
        unit: str | None = None,
    ) -> Iterator[T]: ...

    def track(
        self,
        iterable: Iterable[T] | AsyncIterable[T],
        total: float | None = None,
        message: str | None = None,
        *,
        unit: str | None = None,
    ) -> Iterator[T] | AsyncIterator[T]:
        """Pass the items on and count those that are finished; `total` is taken from `len` where there is one.

        A loop inside of another counts as a step of the item that the outer one is at.
        """
        place = here()
        if place is None:
            return aiter(iterable) if isinstance(iterable, AsyncIterable) else iter(iterable)
        if total is None:
            total = _length(iterable)

        def begin() -> Loop:
            return Loop(here() or place, name=message, total=total, unit=unit, message=message)

        if isinstance(iterable, AsyncIterable):
            return AsyncCounting(begin, iterable)
        return counting(begin, iterable)

    tqdm = tqdm
    """A class that stands in for `tqdm.tqdm`: `tqdm = progress.tqdm`."""

    trange = staticmethod(trange)
    """`tqdm(range(…))`."""

    @contextmanager
    def step(self, name: str, *, weight: float = 1.0) -> Iterator[None]:
        """Work on a named part; what is reported inside belongs to it. Steps nest to any depth.

        The overall percent needs to know all the steps: they are read from the task's source where they are
        plain calls with literal names, or given by `@task(steps=…)` or `progress.plan(…)`.
        """
        place = HERE.get()
        if place is None:
            yield
            return
        with place.reporter.step(place.step, name, weight) as step:
            token = HERE.set(Place(place.reporter, step))
            try:
                yield
            finally:
                # A generator may be closed in another context than the one it was started in, by the garbage
                # collector for one: that context never had this step.
                with suppress(ValueError):
                    HERE.reset(token)

    def plan(self, steps: Mapping[str, float]) -> None:
        """Say which steps the present step (or the job) will have, with their weights."""
        place = HERE.get()
        if place is not None:
            place.reporter.plan(place.step, steps)

    def log(self, message: str, level: str = "info") -> None:
        """Write one line for the people who watch; `level` is debug, info, warning, error or critical."""
        place = HERE.get()
        if place is not None:
            place.reporter.log(level, message)

    def output(self, data: Any) -> None:
        """Hand out a partial result: any JSON value. Raises `BadReport` when it is none."""
        dumps(data)  # refused here, in the caller's frame, inside a job or not
        place = HERE.get()
        if place is not None:
            place.reporter.output(data)

    def checkpoint(self, value: Any) -> None:
        """Keep `value`, any JSON value, for the next attempt, if there has to be one. The latest one wins.

        Call it as often as there is something new: it leaves at most about ten times a second, and always before
        the attempt's last report. What was put out or logged before it is recorded before it. Raises `BadReport`
        for what is no JSON or is longer than 256 KiB.
        """
        place = HERE.get()
        if place is None:
            checkpoint_json(value)  # what fails in production fails in the author's own test as well
        else:
            place.reporter.checkpoint(value)

    @property
    def last_checkpoint(self) -> Any:
        """The latest checkpoint of this job, by this attempt or one before it; None when there is none."""
        place = HERE.get()
        return None if place is None else place.reporter.last_checkpoint

    def bind(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return `function` so that it reports to this job and step in whatever thread or process it is called.

        For pools of your own: `pool.map(progress.bind(resize), names)`. `asyncio.to_thread` and
        `loop.run_in_executor(None, …)` need no help. Outside a job it returns `function` itself.
        """
        return bind(function)

    @property
    def cancelled(self) -> bool:
        """Whether the task should end: cancelled, out of time, or taken away from this worker."""
        place = HERE.get()
        return place is not None and place.reporter.stop is not None

    def raise_if_cancelled(self) -> None:
        """Raise `Stopped` when the task should end. Every report does so by itself."""
        place = HERE.get()
        if place is not None:
            place.reporter.raise_if_stopped()


def _length(iterable: Any) -> int | None:
    try:
        return len(iterable)
    except TypeError:
        return None


progress = ProgressHandle()
