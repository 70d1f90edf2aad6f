"""Where waiting jobs stand: looked up for all that are watched at once, told to those who watch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from milepost import times
from milepost.job import WAITING, Job
from milepost.log import JobLog, Place
from milepost_api.hub.frames import standing
from milepost_api.hub.topic import Topic

AT_ONCE = 1000
"""Jobs looked up in one round trip."""

Explain = Callable[[Sequence[Job]], Awaitable[list[Job]]]
"""Returns the jobs; those that stand in their queue say what they wait for."""


async def nothing_known(jobs: Sequence[Job]) -> list[Job]:
    """Explain nothing, for want of somebody who knows the workers."""
    return list(jobs)


class Line:
    """Keeps what topics say of their place in the queue."""

    def __init__(self, joblog: JobLog, explain: Explain) -> None:
        self._joblog, self.explain = joblog, explain

    async def look(self, topics: Sequence[Topic]) -> None:
        """Look once, and wake the readers of the jobs that stand elsewhere, or for another reason."""
        waiting = [topic for topic in topics if topic.readers and topic.may_wait and not topic.done]
        for start in range(0, len(waiting), AT_ONCE):
            await self._look(waiting[start : start + AT_ONCE])

    async def _look(self, topics: Sequence[Topic]) -> None:
        found = zip(topics, await self._joblog.places([topic.job_id for topic in topics]), strict=True)
        known = [(topic, place) for topic, place in found if place is not None]
        jobs = await self.explain([_job(topic.job_id, place) for topic, place in known])
        for (topic, place), job in zip(known, jobs, strict=True):
            # What was read of another moment than the topic has reached could be told after its contrary.
            if place.cursor == topic.cursor:
                topic.stands(standing(job, times.now()) if place.status in WAITING else None)


def _job(job_id: str, place: Place) -> Job:
    return Job(
        id=job_id,
        task=place.task,
        queue=place.queue,
        status=place.status,
        queue_position=place.position,
    )
