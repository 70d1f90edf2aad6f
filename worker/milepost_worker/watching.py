"""`milepost worker --watch`: a worker that is started again whenever a Python file changes."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from watchfiles import PythonFilter, awatch

from milepost.errors import SettingsError
from milepost.launch.processes import tethered
from milepost_worker.modules import look_in_working_directory

INTERRUPTED = 130
GATHER_MS = 300  # an editor, or a checkout, changes several files at once


def places(modules: Sequence[str]) -> list[Path]:
    """Return the directories to watch: the working directory, and those the modules are in."""
    look_in_working_directory()
    here = Path.cwd().resolve()
    # All of a disk, or of somebody's files, is too much to watch: then only the modules are.
    found = set() if here in {Path("/"), Path.home().resolve()} else {here}
    for module in modules:
        with suppress(ImportError, ValueError):  # the worker will say what is wrong with it
            spec = importlib.util.find_spec(module.partition(".")[0])
            if spec is not None and spec.submodule_search_locations:
                found |= {Path(place).resolve() for place in spec.submodule_search_locations}
            elif spec is not None and spec.origin and Path(spec.origin).exists():
                found.add(Path(spec.origin).resolve().parent)
    if not found:
        raise SettingsError(
            "--watch: there is nothing to watch here. Start it in the directory of your code."
        )
    return sorted(one for one in found if not any(other in one.parents for other in found))


class Watcher:
    """One worker process at a time. `stop_seconds`: how long it may take to hand its jobs back."""

    def __init__(self, argv: Sequence[str], *, stop_seconds: float) -> None:
        self._argv, self._stop_seconds = argv, stop_seconds
        self._changed, self._asked, self._no_more = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._child: asyncio.subprocess.Process | None = None
        self._trouble: Exception | None = None
        self._signal = 0

    async def run(self, paths: Sequence[Path]) -> int:
        """Keep a worker of the present code running until a signal; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._ask, number)
        looking = asyncio.create_task(self._look(paths))
        try:
            while not self._asked.is_set():
                await self._start()
                await self._until_change_or_end()
                await self._stop()
        finally:
            await self._stop()
            self._no_more.set()
            await looking
        if self._trouble is not None:
            raise SettingsError(f"--watch: files cannot be watched: {self._trouble}") from self._trouble
        return INTERRUPTED if self._signal == signal.SIGINT else 0

    def _ask(self, number: int) -> None:
        self._signal = self._signal or number
        self._asked.set()

    async def _look(self, paths: Sequence[Path]) -> None:
        try:
            async for changes in awatch(
                *paths, watch_filter=PythonFilter(), debounce=GATHER_MS, stop_event=self._no_more
            ):
                names = sorted({Path(path).name for _, path in changes})
                _say(f"{', '.join(names[:3])}{' and more' if len(names) > 3 else ''} changed; starting again")
                self._changed.set()
        except OSError as error:  # the limit of inotify, a directory that went away
            self._trouble = error
            self._asked.set()

    async def _start(self) -> None:
        self._changed.clear()
        self._child = await asyncio.create_subprocess_exec(
            *tethered(self._argv),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # the Ctrl-C of the terminal is ours: we say who leaves when
        )

    async def _until_change_or_end(self) -> None:
        assert self._child is not None
        if await self._first(self._child.wait()):
            _say(f"the worker has left with code {self._child.returncode}; waiting for a change")
            await self._first()

    async def _first(self, *ends: Coroutine[Any, Any, object]) -> bool:
        """Wait for a change, a signal, or one of `ends`; return whether it was one of those."""
        coroutines: tuple[Coroutine[Any, Any, object], ...] = self._changed.wait(), self._asked.wait(), *ends
        waits = [asyncio.create_task(one) for one in coroutines]
        done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in pending:
            one.cancel()
        return not (self._changed.is_set() or self._asked.is_set()) and bool(done)

    async def _stop(self) -> None:
        """Have the jobs handed back at once, and the process gone."""
        child = self._child
        if child is None or child.returncode is not None:
            return
        with suppress(ProcessLookupError):
            # Twice hastens; two of the same kind might be heard as one.
            child.send_signal(signal.SIGTERM)
            child.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(self._stop_seconds):
                await child.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()


def _say(text: str) -> None:
    click.echo(f"milepost worker: {text}", err=True)


async def watch_worker(modules: Sequence[str], arguments: Sequence[str], *, stop_seconds: float) -> int:
    """Run `python -m milepost_worker` with these arguments, again after every change; return the exit code."""
    argv = (sys.executable, "-m", "milepost_worker", *arguments)
    return await Watcher(argv, stop_seconds=stop_seconds).run(places(modules))
