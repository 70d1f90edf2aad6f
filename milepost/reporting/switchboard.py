"""Processes that a task starts by itself report to its job: `pool.map(progress.bind(work), items)`.

A bound function that is pickled takes an address along. The process in which it is called connects to it, and a
relay carries its reports back to the step that it was bound in. The socket lies in a directory that only this
user can enter, and wants a key that travels with the function; only bytes cross it, never pickles.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from milepost.codec import dumps
from milepost.errors import MilepostError
from milepost.reporting.frames import FRAME_BYTES
from milepost.reporting.meter import Step
from milepost.reporting.relay import Relay, RelayReporter
from milepost.reporting.replay import Replay
from milepost.reporting.reporter import HERE, Place, Reporter, Stopped

LOOK_SECONDS = 0.1
"""How often a line looks whether the job is to stop."""

CLOSE_SECONDS = 2.0
"""At the end of an attempt, what its processes have said already is heard out for so long."""


class StoppedElsewhere(MilepostError):
    """The job was stopped, or has ended, while a bound function ran in another process.

    An `Exception`, other than `Stopped`: the workers of a `multiprocessing.Pool` hand on nothing else.
    """


class Switchboard:
    """One for each attempt that needs it, in the process where its task runs."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._folder = tempfile.mkdtemp(prefix="milepost-")  # mode 0700
        self._clear_up = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self.address = os.path.join(self._folder, "jobs")  # noqa: PTH118 - a socket's address is text
        self.key = secrets.token_bytes(32)
        self._listener = Listener(self.address, "AF_UNIX", authkey=self.key, backlog=64)
        self._places: list[Place] = []
        self._lines: list[threading.Thread] = []
        self._closed = False
        threading.Thread(target=self._accept, name="milepost-switchboard", daemon=True).start()

    def number(self, place: Place) -> int:
        """Return the number under which other processes ask for this place."""
        with self._reporter.lock:
            for number, known in enumerate(self._places):
                if known.step is place.step:
                    return number
            self._places.append(place)
            return len(self._places) - 1

    def place(self, number: int) -> Place:
        return self._places[number]

    def hang_up(self) -> None:
        """Take no more calls; those that are open end when what was said has been heard."""
        if self._closed:
            return
        self._closed = True
        with suppress(OSError), socket.socket(socket.AF_UNIX) as waker:
            waker.connect(self.address)  # closing a listener wakes nobody who waits for it

    @property
    def silent(self) -> bool:
        """Whether nobody speaks any more."""
        return not any(line.is_alive() for line in self._lines)

    def close(self) -> None:
        self.hang_up()
        for line in list(self._lines):
            line.join(CLOSE_SECONDS)

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection = self._listener.accept()
            except (AuthenticationError, EOFError, OSError):
                continue  # nobody of ours, or the call that ends this
            self._lines = [line for line in self._lines if line.is_alive()]
            line = threading.Thread(target=self._serve, args=(connection,), name="milepost-line", daemon=True)
            self._lines.append(line)
            line.start()
        self._listener.close()
        self._clear_up()

    def _serve(self, connection: Connection) -> None:
        replay: Replay | None = None
        try:
            with connection:
                place = self.place(int(connection.recv_bytes(FRAME_BYTES)))
                replay = Replay(self._reporter, place.step)
                connection.send_bytes(dumps(self._greeting(place.step)).encode())
                self._hear(connection, replay)
        except (EOFError, OSError, ValueError, IndexError, MilepostError):
            pass  # it has left, or is sent away: its next report says so
        finally:
            if replay is not None:
                replay.close()

    def _greeting(self, step: Step) -> dict[str, Any]:
        kept = self._reporter.last_checkpoint
        return {"plan": dict(step.plan), "checkpoint": None if kept is None else dumps(kept)}

    def _hear(self, connection: Connection, replay: Replay) -> None:
        told = False
        while True:
            last = self._closed  # before looking: what was said until then is still heard
            if connection.poll(0 if last else LOOK_SECONDS):
                replay.apply(connection.recv_bytes(FRAME_BYTES))
            elif last:
                return
            if self._reporter.stop is not None and not told:
                told = True
                connection.send_bytes(self._reporter.stop.encode())


def switchboard_of(reporter: Reporter) -> Switchboard:
    """Return the switchboard of this attempt; it opens with the first bound function that is pickled."""
    with _OPENING:
        if reporter.switchboard is None:
            reporter.switchboard = Switchboard(reporter)
            _HERE[reporter.switchboard.address] = reporter.switchboard
        board = reporter.switchboard
    assert isinstance(board, Switchboard)
    return board


class Line:
    """The other end: a connection to the job, shared by all calls in this process that are bound to one place."""

    def __init__(self, address: str, key: bytes, number: int) -> None:
        try:
            self._connection = Client(address, "AF_UNIX", authkey=key)
            self._connection.send_bytes(str(number).encode())
            greeting = json.loads(self._connection.recv_bytes(FRAME_BYTES))
        except (OSError, EOFError, AuthenticationError) as error:
            raise StoppedElsewhere(
                "A function bound with progress.bind was called after its job had ended."
            ) from error
        self._relay = Relay(
            self._connection.send_bytes,
            plan=greeting["plan"],
            checkpoint=greeting["checkpoint"],
            shared=True,
        )
        self._reporter: RelayReporter = self._relay.open()
        self._reporter.root.counted = (
            True  # others count there: a loop of a bound function is a step of its own
        )
        threading.Thread(target=self._listen, name="milepost-line", daemon=True).start()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Report to the job inside; what was reported has left when the block ends."""
        token = HERE.set(Place(self._reporter))
        try:
            yield
        except Stopped as stopped:
            raise StoppedElsewhere(
                f"The job was stopped ({stopped}) while this ran in another process."
            ) from None
        finally:
            HERE.reset(token)
            self._relay.flush()

    def _listen(self) -> None:
        try:
            while True:
                self._reporter.stop = self._connection.recv_bytes(FRAME_BYTES).decode()
        except (EOFError, OSError):
            self._reporter.stop = self._reporter.stop or "ended"


class Remote:
    """A bound function that has come to another process."""

    def __init__(self, function: Callable[..., Any], address: str, key: bytes, number: int) -> None:
        self.function, self._place = function, (address, key, number)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with _line(*self._place).open():
            return self.function(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return Remote, (self.function, *self._place)


def place_here(address: str, number: int) -> Place | None:
    """Return the place of a bound function that never left this process; None when it has come from another one."""
    board = _HERE.get(address)
    return board.place(number) if board is not None else None


def _line(address: str, key: bytes, number: int) -> Line:
    with _OPENING:
        known = _LINES.get((address, number))
        if known is None:
            known = _LINES[address, number] = Line(address, key, number)
        return known


_OPENING = threading.Lock()
_LINES: dict[tuple[str, int], Line] = {}
_HERE: weakref.WeakValueDictionary[str, Switchboard] = weakref.WeakValueDictionary()


def _forget_in_forks() -> None:
    global _OPENING  # noqa: PLW0603 - another thread may have held it at that moment
    _OPENING = threading.Lock()
    _LINES.clear()
    for board in list(_HERE.values()):
        board._clear_up.detach()  # noqa: SLF001 - the folder is the other process's
    _HERE.clear()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_forget_in_forks)
