"""What runs in the process of one attempt: the task, and the relay of what it reports."""

from __future__ import annotations

import asyncio
import atexit
import faulthandler
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, BinaryIO

import structlog

from milepost.reporting import HERE, Place, Relay, Stopped, frames
from milepost.secrets import MASKS
from milepost.secrets.marking import secrets_of
from milepost.tasks import REGISTRY, Task
from milepost_worker.processes import memory
from milepost_worker.processes.crossing import pack

log = structlog.get_logger("milepost.process")

CUT_OFF = 74
"""The exit code of a process that can say nothing any more (EX_IOERR in sysexits.h)."""


def live(connection: int, limit: int) -> int:
    """Run one attempt and leave what the task registered to be done at exit; return the exit code.

    `limit`: bytes of memory, 0 for none.
    """
    _be_a_fresh_process()
    Child(connection, limit).run()
    atexit._run_exitfuncs()  # noqa: SLF001 - as multiprocessing does in its forks (popen_fork.py)
    sys.stdout.flush()
    sys.stderr.flush()
    return 0


def _be_a_fresh_process() -> None:
    """Undo what a fork inherits and a process that was started anew would not have."""
    atexit._clear()  # noqa: SLF001 - what is there is the server's
    if util := sys.modules.get("multiprocessing.util"):
        atexit.register(util._exit_function)  # noqa: SLF001 - it did so itself at its import, in the server
    if numpy_random := sys.modules.get("numpy.random"):
        numpy_random.seed()  # `random` sees to that itself: two jobs must not draw the same numbers
    if not faulthandler.is_enabled():
        faulthandler.enable()  # a segmentation fault is to show where it was
    memory.be_the_first_to_go()


class Child:
    def __init__(self, connection: int, limit: int) -> None:
        self._connection, self._limit = connection, limit
        self._pid, self._main = os.getpid(), threading.get_ident()
        self._running = self._interrupted = self._done = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._coroutine: asyncio.Task[Any] | None = None

    def run(self) -> None:
        """Hear what to do, do it, say how it went."""
        file = os.fdopen(self._connection, "rb", closefd=False)
        os.register_at_fork(after_in_child=self._forked)
        said = frames.read(file)
        if said is None:
            return  # the worker changed its mind
        job = json.loads(said[1])
        relay = Relay(self._send, plan=REGISTRY[job["task"]].plan, checkpoint=job["checkpoint"])
        self._reporter = relay.open()
        signal.signal(signal.SIGTERM, self._on_sigterm)
        threading.Thread(target=self._listen, args=(file,), name="milepost-listener", daemon=True).start()
        kind, payload = self._outcome(job)
        if self._reporter.switchboard is not None:
            self._reporter.switchboard.close()
        relay.close()
        self._done = True
        self._write(kind, payload)

    def _send(self, batch: bytes) -> None:
        self._write(frames.REPORTS, batch)

    def _write(self, kind: bytes, payload: bytes) -> None:
        try:
            frames.write(self._connection, kind, payload)
        except OSError as error:
            # The worker is gone, or the task has closed our descriptor. Nobody would ever hear the outcome.
            log.error("process.cut_off", error=str(error))
            os._exit(CUT_OFF)

    def _outcome(self, job: Mapping[str, Any]) -> tuple[bytes, bytes]:
        token = HERE.set(Place(self._reporter))
        try:
            try:
                self._running = True
                memory.build_wall(self._limit)
                return frames.RESULT, self._result(REGISTRY[job["task"]], job["params"]).encode()
            finally:
                self._running = False
        except BaseException as error:  # noqa: BLE001 - SystemExit, too: it is the task's outcome
            memory.take_down_wall()  # to tell of a MemoryError takes memory
            return frames.ERROR, pack(error)
        finally:
            HERE.reset(token)

    def _result(self, task: Task[..., Any], params: Mapping[str, Any]) -> str:
        self._reporter.raise_if_stopped()  # told before there was anything to interrupt
        arguments = self._arguments(task, params)
        if not task.is_async:
            return task.result_json(task.function(**arguments))
        return task.result_json(asyncio.run(self._awaited(task, arguments)))

    def _arguments(self, task: Task[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
        mask = task.mask(params)
        if mask is None:
            return task.arguments(params)
        MASKS.add(mask)  # what this process logs goes to the same place as what the worker does
        arguments = task.arguments(params)
        mask.add(secrets_of(arguments))
        return arguments

    async def _awaited(self, task: Task[..., Any], arguments: Mapping[str, Any]) -> Any:
        self._loop, self._coroutine = asyncio.get_running_loop(), asyncio.current_task()
        self._reporter.raise_if_stopped()  # the listener may have come before there was anything to cancel
        return await task.function(**arguments)

    # Being stopped.

    def _listen(self, file: BinaryIO) -> None:
        """Hear from the worker that the task is to end, or, by the end of file, that the worker has died."""
        while (said := frames.read(file)) is not None:
            if said[0] == frames.STOP:
                self._reporter.stop = said[1].decode()
                self._interrupt()
        if not self._done and os.getpgrp() == self._pid:
            os.killpg(self._pid, signal.SIGKILL)  # nobody wants the outcome, and another attempt may begin

    def _interrupt(self) -> None:
        if self._loop is not None and self._coroutine is not None:
            with suppress(RuntimeError):  # the loop is closed: it has just ended
                self._loop.call_soon_threadsafe(self._coroutine.cancel)
        else:
            signal.pthread_kill(self._main, signal.SIGTERM)  # so that sleeping and reading end as well

    def _on_sigterm(self, number: int, frame: object) -> None:
        """Raise `Stopped` in the task, once, so that its `finally` blocks run to their end.

        Only if the worker has said so: SIGTERM may be meant for everything in the container, and then it is the
        worker's to decide what becomes of its tasks.
        """
        if os.getpid() != self._pid:  # a process that the task has forked
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        reason = self._reporter.stop
        if reason is None or self._loop is not None or self._interrupted or not self._running:
            return
        self._interrupted = True
        raise Stopped(reason)

    def _forked(self) -> None:
        # A process forked by the task must not keep the connection open: its end tells the worker of ours.
        with suppress(OSError):
            os.close(self._connection)
