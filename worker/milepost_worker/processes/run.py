"""One attempt in a process of its own, seen from the worker."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from milepost.codec import dumps
from milepost.errors import MemoryLimitExceeded, MilepostError, ProcessDied
from milepost.foreign import is_a
from milepost.outcome import Outcome, Raised, Returned
from milepost.reporting import Replay, Reporter, Stopped, frames
from milepost.tasks import Task
from milepost_worker.processes import child
from milepost_worker.processes.crossing import unpack
from milepost_worker.processes.forkserver import SERVER_GONE, Ended, ForkServer, Started

if TYPE_CHECKING:  # the fork server imports this package, and none of its children needs Redis
    from milepost.log import Claim

KILL_SECONDS = 5.0
"""SIGKILL takes effect within milliseconds, unless the process hangs in the kernel: nobody waits for that."""

LEAVE_SECONDS = 5.0
"""After its outcome a process may do so long what was registered to be done at exit."""

SILENT_SECONDS = 1.0
"""A process may end without its connection's end: something it has started holds a copy. So long to read the rest."""

MEGABYTE = 10**6


async def in_a_process(
    task: Task[..., Any],
    claim: Claim,
    reporter: Reporter,
    server: ForkServer,
    *,
    grace_seconds: float,
    memory_limit_mb: float | None,
) -> Outcome:
    """Run the task in a process of its own and return how it ended.

    Cancel the call to stop the task: it is asked to end, and killed `grace_seconds` later.
    """
    limit_mb = task.options.memory_limit_mb or memory_limit_mb
    limit = round((limit_mb or 0) * MEGABYTE)
    try:
        started = await server.start(limit)
    except (ProcessDied, OSError) as error:
        return Raised(error)
    except asyncio.CancelledError:
        return Raised(Stopped(reporter.stop))
    run = Run(started, server, reporter, limit)
    try:
        job = {"task": claim.task, "params": claim.params, "checkpoint": claim.checkpoint}
        run.begin(dumps(job).encode())
        return await run.outcome()
    except asyncio.CancelledError:
        return await run.stopped(reporter.stop or "cancelled", grace_seconds)
    finally:
        run.close()


