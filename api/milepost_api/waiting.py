"""Wait until a job has moved on, for those who poll: the hub hears of it, Redis is not asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from milepost.codec import Cursor
from milepost.errors import JobNotFound
from milepost_api.hub import Hub
from milepost_api.hub.frames import Frame, Place
from milepost_api.hub.topic import Topic

NOT_THERE_SECONDS = 0.5  # how often to look for a job that was accepted and has not reached the log


async def wait_for_change(
    hub: Hub, job_id: str, after: Cursor | None, timeout_seconds: float, *, place: Place | None = None
) -> None:
    """Return when the job may be past `after` or has ended, or when the time is over: the caller looks again.

    With `place`, where the caller saw the job stand, also when it stands elsewhere. `after` is None for a job that the
    log did not have yet. At once while the process leaves. Raises `StoreUnavailable`.
    """

    def is_news(topic: Topic, stood: Frame | None) -> bool:
        return _is_past(topic.cursor, after) or (
            place is not None and _stands_elsewhere(topic.standing, stood, place)
        )

    await _wait(hub, job_id, timeout_seconds, is_news)


async def wait_for_end(hub: Hub, job_id: str, timeout_seconds: float) -> None:
    """Do the same, and return only for an end: of the job, of the time, or of this process."""
    await _wait(hub, job_id, timeout_seconds, lambda *_: False)


async def _wait(
    hub: Hub, job_id: str, timeout_seconds: float, is_news: Callable[[Topic, Frame | None], bool]
) -> None:
    """`is_news` is asked of the topic, and of where the job stood at first."""
    try:
        topic = await hub.watch(job_id)
    except JobNotFound:
        await hub.memory.recall(job_id)  # brings it to the log
        await asyncio.sleep(min(NOT_THERE_SECONDS, timeout_seconds))
        return
    stood = topic.standing
    try:
        async with asyncio.timeout(timeout_seconds):
            while not (topic.done or topic.gone or hub.draining.is_set() or is_news(topic, stood)):
                await topic.pulse.wait()
    except TimeoutError:
        pass  # nothing happened: that is an answer
    finally:
        hub.leave(topic)


def _is_past(here: Cursor, after: Cursor | None) -> bool:
    """Behind is not past: the topic may learn a moment later what the caller has read already."""
    return after is None or here.epoch != after.epoch or here.seq > after.seq


def _stands_elsewhere(now: Frame | None, before: Frame | None, place: Place) -> bool:
    """What was known before the caller looked may be older than what it saw."""
    return now is not None and now is not before and now.place != place
