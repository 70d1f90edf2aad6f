"""Says that this worker is here, what it offers and what it runs."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil
import structlog
from redis.exceptions import RedisError

from milepost import times
from milepost.log import Catalogue, Load, RunningJob, TaskInfo, WorkerInfo
from milepost.log.catalogue import ANNOUNCEMENT_HOLDS_SECONDS
from milepost.redis import UNREACHABLE
from milepost.tasks import Task

log = structlog.get_logger("milepost.presence")

ANNOUNCE_SECONDS = 2.0


def new_worker_id() -> str:
    """Return host, pid and a random part: readable, and never the same again after a restart."""
    host = "".join(c if c.isalnum() or c in "-." else "-" for c in socket.gethostname())[:48]
    return f"{host}-{os.getpid()}-{secrets.token_hex(3)}"


def describe(task: Task[..., Any]) -> TaskInfo:
    return TaskInfo(
        name=task.name,
        description=task.description,
        params_schema=task.params_schema,
        result_schema=task.result_schema,
        queue=task.options.queue,
        timeout_seconds=task.options.timeout,
        start_timeout_seconds=task.options.start_timeout,
        max_attempts=task.options.max_attempts,
        concurrency=task.options.concurrency,
    )


class Presence:
    """Announces every few seconds; the announcement ends by itself when the process does."""

    def __init__(
        self,
        catalogue: Catalogue,
        worker_id: str,
        tasks: Sequence[Task[..., Any]],
        *,
        queues: Sequence[str],
        modules: Sequence[str],
        concurrency: int,
        running: Callable[[], Sequence[RunningJob]],
        draining: Callable[[], bool],
    ) -> None:
        self._catalogue, self._running, self._draining = catalogue, running, draining
        self._process = psutil.Process()
        self._process.cpu_percent()  # it measures from one call to the next
        self._tasks = [describe(task) for task in tasks]
        self._info: dict[str, Any] = {
            "id": worker_id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": _version(),
            "queues": list(queues),
            "modules": list(modules),
            "tasks": [task.name for task in self._tasks],
            "concurrency": concurrency,
            "limits": {task.name: task.concurrency for task in self._tasks if task.concurrency is not None},
            "started_at": times.now(),
        }

    async def run(self) -> None:
        """Announce for ever."""
        while True:
            await self.announce()
            await asyncio.sleep(ANNOUNCE_SECONDS)

    async def announce(self) -> None:
        running = list(self._running())
        info = WorkerInfo(
            **self._info,
            state="draining" if self._draining() else "running",
            running=running,
            load=self._load(len(running)),
            last_seen_at=times.now(),
        )
        try:
            await self._catalogue.announce(info, self._tasks, ttl_seconds=ANNOUNCEMENT_HOLDS_SECONDS)
        except (RedisError, *UNREACHABLE) as error:
            log.debug("presence.redis_trouble", error=str(error))  # the picker says it louder

    def _load(self, running: int) -> Load:
        with self._process.oneshot():
            return Load(
                slots=running / self._info["concurrency"],
                cpu_percent=self._process.cpu_percent(),
                memory_bytes=self._process.memory_info().rss,
                host=psutil.getloadavg()[0],
            )

    async def leave(self) -> None:
        try:
            await self._catalogue.leave(self._info["id"])
        except (RedisError, *UNREACHABLE) as error:
            log.debug("presence.redis_trouble", error=str(error))  # the announcement runs out by itself


def _version() -> str:
    try:
        return version("milepost")
    except PackageNotFoundError:
        return "unknown"
