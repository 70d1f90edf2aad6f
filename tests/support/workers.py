"""Real worker processes on a real Redis, without an API: the job log submits, and a loop here takes care."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from milepost import times
from milepost.background import end
from milepost.codec import Cursor, dumps
from milepost.ids import new_job_id
from milepost.job import Job
from milepost.log import Catalogue, JobLog, NewJob
from tests.support.process import Process
from tests.support.wait import eventually

TASKS = "tests.support.tasks.various"
LEASE_SECONDS, SILENCE_SECONDS = 2.0, 1.0


class Fleet:
    """Workers, the jobs given to them, and what became of those. Everything in `folder`."""

    def __init__(self, redis: Redis, url: str, folder: Path) -> None:
        self.redis, self.url, self.folder = redis, url, folder
        self.log = JobLog(redis)
        self.workers: list[Process] = []
        self._files = 0

    def file(self) -> Path:
        """Return the path of a file that is not there yet."""
        self._files += 1
        return self.folder / f"file-{self._files}"

    def start(self, *arguments: str, url: str | None = None, **settings: object) -> Process:
        """Start a worker with options (and the tests' tasks) or with modules, and `MILEPOST_*` settings."""
        name = f"worker-{len(self.workers) + 1}"
        given = {
            "redis_url": url or self.url,
            "lease_seconds": LEASE_SECONDS,
            "silence_seconds": SILENCE_SECONDS,
            "stop_grace_seconds": 1,
            **settings,
        }
        environment = {f"MILEPOST_{key.upper()}": str(value) for key, value in given.items()}
        modules = (TASKS,) if not arguments or arguments[0].startswith("-") else ()
        process = Process.python(
            name,
            "-m",
            "milepost_worker",
            *arguments,
            *modules,
            log=self.folder / f"{name}.log",
            settings=environment,
        ).start()
        self.workers.append(process)
        return process

    async def worker(self, *modules: str, url: str | None = None, **settings: object) -> Process:
        """Start a worker with `MILEPOST_*` settings and wait until it is there."""
        process = self.start(*(modules or (TASKS,)), url=url, **settings)
        name = process.name
        await eventually(lambda: self._announced(process), f"{name} is there")
        return process

    async def _announced(self, process: Process) -> bool:
        process.check_alive()
        return any(worker.pid == process.pid for worker in await Catalogue(self.redis).workers())

    async def submit(self, task: str, params: Mapping[str, Any] | None = None, **options: Any) -> str:
        """Hand a job to the workers and return its id."""
        job = NewJob(
            id=options.pop("id", None) or new_job_id(),
            task=task,
            params=dumps(dict(params or {})),
            created_at=times.now(),
            **options,
        )
        assert await self.log.create(job)
        return job.id

    async def job(self, job_id: str) -> Job:
        return (await self.log.read(job_id)).job

    async def until(self, job_id: str, what: Any, message: str) -> Job:
        """Wait until `what(job)` is true and return the job."""

        async def found() -> Job | None:
            job = await self.job(job_id)
            return job if what(job) else None

        job = await eventually(found, f"job {job_id} {message}", ignoring=(RedisError, OSError))
        assert job is not None
        return job

    async def running(self, job_id: str, marks: Path | None = None) -> Job:
        """Wait until an attempt runs, and, with `marks`, until its task has begun."""
        job = await self.until(job_id, lambda job: job.status == "running", "runs")
        if marks is not None:
            await eventually(lambda: self.ran(marks), "the task has begun")
        return job

    async def ended(self, job_id: str) -> Job:
        return await self.until(job_id, lambda job: job.done, "ends")

    async def run(self, task: str, params: Mapping[str, Any] | None = None, **options: Any) -> Job:
        """Submit a job and wait for its end."""
        return await self.ended(await self.submit(task, params, **options))

    async def events(self, job_id: str) -> list[dict[str, Any]]:
        """Return the whole history, and check what holds for every one: dense, in order, one end at the end."""
        view = await self.log.read(job_id)
        after, events = Cursor(view.cursor.epoch, 0), list[dict[str, Any]]()
        while after.seq < view.cursor.seq:
            page = await self.log.read(job_id, after)
            assert page.gap is None
            events += [json.loads(entry.data) for entry in page.entries]
            after = Cursor(after.epoch, events[-1]["seq"])
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        ends = [event for event in events if event["type"] == "end"]
        assert ends in ([], events[-1:])
        return events

    async def statuses(self, job_id: str) -> list[tuple[str, int]]:
        """Return the statuses it went through, each with its attempt."""
        events = await self.events(job_id)
        return [(one["status"], one["attempt"]) for one in events if one["type"] in {"status", "end"}]

    def ran(self, marks: Path, what: str = "ran") -> list[int]:
        """Return the pids of the processes that say they did this."""
        lines = marks.read_text("utf-8").splitlines() if marks.exists() else []
        return [int(pid) for done, pid in (line.split() for line in lines) if done == what]

    async def leftovers(self) -> list[bytes]:
        """Return arq's keys and waiting deliveries: none once all jobs have ended."""
        keys = [key async for key in self.redis.scan_iter("arq:*")]
        return keys + [key async for key in self.redis.scan_iter("mp:queue:*")] + await self._leases()

    async def _leases(self) -> list[bytes]:
        return list(await self.redis.zrange("mp:leases", 0, -1))

    @contextlib.asynccontextmanager
    async def caretaker(self) -> AsyncIterator[None]:
        """Look after old leases, as an API process would."""

        async def care() -> None:
            while True:
                with contextlib.suppress(RedisError, OSError):  # Redis is away, as some tests want it
                    await self._care()
                await asyncio.sleep(0.1)

        caring = asyncio.create_task(care())
        try:
            yield
        finally:
            await end(caring)

    async def _care(self) -> None:
        times: dict[str, Any] = {"lease_seconds": LEASE_SECONDS, "silence_seconds": SILENCE_SECONDS}
        for job_id in await self.log.old_leases(**times):
            await self.log.lapse(job_id, **times)
