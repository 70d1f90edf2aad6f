"""GET /v1/tasks and /v1/workers: what can be asked for, and who is there."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass

from fastapi import APIRouter
from starlette.responses import Response

from milepost.log import TaskInfo, WorkerInfo
from milepost_api.lookup import redis_answers
from milepost_api.responses import JsonResponse
from milepost_api.services import ServicesDep

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


@router.get("/tasks", summary="List tasks", response_class=JsonResponse, responses={200: {"model": TaskList}})
async def list_tasks(services: ServicesDep) -> Response:
    """List every task that was announced, with the JSON Schemas of its params and its result."""
    async with redis_answers(services.settings.redis_answer_seconds):
        tasks, workers = await services.catalogue.tasks(), await services.catalogue.workers()
    offering = Counter(name for worker in workers for name in set(worker.tasks))
    items = [asdict(task) | {"workers": offering[name]} for name, task in tasks.items()]
    return JsonResponse({"items": items})


@router.get(
    "/workers", summary="List workers", response_class=JsonResponse, responses={200: {"model": WorkerList}}
)
async def list_workers(services: ServicesDep) -> Response:
    """List the workers that are there at this moment."""
    async with redis_answers(services.settings.redis_answer_seconds):
        workers = await services.catalogue.workers()
    return JsonResponse({"items": [asdict(worker) for worker in workers]})
