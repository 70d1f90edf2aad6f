"""What carries the reports of one attempt from the task to whoever sends them."""

from __future__ import annotations

import json
import operator
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, Protocol

from milepost.codec import dumps
from milepost.errors import BadReport
from milepost.reporting.meter import Meter, Step

MESSAGE_CHARACTERS = 1 << 20
NAME_CHARACTERS = 200
CHECKPOINT_BYTES = 256 << 10
"""The longest checkpoint, as JSON: a place to go on from, not the work itself."""

_ORDINARY = 1 << 53

LEVELS = ("debug", "info", "warning", "error", "critical")


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

    def checkpoint(self, value: str) -> None:
        """Keep this JSON for the next attempt; the latest wins."""


class Reporter:
    """The reports of one attempt. `stop` is why the task should end, once it should.

    `checkpoint` is the JSON that the attempt before left, None for none.
    """

    def __init__(
        self, sink: Sink, plan: Mapping[str, float] | None = None, checkpoint: str | None = None
    ) -> None:
        self.sink = sink
        self._checkpoint = checkpoint
        self.meter = Meter(plan)
        self.dirty = False
        self.stop: str | None = None
        self.switchboard: Any = None
        """Where processes of the task's own report to, once there are some (see `switchboard`)."""
        self.lock = threading.Lock()
        """Held while a count is read and written, or a step begins or ends: threads of one job share them."""

    def update(
        self,
        step: Step,
        current: Any,
        total: Any,
        message: Any,
        unit: Any,
        fraction: Any = None,
    ) -> None:
        """Note where `step` is. The hot path: a task may come here a million times a second."""
        if self.stop is not None:
            raise Stopped(self.stop)
        meter = self.meter
        if current is not None:
            ordinary = current.__class__ is int and -_ORDINARY < current < _ORDINARY  # spares a call
            step.current = current if ordinary else finite(current)
        if total is not None:
            step.total = finite(total)
        if fraction is not None:
            step.share = finite(fraction)
        if message is not None:
            meter.message = text(message, MESSAGE_CHARACTERS)
        if unit is not None:
            step.unit = text(unit, NAME_CHARACTERS)
        meter.focus = step
        if not self.dirty:
            self.dirty = True
            self.sink.changed()

    def advance(self, step: Step, n: Any) -> None:
        if n.__class__ is not int:
            n = finite(n)
        with self.lock:
            step.current = finite((step.current or 0) + n)
        self.touch(step)

    def touch(self, step: Step) -> None:
        """`step` has been written to directly, by a loop that looks at `dirty` and `stop` after each item."""
        if self.stop is not None:
            raise Stopped(self.stop)
        self.meter.focus = step
        if not self.dirty:
            self.dirty = True
            self.sink.changed()

    def log(self, level: str, message: Any) -> None:
        self.raise_if_stopped()
        if level not in LEVELS:
            raise BadReport(
                f"progress.log() was given the level {level!r}; it is one of {', '.join(LEVELS)}."
            )
        self.sink.log(level, text(message, MESSAGE_CHARACTERS), None)

    def output(self, data: Any) -> None:
        self.raise_if_stopped()
        self.sink.output(data)

    def checkpoint(self, value: Any) -> None:
        kept = checkpoint_json(value)
        self._checkpoint = kept
        self.sink.checkpoint(kept)
        # Only now: what a task says while it cleans up is what its next attempt wants to know.
        self.raise_if_stopped()

    @property
    def last_checkpoint(self) -> Any:
        kept = self._checkpoint
        return None if kept is None else json.loads(kept)

    def plan(self, step: Step, weights: Mapping[str, float]) -> None:
        step.plan = {text(name, NAME_CHARACTERS): weight_of(weight) for name, weight in weights.items()}

    def raise_if_stopped(self) -> None:
        if self.stop is not None:
            raise Stopped(self.stop)

    @contextmanager
    def step(self, parent: Step, name: Any, weight: Any) -> Iterator[Step]:
        """Open a step below `parent`; it is done when the block ends, failed when it raises."""
        step = self.begin_step(parent, name, weight)
        try:
            yield step
        except BaseException:
            step.failed = True
            raise
        else:
            step.done = True
        finally:
            self.end_step(step)

    def begin_step(self, parent: Step, name: Any, weight: Any) -> Step:
        self.raise_if_stopped()
        name, weight = text(name, NAME_CHARACTERS), weight_of(weight)
        with self.lock:
            step = parent.begin(name, weight)
        self.meter.focus, self.meter.message = step, None
        self.milestone(step)
        return step

    def end_step(self, step: Step) -> None:
        """Close a step that says by now whether it is done or has failed."""
        with self.lock:
            if step.parent is not None:
                step.parent.end(step)
        if step.parent is not None and not step.parent.shows(step):
            self.meter.focus = step.parent  # the counts of one item say no more; those of its loop do
        self.milestone(step)

    def begin_loop(self, step: Step, name: str) -> Step:
        """Return where a loop is to count: `step`, or a step below it when something counts there already."""
        self.raise_if_stopped()
        with self.lock:
            takes = step.takes_loop(name)
            if takes:
                step.begin_loop()
        if not takes:
            return self.begin_inner_loop(step, name)
        self.counts(step)
        return step

    def begin_inner_loop(self, step: Step, name: str) -> Step:
        """Begin a loop on a step of its own below `step`."""
        with self.lock:
            child = step.begin(name, 0.0 if step.plan else 1.0)  # what is planned has the plan's weight
            child.loop = child.counted = True
        self.meter.focus = child
        self.milestone(child)
        return child

    def end_loop(self, step: Step, outer: Step, outcome: Literal["done", "failed", "left"]) -> None:
        """The loop that counted on `step` is over; `left` when nobody knows why it was left early."""
        with self.lock:
            step.end_loop()
        if step is outer:
            self.meter.focus = step
            self.counts(step)
            return
        setattr(step, outcome, True)
        self.end_step(step)

    def counts(self, step: Step) -> None:
        """Say that a loop counts on this step from now on, or does no more."""

    def milestone(self, step: Step) -> None:
        """Say that this step has begun or ended."""
        if step.parent is self.meter.root and self.meter.root.shows(step):
            self.sink.milestone()
        elif not self.dirty:
            self.dirty = True
            self.sink.changed()


