"""Keeps children running, and stops them in the reverse order of their start."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable

from milepost.errors import MilepostError
from milepost.launch.child import Child, Command
from milepost.launch.house import House
from milepost.launch.terminal import Terminal

RESTART_SECONDS = 60.0
"""A child that dies is started again, unless it was started again less than this ago: then all stop."""


class Keeper:
    """Children by name. `asked` is set when all are to stop; `failure` says why, if not by request.

    Before `settled` is set a child that dies is a failed start, and nothing is started again.
    """

    def __init__(self, house: House, terminal: Terminal, clock: Callable[[], float] = time.monotonic) -> None:
        self.asked, self.hurry = asyncio.Event(), asyncio.Event()
        self.settled = False
        self.failure: str | None = None
        self._house, self._terminal, self._clock = house, terminal, clock
        self._children: dict[str, Child] = {}
        self._restarted: dict[str, float] = {}
        self._minders: list[asyncio.Task[None]] = []
        self._changing = asyncio.Lock()

    async def start(self, command: Command) -> Child:
        """Start a child and mind it from now on. Raises `MilepostError` if the system has no room for it."""
        child = await self._start(command)
        self._minders.append(asyncio.create_task(self._mind(child), name=f"mind {command.name}"))
        return child

    async def stop_all(self) -> None:
        """Stop the children, the youngest first, each in its time."""
        self.asked.set()
        async with self._changing:
            for child in reversed(list(self._children.values())):
                await self._stop(child)
        await asyncio.gather(*self._minders)

    async def _stop(self, child: Child) -> None:
        if not await child.stop(self.hurry):
            self._terminal.line("milepost", f"the {child.name} did not stop in time and was killed")
        self._house.stopped(child.name)

    async def _start(self, command: Command) -> Child:
        try:
            child = await Child.start(command, lambda line: self._terminal.line(command.name, line))
        except OSError as error:
            raise MilepostError(f"The {command.name} cannot be started: {error.strerror}.") from error
        self._children[command.name] = child
        self._house.started(command.name, child.pid)
        return child

    async def _mind(self, child: Child) -> None:
        """Keep a child running; when that is over, for whatever reason, all are to stop."""
        try:
            await self._keep(child)
        except MilepostError as error:
            self.failure = str(error)
        finally:
            self.asked.set()  # nobody would notice any more that it has ended

    async def _keep(self, child: Child) -> None:
        """Wait for the end of a child and of those that replace it."""
        while True:
            code = await child.wait()
            async with self._changing:
                if self.asked.is_set():
                    return
                if not self._may_restart(child.name):
                    self.failure = obituary(child, code, started=self.settled)
                    return
                self._terminal.line("milepost", f"the {child.name} {ended(code)}; starting it again")
                self._restarted[child.name] = self._clock()
                child = await self._start(child.command)

    def _may_restart(self, name: str) -> bool:
        before = self._restarted.get(name)
        return self.settled and (before is None or self._clock() - before >= RESTART_SECONDS)


def obituary(child: Child, code: int, *, started: bool) -> str:
    """Return why everything stops, with the last words of the child that died."""
    what = "died twice within a minute" if started else "did not start"
    words = "".join(f"\n  {line}" for line in child.last_lines) or " It said nothing."
    return f"The {child.name} {what} (it {ended(code)}). Its last lines:{words}"


def ended(code: int) -> str:
    """Say how a process ended; `code` is -N for signal N."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