class Run:
    """The worker's end of one process. A thread reads: what it replays may have to wait for Redis to take it."""

    def __init__(self, started: Started, server: ForkServer, reporter: Reporter, limit: int) -> None:
        self._started, self._server, self._limit = started, server, limit
        self._replay = Replay(reporter)
        self._loop = asyncio.get_running_loop()
        self._said: asyncio.Future[Outcome | None] = self._loop.create_future()
        self._begun = False

    def begin(self, job: bytes) -> None:
        threading.Thread(target=self._converse, args=(job,), name="milepost-process", daemon=True).start()

    async def outcome(self) -> Outcome:
        """Return how the task ended, once its process has."""
        either: set[asyncio.Future[Any]] = {self._said, self._started.ended}
        await asyncio.wait(either, return_when="FIRST_COMPLETED")
        if not self._said.done():
            await self._read_the_rest()
        if not await self._left(LEAVE_SECONDS):
            self._kill()
            await self._left(KILL_SECONDS)
        return self._judged()

    async def stopped(self, reason: str, grace_seconds: float) -> Outcome:
        """Ask the task to end, then see to it."""
        self._tell(reason)
        if not await self._left(grace_seconds):
            self._kill()
            await self._left(KILL_SECONDS)
        if not self._said.done():
            await self._read_the_rest()
        return self._judged()

    def close(self) -> None:
        """Leave nothing behind."""
        if not self._started.ended.done():
            self._kill()
        with suppress(OSError):
            self._started.connection.shutdown(
                socket.SHUT_RDWR
            )  # wakes the thread that reads; closing would not
        self._started.connection.close()

    def _judged(self) -> Outcome:
        said = self._said.result() if self._said.done() else None
        if isinstance(said, Raised) and self._limit and is_a(said.error, MemoryError):
            return self._memory_error(said)
        return said if said is not None else Raised(self._death())

    def _memory_error(self, said: Raised) -> Raised:
        error = MemoryLimitExceeded(
            f"The task was refused memory: its process may use {_megabytes(self._limit)} (memory_limit_mb) and "
            "has asked for far more."
        )
        error.__cause__ = said.error
        return Raised(error, said.traceback)

    def _death(self) -> MilepostError:
        ended = self._started.ended
        if not ended.done():
            return ProcessDied("The task's process was killed, but does not end: it hangs in the kernel.")
        error = ended.exception()
        if isinstance(error, MilepostError):
            return error
        return death(ended.result(), self._limit)

    async def _left(self, seconds: float) -> bool:
        await asyncio.wait({self._started.ended}, timeout=seconds)
        return self._started.ended.done()

    async def _read_the_rest(self) -> None:
        await asyncio.wait({self._said}, timeout=SILENT_SECONDS)

    def _tell(self, reason: str) -> None:
        if not self._begun:
            self._kill()  # it has not even heard what to do
            return
        try:
            # Never blocks: a process that does not read is killed in time anyway.
            self._started.connection.send(frames.pack(frames.STOP, reason.encode()), socket.MSG_DONTWAIT)
        except OSError:
            return
        self._server.signal(self._started.number, signal.SIGTERM)

    def _kill(self) -> None:
        self._server.signal(self._started.number, signal.SIGKILL)

    # The thread.

    def _converse(self, job: bytes) -> None:
        said: Outcome | None
        try:
            said = self._hear_out(job)
        except OSError:
            said = None  # it has died; how, the server says
        except BaseException as error:  # noqa: BLE001 - a report that is none, or that Redis did not take in time
            said = Raised(error)
            self._loop.call_soon_threadsafe(self._kill)
        self._replay.close()
        with suppress(RuntimeError):  # the loop is closed: the worker left without this process
            self._loop.call_soon_threadsafe(self._settle, said)

    def _hear_out(self, job: bytes) -> Outcome | None:
        # While the file is open the descriptor stays ours: `close` only marks it.
        with self._started.connection.makefile("rb") as file:
            frames.write(file.fileno(), frames.JOB, job)
            self._begun = True
            while (message := frames.read(file)) is not None:
                match message:
                    case frames.REPORTS, batch:
                        self._replay.apply(batch)
                    case frames.RESULT, result:
                        return Returned(result.decode())
                    case frames.ERROR, error:
                        return unpack(error)
        return None

    def _settle(self, said: Outcome | None) -> None:
        if not self._said.done():
            self._said.set_result(said)


def death(ended: Ended, limit: int) -> ProcessDied:
    """Say in a sentence how a process ended that has not said how its task did."""
    if ended.over:
        return MemoryLimitExceeded(
            f"The task's process used {_megabytes(ended.over)} of memory and may use {_megabytes(limit)} "
            "(memory_limit_mb), so it was killed."
        )
    match ended.status:
        case None:
            return ProcessDied(SERVER_GONE)
        case child.CUT_OFF:
            return ProcessDied(
                "The task's process could not speak to its worker any more, so it ended. "
                "Does the task close file descriptors that it has not opened?"
            )
        case status if status >= 0:
            return ProcessDied(
                f"The task's process left with exit code {status} before the task had returned (os._exit?)."
            )
        case status if -status == signal.SIGKILL:
            return ProcessDied(
                "The task's process was killed by SIGKILL, and not by its worker. "
                "Most often that is the kernel, out of memory: see memory_limit_mb."
            )
        case status:
            return ProcessDied(f"The task's process was ended by {_name(-status)}.")


def _name(number: int) -> str:
    try:
        named = signal.Signals(number)
    except ValueError:
        return f"signal {number}"
    return f"{named.name} ({signal.strsignal(number)})"


def _megabytes(size: int) -> str:
    return f"{size / MEGABYTE:,.0f} MB"