class Place:
    """Which reporter, and which of its steps: what the context of a running task carries."""

    __slots__ = ("outer", "over", "reporter", "step")

    def __init__(self, reporter: Reporter, step: Step | None = None, outer: Place | None = None) -> None:
        self.reporter = reporter
        self.step = step or reporter.meter.root
        self.outer = outer
        """Where a loop was begun that made this place."""
        self.over = False
        """Whether that loop has ended: it may have ended in another context, which cannot change this one's."""


HERE: ContextVar[Place | None] = ContextVar("milepost_place", default=None)
"""Set by the worker around a task. Copied into threads by `asyncio.to_thread`, into tasks by asyncio."""


def here() -> Place | None:
    """Return the present place, past those of loops that have ended."""
    place = HERE.get()
    while place is not None and place.over:
        place = place.outer
    return place


def finite(value: Any) -> int | float:
    """Return a number that can be computed with and sent as JSON.

    Raises `BadReport` for NaN, the infinities, integers beyond the range of a double, and what is no number.
    """
    kind = value.__class__
    if kind is not int and kind is not float:
        value = _plain(value)
    # One multiplication tells all: NaN and the infinities give NaN, every finite number a zero, which is false.
    try:
        if not value * 0.0:
            return value  # type: ignore[no-any-return]
    except OverflowError:
        pass
    raise _refusal(value)


def _plain(value: Any) -> int | float:
    # numpy's integers are no `int`, Decimal and Fraction no `float`, and JSON knows none of them. A str could be
    # converted as well, but whoever sends one has mixed something up.
    try:
        if hasattr(value, "__index__"):
            return operator.index(value)
        if hasattr(value, "__float__"):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise _refusal(value)


def _refusal(value: Any) -> BadReport:
    return BadReport(
        f"progress() was given {_short(value)}, which is not a finite number; report a count such as 3 or 0.5."
    )


def _short(value: Any) -> str:
    if isinstance(value, int):
        return f"an integer of {value.bit_length()} bits"
    shown = repr(value)
    return shown if len(shown) <= 100 else f"a {type(value).__name__}"


def checkpoint_json(value: Any) -> str:
    """Return `value` as JSON. Raises `BadReport` when it is none, or longer than a checkpoint may be."""
    kept = dumps(value)
    if len(kept) > CHECKPOINT_BYTES:
        raise BadReport(
            f"progress.checkpoint() was given {len(kept):,} bytes of JSON; {CHECKPOINT_BYTES:,} are the most. "
            "Store the data elsewhere and checkpoint where it is."
        )
    return kept


def weight_of(value: Any) -> float:
    """Return the weight of a step. Raises `BadReport` unless it is a finite number that is not negative."""
    weight = float(finite(value))
    if weight < 0:
        raise BadReport(f"The weight of a step was given as {value!r}; it cannot be negative.")
    return weight


def text(value: Any, most: int) -> str:
    """Return `value` as text. Raises `BadReport` when it has more than `most` characters."""
    if value.__class__ is not str:
        value = str(value)
    if len(value) > most:
        raise BadReport(
            f"progress() was given a text of {len(value):,} characters; {most:,} are the most. "
            "Store it elsewhere and report where it is."
        )
    return value  # type: ignore[no-any-return]
