"""What workers say of themselves in Redis: which tasks they offer, that they are there."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

from milepost.codec import dumps
from milepost.log.keys import TASKS, WORKER_INFO, WORKERS

if TYPE_CHECKING:
    from redis.asyncio import Redis


ANNOUNCEMENT_HOLDS_SECONDS = 6.0
"""How long a worker that died still counts as there: short enough for whoever waits for one to hear of it within 10 s,

long enough for two announcements in a row to be lost.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInfo:
    """One entry of the catalogue. The schemas are JSON Schema 2020-12; times are seconds."""

    name: str
    description: str = ""
    params_schema: Mapping[str, Any] = field(default_factory=dict)
    result_schema: Mapping[str, Any] = field(default_factory=dict)
    queue: str = "default"
    timeout_seconds: float | None = None
    start_timeout_seconds: float | None = None
    max_attempts: int = 1
    concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """An attempt that a worker has under way, and since when; `id` is None for whom the job is not to be seen by."""

    id: str | None
    task: str = ""
    attempt: int = 0
    since: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How busy a worker is: the part of its slots in use, 0 to 1, the percent of one core that its process takes,

    its resident memory, and the load average of its host over the last minute.
    """

    slots: float = 0.0
    cpu_percent: float = 0.0
    memory_bytes: int = 0
    host: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """One worker process as its last announcement shows it. `state` is `running` or `draining`.

    `limits`: task name → how many attempts of it this worker runs at once, of the tasks that have a limit.
    """

    id: str
    host: str
    pid: int
    version: str
    queues: Sequence[str]
    tasks: Sequence[str]
    concurrency: int
    started_at: str
    limits: Mapping[str, int] = field(default_factory=dict)
    modules: Sequence[str] = ()
    state: str = "running"
    running: Sequence[RunningJob] = ()
    load: Load = Load()
    last_seen_at: str = ""


class Catalogue:
    """Announce a worker, and read who is there. A worker that stops announcing is gone after its `ttl`."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def announce(self, worker: WorkerInfo, tasks: Sequence[TaskInfo], *, ttl_seconds: float) -> None:
        """Say that `worker` is here for `ttl_seconds` and offers `tasks`. Task entries stay after it leaves,

        so that a job may be submitted while all its workers restart.
        """
        now = await self._now_ms()
        async with self._redis.pipeline(transaction=True) as pipe:
            if tasks:
                pipe.hset(TASKS, mapping={task.name: dumps(asdict(task)) for task in tasks})
            pipe.hset(WORKER_INFO, worker.id, dumps(asdict(worker)))
            pipe.zadd(WORKERS, {worker.id: now + round(ttl_seconds * 1000)})
            await pipe.execute()

    async def leave(self, worker_id: str) -> None:
        """Say that the worker is gone."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.zrem(WORKERS, worker_id)
            pipe.hdel(WORKER_INFO, worker_id)
            await pipe.execute()

    async def tasks(self) -> dict[str, TaskInfo]:
        """Return every task that was ever announced, by name."""
        raw = await cast("Awaitable[dict[bytes, bytes]]", self._redis.hgetall(TASKS))
        return {name.decode(): _known(TaskInfo, json.loads(entry)) for name, entry in sorted(raw.items())}

    async def workers(self) -> list[WorkerInfo]:
        """Return the workers whose announcement still holds; forgets the others."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.time()
            pipe.zrange(WORKERS, 0, -1, withscores=True)
            pipe.hgetall(WORKER_INFO)
            (seconds, micros), ends, raw = await pipe.execute()
        now = seconds * 1000 + micros // 1000
        for gone in [worker for worker, end in ends if end <= now]:
            raw.pop(gone, None)
            await self.leave(gone.decode())
        return [_worker(json.loads(entry)) for _, entry in sorted(raw.items())]

    async def _now_ms(self) -> int:
        seconds, micros = await self._redis.time()
        return int(seconds) * 1000 + int(micros) // 1000


def _worker(entry: dict[str, Any]) -> WorkerInfo:
    running = [_known(RunningJob, one) for one in entry.get("running", ())]
    return cast(
        "WorkerInfo",
        _known(WorkerInfo, entry | {"running": running, "load": _known(Load, entry.get("load", {}))}),
    )


def _known(cls: Any, entry: Mapping[str, Any]) -> Any:
    """Make one of what an announcement says; what only a newer version knows is left out."""
    return cls(**{name: entry[name] for name in cls.__dataclass_fields__ if name in entry})
