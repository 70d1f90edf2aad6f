"""Reports made in another process than the worker: gathered here, replayed there (see `replay`).

A task in a process of its own has the same `Reporter` as any other, with this relay as its sink. Operations
travel, not pictures of progress: that way several processes can work at one step, and percent, rate and
estimates are made in one place, beside the worker's own.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from milepost.codec import dumps
from milepost.reporting.meter import Step
from milepost.reporting.reporter import Reporter, finite

VALUES_SECONDS = 0.05
"""Counts and messages leave at most so often, the latest of each. The worker sends half as many on."""

PENDING_OPERATIONS = 1000
PENDING_BYTES = 32 << 20
"""What may wait to be written of everything that is never left out; the next one makes the task wait."""

BATCH_BYTES = 256 << 10


class FarStep(Step):
    """A step whose counts are kept in another process: here is what was said of it, and what was sent."""

    __slots__ = ("moved", "number_there", "sent", "sent_moved", "shared")

    def __init__(
        self, key: str, name: str, weight: float = 1.0, parent: Step | None = None, number: int = 0
    ) -> None:
        super().__init__(key, name, weight, parent, number)
        self.number_there = 0
        """Which step of the replay this is; 0 for the one that the relay was opened for."""
        self.shared = False
        """Whether others report to it as well: then only how far it was moved from here can be said."""
        self.moved: float = 0
        self.sent_moved: float = 0
        self.sent: tuple[Any, ...] = (None, None, None, None)


class RelayReporter(Reporter):
    """The reporter of a task whose worker is another process."""

    def __init__(self, relay: Relay, plan: Mapping[str, float] | None, checkpoint: str | None) -> None:
        super().__init__(relay, None, checkpoint)
        self.relay = relay
        self.root = FarStep("", "")
        self.root.plan = dict(plan or {})
        self.meter.root = self.meter.focus = self.root

    def advance(self, step: Step, n: Any) -> None:
        if not isinstance(step, FarStep) or not step.shared or step.current is not None:
            super().advance(step, n)
            return
        n = finite(n)
        with self.lock:
            step.moved += n
        self.update(step, None, None, None, None)

    def plan(self, step: Step, weights: Mapping[str, float]) -> None:
        super().plan(step, weights)
        self.relay.planned(step)

    def counts(self, step: Step) -> None:
        self.relay.counting(step, "count" if step.counted else "counted")

    def milestone(self, step: Step) -> None:
        if step.runs:
            self.relay.began(step)
        else:
            self.relay.ended(step)


class Relay:
    """The sink of a `RelayReporter`. `send` writes one batch of reports; a thread of the relay's own calls it."""

    def __init__(
        self,
        send: Callable[[bytes], None],
        *,
        plan: Mapping[str, float] | None = None,
        checkpoint: str | None = None,
        shared: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`plan` and `checkpoint`: what the attempt's own reporter was given. `shared`: others report there, too."""
        self._send, self._clock = send, clock
        self._pending: deque[bytes] = deque()
        self._bytes = 0
        self._room = threading.Condition()
        self._wake = threading.Event()
        self._numbers = itertools.count(1)
        self._live: dict[int, FarStep] = {}
        self._message: str | None = None
        self._closing = self.closed = False
        self._trouble: Exception | None = None
        self._checkpoint: str | None = None
        self._reporter = RelayReporter(self, plan, checkpoint)
        self._reporter.root.shared = shared
        self._live[0] = self._reporter.root
        self._focus: Step = self._reporter.root
        """The step that the other side takes to have reported last."""
        self._thread = threading.Thread(target=self._run, name="milepost-relay", daemon=True)

    def open(self) -> RelayReporter:
        """Begin to send; return what the task reports to."""
        _OPEN.add(self)
        self._thread.start()
        return self._reporter

    def close(self) -> None:
        """Send what there is and return when it has been written, or when nobody reads any more.

        Raises what kept it from being sent, other than that: a loop may have counted to what is no number.
        """
        self._closing = True
        self._wake.set()
        self._thread.join()
        if self._trouble is not None:
            raise self._trouble

    def flush(self) -> None:
        """Return when all that was reported has been written, or when nobody reads any more."""
        with self._room:
            self._append(tuple(self._news()))
            self._wake.set()
            self._room.wait_for(lambda: self.closed or not self._pending)

    def mute(self) -> None:
        """Say nothing any more: a process that was forked from this one has its memory, but not its thread."""
        self.closed = True
        self._room = threading.Condition()  # another thread may have held the old ones at that moment
        self._reporter.lock = threading.Lock()

    # The sink, called by the task's threads.

    def changed(self) -> None:
        self._wake.set()

    milestone = changed

    def log(self, level: str, message: str, source: str | None) -> None:
        self._put(_operation("log", level, message, source))

    def output(self, data: Any) -> None:
        self._put(_operation("output", data))

    def checkpoint(self, value: str) -> None:
        self._checkpoint = value  # the latest wins; what was put out before it waits before it
        self._wake.set()

    def planned(self, step: Step) -> None:
        self._put(_operation("plan", self._number(step), dict(step.plan)))

    def began(self, step: Step) -> None:
        if not isinstance(step, FarStep) or step.parent is None:
            raise TypeError(f"{step!r} is no step of this relay")
        with self._room:
            before = [operation for live in list(self._live.values()) for operation in self._changes(live)]
            parent, step.number_there = self._number(step.parent), next(self._numbers)
            self._live[step.number_there] = self._focus = step
            if not step.loop:
                self._message = None  # as `Reporter.begin_step` does
        begin = ("begin", step.number_there, parent, step.name, float(step.weight), step.loop)
        self._put(*before, _operation(*begin))

    def ended(self, step: Step) -> None:
        with self._room:
            outcome = "failed" if step.failed else "left" if step.left else "done"
            last = [*self._news(), _operation("end", self._number(step), outcome)]
            if self._lives(step):
                del self._live[self._number(step)]
        self._put(*last)

    def counting(self, step: Step, verb: str) -> None:
        """A loop begins to count on a step that is there already (`count`), or has ended (`counted`)."""
        with self._room:
            news = self._news()
        self._put(*news, _operation(verb, self._number(step)))

    def _lives(self, step: Step) -> bool:
        return isinstance(step, FarStep) and self._live.get(step.number_there) is step

    def _number(self, step: Step) -> int:
        """Return the number of a step; that of what it is a part of, if it has ended: a context may outlive it."""
        near: Step | None = step
        while near is not None and not self._lives(near):
            near = near.parent
        return near.number_there if isinstance(near, FarStep) else 0

    def _put(self, *operations: bytes) -> None:
        with self._room:
            self._room.wait_for(
                lambda: (
                    self.closed or (len(self._pending) < PENDING_OPERATIONS and self._bytes < PENDING_BYTES)
                )
            )
            if not self.closed:
                self._append(operations)
        self._wake.set()

    def _append(self, operations: tuple[bytes, ...]) -> None:
        self._pending.extend(operations)
        self._bytes += sum(map(len, operations))

    # The thread.

    @property
    def _waits(self) -> bool:
        return self._reporter.dirty or self._checkpoint is not None

    def _run(self) -> None:
        due, pause = 0.0, None
        try:
            while not self._closing:
                self._wake.wait(pause)
                self._wake.clear()
                now = self._clock()
                if now >= due and self._waits:
                    due = now + VALUES_SECONDS
                    self._gather()
                self._write()
                pause = max(0.0, due - now) if self._waits else None
            self._gather()
            self._write()
        except OSError:
            pass  # the worker is gone, or has closed the attempt: whoever listens to it says so
        except Exception as error:  # noqa: BLE001 - raised by `close`, in the thread of the task
            self._trouble = error
        finally:
            with self._room:
                self.closed = True
                self._room.notify_all()

    def _gather(self) -> None:
        with self._room:
            self._append(tuple(self._news()))

    def _news(self) -> list[bytes]:
        """Return what has changed, the step that reported last at the end: its counts are those to show."""
        self._reporter.dirty = False  # before reading: what changes meanwhile makes it dirty again
        focus, message = self._reporter.meter.focus, self._reporter.meter.message
        others = [step for step in list(self._live.values()) if step is not focus]
        news = [operation for step in others for operation in self._changes(step)]
        if self._lives(focus):
            news += self._changes(focus)
            if self._focus is not focus:
                self._focus = focus
                news.append(_operation("focus", self._number(focus)))
        if message != self._message:
            self._message = message
            news.append(_operation("say", message))
        kept, self._checkpoint = self._checkpoint, None
        if kept is not None:
            news.append(_operation("checkpoint", kept))
        return news

    def _changes(self, step: Step) -> Iterator[bytes]:
        """Yield what was not sent yet of the step's counts."""
        if not isinstance(step, FarStep):
            return
        moved = step.moved - step.sent_moved
        if moved:
            step.sent_moved, self._focus = step.sent_moved + moved, step
            yield _operation("advance", step.number_there, moved)
        now = (step.current, step.total, step.unit, step.share)
        if now != step.sent:
            before, step.sent, self._focus = step.sent, now, step
            if step.shared:  # only what was said here: the rest is another's to say
                new = [value if value != old else None for value, old in zip(now, before, strict=True)]
                yield _operation("update", step.number_there, *new)
            else:
                yield _operation("set", step.number_there, *now)

    def _write(self) -> None:
        while self._pending:
            with self._room:
                batch = list(self._batch())
            self._send(b"[" + b",".join(batch) + b"]")
            with self._room:
                for _ in batch:
                    self._bytes -= len(self._pending.popleft())
                self._room.notify_all()

    def _batch(self) -> Iterator[bytes]:
        size = 0
        for operation in self._pending:
            size += len(operation)
            if size > BATCH_BYTES and size > len(operation):
                return
            yield operation


def _operation(*parts: Any) -> bytes:
    return dumps(parts).encode()


_OPEN: weakref.WeakSet[Relay] = weakref.WeakSet()


def _mute_in_forks() -> None:
    for relay in list(_OPEN):
        relay.mute()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_mute_in_forks)
