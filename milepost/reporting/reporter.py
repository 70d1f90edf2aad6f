"""What carries the reports of one attempt from the task to whoever sends them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, Protocol

from milepost.errors import BadReport
from milepost.reporting.meter import Meter, Step


class Stopped(BaseException):
    """Raised inside a task at its next report after the job was cancelled, timed out or was taken away.

    Not an `Exception`: a task's own `except Exception` must not swallow it.
    """


class Sink(Protocol):
    """Where reports go. Called from any thread; must not block for long."""

    def changed(self) -> None:
        """The progress is other than what was last sent; called once until it is sent."""

    def milestone(self) -> None:
        """The progress as of now must not be skipped: a step began or ended."""

    def log(self, level: str, message: str, source: str | None) -> None: ...

    def output(self, data: Any) -> None: ...


class Reporter:
    """The reports of one attempt. `stop` is why the task should end, once it should."""

    def __init__(self, sink: Sink, plan: Mapping[str, float] | None = None) -> None:
        self.sink = sink
        self.meter = Meter(plan)
        self.dirty = False
        self.stop: str | None = None

    def update(
        self,
        step: Step,
        current: Any,
        total: Any,
        message: str | None,
        unit: str | None,
        fraction: Any = None,
    ) -> None:
        """Note where `step` is. The hot path: a task may come here a million times a second."""
        if self.stop is not None:
            raise Stopped(self.stop)
        meter = self.meter
        if current is not None:
            _refuse_unless_finite(current)
            step.current = current
        if total is not None:
            _refuse_unless_finite(total)
            step.total = total
        if fraction is not None:
            _refuse_unless_finite(fraction)
            step.share = fraction
        if message is not None:
            meter.message = message if message.__class__ is str else str(message)
        if unit is not None:
            meter.unit = unit
        meter.focus = step
        if not self.dirty:
            self.dirty = True
            self.sink.changed()

    def advance(self, step: Step, n: float) -> None:
        self.update(step, (step.current or 0) + n, None, None, None)

    @contextmanager
    def step(self, parent: Step, name: str, weight: float) -> Iterator[Step]:
        """Open a step below `parent`; it is done when the block ends, failed when it raises."""
        if self.stop is not None:
            raise Stopped(self.stop)
        step = Step(_key(parent, name), name, weight, parent)
        parent.children.append(step)
        self._enter(step)
        try:
            yield step
        except BaseException:
            step.failed = True
            raise
        else:
            step.done = True
            step.children.clear()
            if parent.total is not None and not parent.plan:
                parent.children.remove(step)  # a step per item of a counted loop: the count remembers it
        finally:
            self._milestone(step)

    def _enter(self, step: Step) -> None:
        self.meter.focus, self.meter.message = step, None
        self._milestone(step)

    def _milestone(self, step: Step) -> None:
        if step.parent is self.meter.root and self.meter.root.total is None:
            self.sink.milestone()
        elif not self.dirty:
            self.dirty = True
            self.sink.changed()


class Place:
    """Which reporter, and which of its steps: what the context of a running task carries."""

    __slots__ = ("reporter", "step")

    def __init__(self, reporter: Reporter, step: Step | None = None) -> None:
        self.reporter = reporter
        self.step = step or reporter.meter.root


HERE: ContextVar[Place | None] = ContextVar("milepost_place", default=None)
"""Set by the worker around a task. Copied into threads by `asyncio.to_thread`, into tasks by asyncio."""


def _key(parent: Step, name: str) -> str:
    taken = {child.key for child in parent.children}
    key, n = name, 2
    while key in taken:
        key, n = f"{name}-{n}", n + 1
    return key


def _refuse_unless_finite(value: Any) -> None:
    # One subtraction tells all: NaN and the infinities give NaN, every finite number gives a false zero.
    try:
        if value - value:
            _refuse(value)
    except TypeError:
        _refuse(value)


def _refuse(value: Any) -> NoReturn:
    raise BadReport(
        f"progress() was given {value!r}, which is not a finite number; report a count such as 3 or 0.5."
    )
