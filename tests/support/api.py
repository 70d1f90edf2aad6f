"""The API in the test's own loop, behind a real uvicorn on a free port; and a hand that plays its worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx2
from milepost_api import database
from milepost_api.app import create_app
from milepost_api.server import Server, config, sockets
from milepost_api.services import Services
from milepost_api.settings import ApiSettings
from redis.asyncio import Redis

from milepost.job import NO_PROGRESS, JobError, Status
from milepost.log import Catalogue, Claim, JobLog, ReportCalls, RunningJob, TaskInfo, WorkerInfo
from tests.support.joblog import claimed
from tests.support.ports import free_port
from tests.support.wait import eventually

COUNT = TaskInfo(
    name="demo.count",
    description="Count.",
    params_schema={
        "type": "object",
        "properties": {"steps": {"type": "integer", "minimum": 1}, "note": {"type": "string"}},
        "required": ["steps"],
        "additionalProperties": False,
    },
    result_schema={"type": "integer"},
    queue="default",
    timeout_seconds=60,
    start_timeout_seconds=3600,
    max_attempts=2,
)


class _QuietServer(Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals belong to pytest here


@dataclass(frozen=True)
class Api:
    """A running API: a client of it, and what it works with."""

    http: httpx2.AsyncClient
    services: Services
    server: Server

    async def submit(self, **fields: Any) -> dict[str, Any]:
        """Submit a job, `demo.count` unless said otherwise, and return what the API answered."""
        body = {"task": COUNT.name, "params": {"steps": 3}, **fields}
        answer = await self.http.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        return cast("dict[str, Any]", answer.json())

    async def get(self, path: str, **params: Any) -> Any:
        answer = await self.http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()


def settings(folder: Path, redis_url: str, **given: Any) -> ApiSettings:
    return ApiSettings(redis_url=redis_url, data_dir=folder, port=free_port(), **given)


@asynccontextmanager
async def serving(wanted: ApiSettings) -> AsyncIterator[Api]:
    """Serve until the block ends."""
    await database.prepare(wanted)
    app = create_app(wanted)
    server = _QuietServer(config(app, wanted))
    running = asyncio.create_task(server.serve(sockets(wanted)))
    try:
        await eventually(lambda: server.started or running.done(), "the API serves")
        assert server.started, "the API did not start"
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{wanted.port}", timeout=30) as http:
            yield Api(http, app.state.services, server)
    finally:
        server.should_exit = True
        await running


async def announce(
    redis: Redis,
    *tasks: TaskInfo,
    worker: str = "w1",
    queue: str = "default",
    running: Sequence[RunningJob] = (),
) -> None:
    """Say what a worker would say of itself."""
    offered = tasks or (COUNT,)
    info = WorkerInfo(
        id=worker,
        host="h",
        pid=1,
        version="0",
        queues=[queue],
        tasks=[task.name for task in offered],
        concurrency=1,
        running=running,
        started_at="2026-01-01T00:00:00.000Z",
    )
    await Catalogue(redis).announce(info, offered, ttl_seconds=600)


class Hand:
    """Does with a job what a worker does, one step at a time."""

    def __init__(self, joblog: JobLog) -> None:
        self.log = joblog
        self._reports: ReportCalls | None = None

    async def begin(self, job_id: str, *, lease_seconds: float = 60) -> Claim:
        claim = await claimed(self.log, self.log._redis, job_id, task=COUNT.name, lease_seconds=lease_seconds)
        self._reports = self.log.reports(claim)
        return claim

    async def renew(self, *, lease_seconds: float) -> bool:
        """A heartbeat; says whether the job is still ours."""
        reply = await self.log.call(self._known.renew(round(lease_seconds * 1000)))
        return bool(reply == b"ok")

    async def say(self, level: str, message: str) -> None:
        await self._call(self._known.log(level, message, None))

    async def succeed(self, result: str = "3") -> None:
        await self._call(self._known.end(Status.SUCCEEDED, NO_PROGRESS, result=result))

    async def fail(self, error: JobError) -> None:
        await self._call(self._known.end(Status.FAILED, NO_PROGRESS, error=error))

    async def release(self) -> None:
        await self._call(self._known.release())

    async def run(self, job_id: str, result: str = "3") -> None:
        await self.begin(job_id)
        await self.succeed(result)

    @property
    def _known(self) -> ReportCalls:
        assert self._reports is not None, "begin first"
        return self._reports

    async def _call(self, call: Any) -> None:
        assert await self.log.call(call) == b"ok"


def paths(problem: dict[str, Any]) -> Sequence[str]:
    """Return the places of all errors of a problem."""
    return [error["path"] for error in problem["errors"]]
