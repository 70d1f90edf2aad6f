"""GET /v1/tasks, /v1/queues and /v1/workers: what can be asked for, what waits, and who is there.

These are facts of the installation, whoever asks: a job waits behind those of all tenants, for workers of all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from fastapi import APIRouter
from starlette.responses import Response

from milepost.log import TaskInfo, WorkerInfo
from milepost.times import utc_now
from milepost_api.lookup import redis_answers
from milepost_api.records import QueueCounts
from milepost_api.responses import JsonResponse
from milepost_api.roster import takes_jobs
from milepost_api.services import ServicesDep, TenantDep

router = APIRouter(tags=["operations"])


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEntry(TaskInfo):
    """A task as it was announced; `workers` is how many of those who are there offer it."""

    workers: int = 0


@dataclass(frozen=True, slots=True)
class TaskList:
    items: list[TaskEntry]


@dataclass(frozen=True, slots=True)
class WorkerList:
    items: list[WorkerInfo]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueEntry:
    """What a queue holds, how long the job that waits longest has waited, and how many workers take jobs from it."""

    name: str
    waiting: int
    scheduled: int
    running: int
    oldest_waiting_seconds: float | None
    workers: int


@dataclass(frozen=True, slots=True)
class QueueList:
    items: list[QueueEntry]


@router.get("/tasks", summary="List tasks", response_class=JsonResponse, responses={200: {"model": TaskList}})
async def list_tasks(services: ServicesDep) -> Response:
    """List every task that was announced, with the JSON Schemas of its params and its result."""
    async with redis_answers(services.settings.redis_answer_seconds):
        tasks, workers = await services.catalogue.tasks(), await services.catalogue.workers()
    offering = Counter(name for worker in workers for name in set(worker.tasks))
    items = [asdict(task) | {"workers": offering[name]} for name, task in tasks.items()]
    return JsonResponse({"items": items})


@router.get(
    "/queues", summary="List queues", response_class=JsonResponse, responses={200: {"model": QueueList}}
)
async def list_queues(services: ServicesDep) -> Response:
    """List every queue that holds a job, that a worker listens on, or that a task uses unless told otherwise."""
    async with redis_answers(services.settings.redis_answer_seconds):
        tasks, workers = await services.catalogue.tasks(), await services.roster.workers()
    now = utc_now()
    counts = {one.name: one for one in await services.store.queues(now)}
    listening = Counter(name for worker in workers if takes_jobs(worker) for name in set(worker.queues))
    names = sorted({*counts, *listening, *(task.queue for task in tasks.values())})
    items = [
        _queue(counts.get(name) or QueueCounts(name, 0, 0, 0, None), listening[name], now) for name in names
    ]
    return JsonResponse({"items": [asdict(item) for item in items]})


def _queue(counts: QueueCounts, workers: int, now: datetime) -> QueueEntry:
    waited = None if counts.oldest is None else max(0.0, (now - counts.oldest).total_seconds())
    return QueueEntry(
        name=counts.name,
        waiting=counts.waiting,
        scheduled=counts.scheduled,
        running=counts.running,
        oldest_waiting_seconds=waited,
        workers=workers,
    )


@router.get(
    "/workers", summary="List workers", response_class=JsonResponse, responses={200: {"model": WorkerList}}
)
async def list_workers(services: ServicesDep, tenant: TenantDep) -> Response:
    """List the workers that are there at this moment; other tenants' jobs that they run are not named."""
    async with redis_answers(services.settings.redis_answer_seconds):
        workers = await services.catalogue.workers()
        running = [one.id for worker in workers for one in worker.running if one.id is not None]
        owners = await services.log.tenants(running)
    own = {job_id for job_id, owner in zip(running, owners, strict=True) if owner == tenant}
    return JsonResponse({"items": [asdict(_shown(worker, own)) for worker in workers]})


def _shown(worker: WorkerInfo, own: Collection[str]) -> WorkerInfo:
    """Return the worker as those see it whose jobs are `own`: busy with the others, too."""
    running = [one if one.id in own else replace(one, id=None) for one in worker.running]
    return replace(worker, running=running)
