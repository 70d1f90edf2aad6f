"""The worker's side of its fork server: starts it, asks it for processes, hears how they end."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from milepost.errors import ProcessDied, TaskDefinitionError
from milepost_worker.processes import bootstrap
from milepost_worker.processes.control import SIGNAL, START, Lines, Request, ask

log = structlog.get_logger("milepost.processes")

END_SECONDS = 5.0

SERVER_GONE = (
    "The fork server, from which the worker starts the processes of its tasks, has died, and they with it."
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its exit code, negative for a signal; `over`: the bytes it used when it was killed for it.

    `status` is None where nobody knows.
    """

    status: int | None
    over: int = 0


@dataclass(frozen=True, slots=True)
class Started:
    """A process that was asked for: the worker's end of its connection, and how it ended, once it has."""

    number: int
    connection: socket.socket
    ended: asyncio.Future[Ended]


class ForkServer:
    """Starts processes for attempts. The server itself starts with `launch`, or with the first process.

    When it dies, its processes die with it, and the next one starts a new server.
    """

    def __init__(self, modules: Sequence[str], log_settings: Mapping[str, Any]) -> None:
        self._modules, self._log_settings = list(modules), dict(log_settings)
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._server: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._lines = Lines()
        self._running: dict[int, asyncio.Future[Ended]] = {}

    def launch(self) -> None:
        """Start the server; it imports the tasks while the worker goes on."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, str(Path(bootstrap.__file__)), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the worker, which decides what becomes of its tasks
            )
        self._control, self._lines = ours, Lines()
        self._ready = self._loop.create_future()
        config = {
            "path": [str(Path.cwd()) if place == "" else place for place in sys.path],
            "modules": self._modules,
            "log": self._log_settings,
        }
        raw = json.dumps(config).encode()
        ours.sendall(bootstrap.LENGTH.pack(len(raw)) + raw)
        ours.setblocking(False)
        self._loop.add_reader(ours.fileno(), self._hear)

    async def ready(self) -> None:
        """Return when the tasks are imported. Raises `ProcessDied`, with a sentence, when they cannot be."""
        await asyncio.wait({self._ready})
        self._ready.result()

    async def start(self, limit: int = 0) -> Started:
        """Return a new process, with so many bytes of memory at most (0: no limit).

        Raises `ProcessDied` when the server cannot import the tasks, or has just died.
        """
        if self._control is None:
            self.launch()
        await self.ready()
        ours, theirs = socket.socketpair()
        number, ended = next(self._numbers), self._loop.create_future()
        self._running[number] = ended
        with theirs:
            self._ask(Request(START, number, limit), theirs.fileno())
        return Started(number, ours, ended)

    def signal(self, number: int, signal_number: int) -> None:
        """Send a signal to the process and to all that it has started; fine when it has ended."""
        if number in self._running:
            self._ask(Request(SIGNAL, number, signal_number))

    async def close(self) -> None:
        """End the server, and with it whatever it has started."""
        if (server := self._let_go("the worker leaves")) is not None:
            await asyncio.to_thread(_reap, server)

    def _ask(self, request: Request, *descriptors: int) -> None:
        try:
            if self._control is not None:
                ask(self._control, request, *descriptors)
        except OSError as error:
            self._lose(str(error))

    def _hear(self) -> None:
        try:
            chunk = self._control.recv(65_536) if self._control is not None else b""
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self._lose("it has closed its connection")
            return
        for said in self._lines.feed(chunk):
            self._heard(said)

    def _heard(self, said: Mapping[str, Any]) -> None:
        if "ready" in said:
            log.debug("processes.ready")
            self._ready.set_result(None)
        elif "failed" in said:
            self._fail(
                "Tasks with process=True cannot run: their modules were imported by the worker, but not a second "
                f"time, by the process that is forked for each attempt. {said['failed']}"
            )
        elif (ended := self._running.pop(said["number"], None)) is not None and not ended.done():
            if "refused" in said:
                ended.set_exception(ProcessDied(f"No process could be started: {said['refused']}."))
                ended.exception()  # seen: whoever waits for it reads it
            else:
                ended.set_result(Ended(said["status"], said["over"]))

    def _fail(self, sentence: str) -> None:
        log.error("processes.failed", error=sentence)
        if not self._ready.done():
            self._ready.set_exception(ProcessDied(sentence))
            self._ready.exception()  # seen: it is raised to whoever waits, if anybody does

    def _lose(self, why: str) -> None:
        if (server := self._let_go(why)) is not None:
            log.warning("processes.lost", why=why)
            threading.Thread(target=_reap, args=(server,), name="milepost-reaper", daemon=True).start()

    def _let_go(self, why: str) -> subprocess.Popen[bytes] | None:
        """Close the connection, with which the server ends, and say so to whoever waits for its processes."""
        control, self._control, server, self._server = self._control, None, self._server, None
        if control is None:
            return None
        self._loop.remove_reader(control.fileno())
        control.close()
        if not self._ready.done():
            self._fail(f"The fork server ended while it started: {why}.")
        for ended in self._running.values():
            if not ended.done():
                ended.set_result(Ended(None))
        self._running.clear()
        return server


async def launched(modules: Sequence[str], log_settings: Mapping[str, Any]) -> ForkServer:
    """Return a server that has imported the tasks: the time of the first jobs is not to run out meanwhile.

    Raises `TaskDefinitionError` when it cannot import them: better at start than at the first job.
    """
    server = ForkServer(modules, log_settings)
    server.launch()
    try:
        await server.ready()
    except ProcessDied as error:
        await server.close()
        raise TaskDefinitionError(str(error)) from error
    return server


def _reap(server: subprocess.Popen[bytes]) -> None:
    try:
        server.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()  # it hangs in an import
        server.wait()
