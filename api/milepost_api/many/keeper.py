"""Who knows where the readers of this process's streams of many jobs are, and writes it down when they go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

import structlog
from redis.exceptions import RedisError

from milepost.ids import new_epoch
from milepost.log import Bookmark, Bookmarks, bookmarks_channel
from milepost.redis import UNREACHABLE
from milepost_api.hub import Hub
from milepost_api.lookup import redis_answers
from milepost_api.many.ledger import Ledger

log = structlog.get_logger("milepost.many")

AT_ONCE = 50
"""Bookmarks written in one round trip."""
UNSAVED_MOST = 2000
"""Bookmarks that wait for Redis to come back; the oldest beyond are given up, and their readers get a `gap`."""
AGAIN_SECONDS = 0.5
_PROCESS_LENGTH = len(new_epoch())


class Keeper:
    """Bookmarks are written by a task of this one's, not by that of the stream: it may be cancelled at any moment."""

    def __init__(self, hub: Hub, bookmarks: Bookmarks, *, answer_seconds: float) -> None:
        self._hub, self._bookmarks, self._seconds = hub, bookmarks, answer_seconds
        self._process, self._streams_begun = new_epoch(), 0
        self._ledgers: dict[str, Ledger] = {}
        self._unsaved: dict[str, Bookmark] = {}
        self._denied: set[str] = set()
        self._work = asyncio.Event()

    async def listen(self) -> None:
        """Hear from now on who asks for a bookmark. Raises `StoreUnavailable`."""
        await self._hub.listen(bookmarks_channel(self._process), self._asked)

    def name(self) -> str:
        """Return a name for one more stream: other processes see in it whom to ask."""
        self._streams_begun += 1
        return f"{self._process}{self._streams_begun:x}"

    def begin(self, ledger: Ledger) -> None:
        self._ledgers[ledger.name] = ledger

    def end(self, ledger: Ledger) -> None:
        """The stream is over, however it ended. One that has told nothing has given out no id."""
        if self._ledgers.pop(ledger.name, None) and ledger.number:
            self._save(ledger)
        self._leave()

    async def find(self, name: str) -> Bookmark | None:
        """Return a bookmark, None if nobody knows it (any more). Raises `StoreUnavailable`."""
        if ledger := self._ledgers.get(name):  # its reader has gone, and the connection has not noticed yet
            return ledger.bookmark()
        if known := self._unsaved.get(name):
            return known
        async with redis_answers(self._seconds):
            return await self._bookmarks.fetch(name[:_PROCESS_LENGTH], name)

    async def run(self) -> None:
        """Write down what there is to write, for ever."""
        while True:
            await self._work.wait()
            if not await self._written():
                await asyncio.sleep(AGAIN_SECONDS)

    async def close(self) -> None:
        """Write down what is left, if Redis takes it in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                while self._work.is_set() and await self._written():
                    pass

    def _asked(self, message: bytes) -> None:
        name = message.decode("ascii", "replace")
        if ledger := self._ledgers.get(name):
            self._save(ledger)
        elif name not in self._unsaved and len(self._denied) < UNSAVED_MOST:
            self._denied.add(name)
            self._work.set()

    def _save(self, ledger: Ledger) -> None:
        self._unsaved.pop(ledger.name, None)
        self._unsaved[ledger.name] = ledger.bookmark()
        if len(self._unsaved) > UNSAVED_MOST:
            del self._unsaved[next(iter(self._unsaved))]
        self._work.set()

    async def _written(self) -> bool:
        some: Mapping[str, Bookmark] = dict(list(self._unsaved.items())[:AT_ONCE])
        denied = set(self._denied)
        try:
            async with asyncio.timeout(self._seconds):
                if some:
                    await self._bookmarks.save(some)
                if denied:
                    await self._bookmarks.deny(denied)
        except (RedisError, *UNREACHABLE) as error:  # the timeout is among them
            log.debug("many.bookmarks_unsaved", error=str(error), waiting=len(self._unsaved))
            return False
        self._denied -= denied
        for name, written in some.items():
            if self._unsaved.get(name) is written:  # and not a later one
                del self._unsaved[name]
        if not self._unsaved and not self._denied:
            self._work.clear()
        self._leave()
        return True

    def _leave(self) -> None:
        if not self._ledgers and not self._unsaved:
            self._hub.unlisten(bookmarks_channel(self._process))
