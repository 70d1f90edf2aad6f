"""A worker process at work: what it is made of, and how it leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from arq.connections import ArqRedis

from milepost.background import end
from milepost.log import Call, Catalogue, Claim, JobLog, RunningJob
from milepost.redis import connect, connect_subscriber, connect_sync
from milepost.redis.fitness import Fitness
from milepost.tasks import Task
from milepost.upkeep import ended, kept_running
from milepost_worker.announcer import Announcer
from milepost_worker.arqjson import dump, load
from milepost_worker.attempt import Attempt
from milepost_worker.courier import Courier
from milepost_worker.listener import Listener
from milepost_worker.metrics import SILENT, Metrics
from milepost_worker.picker import Picker
from milepost_worker.presence import Presence, new_worker_id
from milepost_worker.processes import ForkServer, launched
from milepost_worker.room import Room
from milepost_worker.settings import WorkerSettings

log = structlog.get_logger("milepost.worker")

LAST_REPORT_SECONDS = 3.0
"""What the hard deadline still gives the reports of jobs that are handed back."""


class Service:
    """Runs attempts until told to leave. Opened by `open_service`, which owns its connections and tasks."""

    def __init__(
        self,
        settings: WorkerSettings,
        tasks: Mapping[str, Task[..., Any]],
        joblog: JobLog,
        courier: Courier,
        metrics: Metrics = SILENT,
    ) -> None:
        self.id = new_worker_id()
        self._metrics = metrics
        self._settings, self._tasks, self._joblog, self._courier = settings, tasks, joblog, courier
        self.attempts: dict[str, Attempt] = {}
        self.picker: Picker  # set by `open_service`: the picker calls back
        self.processes: ForkServer | None = None
        self._leaving = asyncio.Event()
        self._hurry = asyncio.Event()

    async def attempt(self, ctx: dict[Any, Any], claim: Claim) -> None:
        """Run one attempt: the function that arq's worker knows."""
        attempt = Attempt(
            claim,
            self._tasks[claim.task],
            self._joblog,
            self._courier,
            stop_grace_seconds=self._settings.stop_grace_seconds,
            result_limit_bytes=self._settings.result_limit_bytes,
            processes=self.processes,
            process_memory_limit_mb=self._settings.process_memory_limit_mb,
        )
        self.attempts[claim.job_id] = attempt
        if self._hurry.is_set():
            attempt.stop("released")  # claimed while everything was being handed back
        self._metrics.started(claim.task, claim.waited_seconds)
        outcome, began = "lost", time.monotonic()  # until it is reported
        try:
            outcome = await attempt.run()
        finally:
            self._metrics.ended(claim.task, outcome, time.monotonic() - began)
            if self.attempts.get(claim.job_id) is attempt:
                del self.attempts[claim.job_id]

    def cover(self) -> Call | None:
        """Return the heartbeat of attempts that Redis has begun for this worker and it may not know of yet."""
        number = self.picker.awaited
        if number is None:
            return None
        return self._joblog.cover(self.id, number, lease_seconds=self._settings.lease_seconds)

    def running(self) -> list[RunningJob]:
        """Return the attempts under way, the oldest first."""
        return [
            RunningJob(id=job_id, task=attempt.claim.task, attempt=attempt.claim.attempt, since=attempt.since)
            for job_id, attempt in list(self.attempts.items())  # at once: another thread asks
        ]

    def cancel(self, job_id: str) -> None:
        if attempt := self.attempts.get(job_id):
            attempt.stop("cancelled")

    def hand_back(self) -> None:
        """Release what runs without the event loop, which may be blocked: the process is about to be ended."""
        self._courier.hand_back(LAST_REPORT_SECONDS)

    def leave(self) -> None:
        """First call: take no more jobs, let the running ones finish. Second: hand them back at once."""
        if self._leaving.is_set():
            log.info("worker.hastens", running=len(self.attempts))
            self._hasten()
            return
        seconds = self._settings.drain_seconds
        log.info("worker.drains", running=len(self.attempts), seconds=seconds)
        self._leaving.set()
        self.picker.drain()
        asyncio.get_running_loop().call_later(seconds, self._hasten)

    def _hasten(self) -> None:
        self._hurry.set()
        self.picker.hurry()
        for attempt in list(self.attempts.values()):
            attempt.stop("released")

    async def work(self) -> None:
        """Pick up jobs until told to leave, then drain: jobs that do not finish in time are handed back.

        Or until the picker has had enough of them: then those that run finish, however long they take.
        """
        await self.picker.run()
        await self.picker.idle()


@asynccontextmanager
async def open_service(
    settings: WorkerSettings,
    tasks: Mapping[str, Task[..., Any]],
    *,
    modules: Sequence[str] = (),
    metrics: Metrics = SILENT,
) -> AsyncIterator[Service]:
    """Everything a worker needs lives exactly as long as this block. `modules` are where the tasks come from."""
    redis = connect(settings.redis_url)
    pool = ArqRedis(
        pool_or_conn=connect(settings.redis_url).connection_pool, job_serializer=dump, job_deserializer=load
    )
    subscriber = connect_subscriber(settings.redis_url)
    joblog = JobLog(
        redis,
        history_limit=settings.history_limit_events,
        retention_seconds=settings.redis_retention_seconds,
    )
    courier = Courier(
        connect_sync(settings.redis_url),
        lease_seconds=settings.lease_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        metrics=metrics,
    )
    service = Service(settings, tasks, joblog, courier, metrics)
    service.picker = Picker(
        pool,
        joblog,
        service.id,
        settings.queues,
        concurrency=settings.concurrency,
        poll_seconds=settings.poll_seconds,
        lease_seconds=settings.lease_seconds,
        room=Room(tasks),
        run=service.attempt,
        most=settings.max_jobs_before_exit,
        burst=settings.burst,
    )
    courier.cover = service.cover
    listener = Listener(
        subscriber,
        service.id,
        settings.queues,
        poll_seconds=settings.poll_seconds,
        wake=service.picker.wake,
        cancel=service.cancel,
    )
    announcing = connect(settings.redis_url)
    presence = Presence(
        Catalogue(announcing),
        service.id,
        list(tasks.values()),
        queues=settings.queues,
        modules=modules,
        concurrency=settings.concurrency,
        running=service.running,
        draining=lambda: service.picker.draining,
    )
    if any(task.options.process for task in tasks.values()):
        service.processes = await launched(
            modules, settings.model_dump(include={"log_level", "log_format", "capture_logs_level"})
        )
    announcer = Announcer(presence, announcing)
    courier.start()
    announcer.start()
    listening = asyncio.create_task(kept_running("listener", listener.run))
    looking = asyncio.create_task(kept_running("fitness of redis", Fitness(redis).run))
    try:
        yield service
    finally:
        await end(listening, looking)
        if service.processes is not None:
            await service.processes.close()
        for thread in (announcer, courier):
            thread.stop()
        await ended(announcer, courier, within_seconds=5.0)
        for client in (redis, pool, subscriber):
            await client.aclose()
        await pool.connection_pool.disconnect()  # redis-py leaves a pool that it was given to whoever made it
