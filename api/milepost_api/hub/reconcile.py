"""Compares what watched jobs have told with their histories: a lost message has no other witness if it was the last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog
from redis.exceptions import RedisError

from milepost.codec import Cursor
from milepost.log import JobLog
from milepost.redis import UNREACHABLE
from milepost_api.hub.times import Times
from milepost_api.hub.topic import Topic

AT_ONCE = 100
"""Jobs compared in one round trip: neither Redis nor this process is held up for long."""

log = structlog.get_logger("milepost.hub")


class Reconciler:
    """Looks at all of `watched()`, and calls `differs` with each that is not where its history is."""

    def __init__(
        self,
        joblog: JobLog,
        watched: Callable[[], list[Topic]],
        differs: Callable[[Topic], None],
        times: Times,
    ) -> None:
        self._joblog, self._watched, self._differs, self._times = joblog, watched, differs, times
        self._seen: dict[Topic, Cursor] = {}
        """Where each stood when it was looked at last."""

    async def run(self) -> None:
        """Look at those that were silent, again and again: who has just told something without a hole can wait."""
        while True:
            watched = self._watched()
            silent = [topic for topic in watched if self._seen.get(topic) == topic.cursor]
            self._seen = {topic: topic.cursor for topic in watched}
            portions = _portions(silent)
            rest = self._times.reconcile / max(1, len(portions))
            for portion in portions:
                await self._compare(portion)
                await asyncio.sleep(rest)
            if not portions:
                await asyncio.sleep(rest)

    async def look(self) -> None:
        """Look at all of them now: something was missed."""
        for portion in _portions(self._watched()):
            await self._compare(portion)

    async def _compare(self, topics: Sequence[Topic]) -> None:
        try:
            async with asyncio.timeout(self._times.answer):
                places = await self._joblog.positions([topic.job_id for topic in topics])
        except (RedisError, *UNREACHABLE) as error:
            log.debug("hub.reconcile_failed", error=str(error))  # the reader reports the same outage
            return
        for topic, place in zip(topics, places, strict=True):
            if place is None or Cursor(place[0], place[1]) != topic.cursor:
                self._differs(topic)


def _portions(topics: Sequence[Topic]) -> list[Sequence[Topic]]:
    return [topics[start : start + AT_ONCE] for start in range(0, len(topics), AT_ONCE)]
