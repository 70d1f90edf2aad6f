"""A job without a worker: the test itself says what happens to it, through the log that workers use."""

from __future__ import annotations

from typing import Any, Self

from milepost.ids import new_job_id
from milepost.job import NO_PROGRESS, Progress, Status
from milepost.log import Claim, JobLog, NewJob
from tests.support.joblog import claimed

AT = "2026-11-21T03:30:00.000Z"


class PlayedJob:
    """One job in the log. `await PlayedJob.running(joblog)`, then `progress`, `log`, `output`, `end`."""

    def __init__(self, joblog: JobLog, job_id: str, claim: Claim | None = None) -> None:
        self.id, self._log, self._claim = job_id, joblog, claim
        self._reports = joblog.reports(claim) if claim else None

    @classmethod
    async def queued(cls, joblog: JobLog, job_id: str | None = None) -> Self:
        """Create a job that waits: seq 1."""
        job_id = job_id or new_job_id()
        await joblog.create(NewJob(id=job_id, task="played", created_at=AT))
        return cls(joblog, job_id)

    @classmethod
    async def running(cls, joblog: JobLog, job_id: str | None = None) -> Self:
        """Create a job and begin its first attempt: seq 2."""
        waiting = await cls.queued(joblog, job_id)
        claim = await claimed(
            joblog, joblog._redis, waiting.id, f"player-{waiting.id}", task="played", lease_seconds=600
        )
        return cls(joblog, waiting.id, claim)

    async def progress(self, current: float) -> None:
        await self._say("progress", Progress(current=current))

    async def log(self, message: str) -> None:
        await self._say("log", "info", message, None)

    async def output(self, index: int, data: Any) -> None:
        await self._say("output", index, data)

    async def end(self) -> None:
        await self._say("end", Status.SUCCEEDED, NO_PROGRESS)

    async def _say(self, what: str, *args: Any) -> None:
        assert self._reports is not None, "nobody runs this job"
        answer = await self._log.call(getattr(self._reports, what)(*args))
        assert answer == b"ok", answer
