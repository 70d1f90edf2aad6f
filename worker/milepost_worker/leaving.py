"""How a worker is told to leave, and what makes certain that it does.

A thread, because a task may block the event loop: a deadline there would never be noticed. Signals go through
Python's own handlers, which run in the main thread between two bytecodes of whatever holds it up.
"""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto

import structlog

from milepost.errors import MilepostError

log = structlog.get_logger("milepost.worker")

HARD_DEADLINE_SECONDS = 15.0
"""After draining and stopping, what still hangs (a blocked loop, a Redis that is away) is left behind by force."""

LEFTOVER_SECONDS = 5.0
"""After everything was reported: threads that tasks have left behind would keep the interpreter for ever."""


class _Word(Enum):
    SIGNAL = auto()
    DONE = auto()
    CLOSE = auto()


class Leaving(threading.Thread):
    """Tells the worker of each signal, and ends the process if it does not leave by itself in time."""

    def __init__(
        self,
        *,
        drain_seconds: float,
        stop_grace_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        end_process: Callable[[int], None] = os._exit,
    ) -> None:
        super().__init__(name="milepost-leaving", daemon=True)
        self.last_resort: Callable[[], None] = lambda: None
        """Called by this thread before it ends a process that did not hand its jobs back."""
        self._patience = drain_seconds + stop_grace_seconds + HARD_DEADLINE_SECONDS
        self._hurry = stop_grace_seconds + HARD_DEADLINE_SECONDS
        self._clock, self._end_process = clock, end_process
        self._words: queue.SimpleQueue[_Word] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._signals = 0
        self._tell: Callable[[], None] | None = None
        self._deadline: float | None = None
        self._done, self._code = False, 0

    def signalled(self, *_: object) -> None:
        """Do as on a signal. Safe in a signal handler, even in one that interrupts another: `put` is reentrant."""
        self._words.put(_Word.SIGNAL)

    def done(self, code: int = 0) -> None:
        """Say that all is reported and only the interpreter has to end, with this exit code."""
        self._code = code
        self._words.put(_Word.DONE)

    def close(self) -> None:
        self._words.put(_Word.CLOSE)

    def tell(self, leave: Callable[[], None]) -> None:
        """Have `leave` called on this event loop for every signal, those that came before included."""
        loop = asyncio.get_running_loop()

        def later() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(leave)

        with self._lock:
            self._tell, before = later, self._signals
        for _ in range(min(before, 2)):  # the first asks, the second hastens, a third says nothing new
            leave()

    def run(self) -> None:
        while (word := self._next()) is not _Word.CLOSE:
            if word is None:
                self._force()
                return
            self._hear(word)

    def _next(self) -> _Word | None:
        wait = None if self._deadline is None else max(0.0, self._deadline - self._clock())
        try:
            return self._words.get(timeout=wait)
        except queue.Empty:
            return None

    def _hear(self, word: _Word) -> None:
        if word is _Word.DONE:
            self._done = True
            self._end_within(LEFTOVER_SECONDS)
            return
        with self._lock:
            self._signals += 1
            tell = self._tell
        self._end_within(self._patience if self._signals == 1 else self._hurry)
        if tell is not None:
            tell()

    def _end_within(self, seconds: float) -> None:
        deadline = self._clock() + seconds
        self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)

    def _force(self) -> None:
        if self._done:
            log.warning("worker.leftover_threads", threads=[one.name for one in threading.enumerate()])
        else:
            log.error("worker.hard_deadline")
            self.last_resort()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        self._end_process(self._code if self._done else 1)


@contextmanager
def heeding_signals(*, drain_seconds: float, stop_grace_seconds: float) -> Iterator[Leaving]:
    """From here on SIGTERM and SIGINT ask the worker to leave. In the main thread only."""
    leaving = Leaving(drain_seconds=drain_seconds, stop_grace_seconds=stop_grace_seconds)
    leaving.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leaving.signalled)
    yield leaving  # the thread goes on: what may keep the interpreter from ending comes after this block


@contextmanager
def ending_when_refused(code: int) -> Iterator[None]:
    """See to it that a worker that is refused ends, with `code`, soon after its sentence was said.

    Modules start threads when they are imported, and the interpreter would wait for them: whoever has started the
    worker, and is to hear that it could not, waits for its end.
    """
    try:
        yield
    except MilepostError:
        leaving = Leaving(drain_seconds=0.0, stop_grace_seconds=0.0)
        leaving.start()
        leaving.done(code)
        raise
