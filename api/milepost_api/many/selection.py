"""The jobs that a filter finds, looked for once for all streams of this process that ask for the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from milepost.errors import StoreUnavailable
from milepost.log import Announcement
from milepost_api.many.look import Found
from milepost_api.many.wanted import Filter

log = structlog.get_logger("milepost.many")

LOOK_SECONDS = 5.0
"""A job whose announcement was lost is found after so long."""

Look = Callable[[Filter], Awaitable[Found]]


class Shows(Protocol):
    """A stream that shows what a selection finds."""

    def found(self, found: Found) -> None:
        """Take what a look has found."""

    def announced(self, job_id: str) -> None:
        """Take a new job."""

    def forgotten(self, job_id: str) -> None:
        """A job was deleted."""


class Selection:
    """Looks every few seconds, and at once when a stream asks; `run` it as long as there is a reader."""

    def __init__(self, wanted: Filter, look: Look, *, look_seconds: float = LOOK_SECONDS) -> None:
        self.wanted, self.readers = wanted, set[Shows]()
        self._look, self._seconds = look, look_seconds
        self._asked = asyncio.Event()
        self._next: asyncio.Future[Found] | None = None

    def look(self) -> asyncio.Future[Found]:
        """Return what a look finds that begins after this call; many who ask share it. `StoreUnavailable` if it fails.

        The readers have been told when it is done.
        """
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            self._asked.set()
        return self._next

    def hear(self, said: Announcement) -> None:
        """Tell the readers of a job, if it is one of theirs."""
        if said.what == "forgotten" and said.tenant == self.wanted.tenant:
            for reader in self.readers:
                reader.forgotten(said.id)  # those who do not have it pass it over
        elif said.what == "created" and self.wanted.matches(said.tenant, said.batch, said.tags):
            for reader in self.readers:
                reader.announced(said.id)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                async with asyncio.timeout(self._seconds):
                    await self._asked.wait()
            except TimeoutError:
                pass  # nobody has asked: it is time
            await self._look_once()

    async def _look_once(self) -> None:
        self._asked.clear()
        asked, self._next = self._next, None
        try:
            found = await self._look(self.wanted)
        except Exception as error:
            if asked is not None and not asked.done():
                asked.set_exception(error)
                asked.exception()  # seen: whoever asked may have gone
            if not isinstance(error, StoreUnavailable):
                raise
            log.debug("many.look_failed", error=str(error))
            return
        for reader in self.readers:
            reader.found(found)
        if asked is not None and not asked.done():
            asked.set_result(found)
