"""An API in the test's own loop, whose jobs the test plays, for pages that look on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milepost.log import JobLog
from milepost.redis import connect
from tests.support.api import Api, serving, settings
from tests.support.jobs import PlayedJob
from tests.support.middlebox import Middlebox
from tests.support.redis import RedisServer


@dataclass(frozen=True)
class Stage:
    """The API and the log behind it. Pages reach it through a middlebox."""

    api: Api
    joblog: JobLog
    redis_server: RedisServer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api.services.settings.port}"

    @property
    def open_streams(self) -> int:
        return self.api.services.hub.streams

    def box(self) -> Middlebox:
        return Middlebox(self.url)

    async def job(self) -> PlayedJob:
        return await PlayedJob.running(self.joblog)

    async def last(self, job: PlayedJob) -> int:
        """Return the number of a job's newest event."""
        return (await self.joblog.read(job.id)).cursor.seq

    async def says(self, job: PlayedJob, *words: str) -> int:
        """Let the job say this, and return the number of its newest event then."""
        for word in words:
            await job.log(word)
        return await self.last(job)

    async def ends(self, job: PlayedJob) -> int:
        await job.end()
        return await self.last(job)


@asynccontextmanager
async def staged(folder: Path, **given: Any) -> AsyncIterator[Stage]:
    """Run one until the block ends, pinging every second."""
    with RedisServer(folder / "redis") as server:
        async with (
            connect(server.url) as redis,
            serving(settings(folder, server.url, **{"ping_seconds": 1, **given})) as api,
        ):
            yield Stage(api, JobLog(redis), server)
