"""Run a task in a test: no Redis, no worker, and the rules of both.

`run = run_task(resize, {"folder": "x"})`, or `await run_task_async(...)` in a coroutine. Params are checked and
converted, progress, steps and percent are made, the outcome is judged and the result written as JSON by the very
code that a worker uses. What differs: a `def` task runs in the thread of the test, one with `process=True` in
its process, nothing is timed out, and every report is an event (a worker sends about ten a second).
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any, Literal

from milepost.codec import dumps
from milepost.events import Ended, Event, Logged, Output, Progressed, StatusChanged, to_wire
from milepost.fold import fold
from milepost.job import Job, JobError, Progress, Status
from milepost.outcome import (
    Again,
    End,
    Outcome,
    Raised,
    Returned,
    Stop,
    Verdict,
    arguments_of,
    judge,
)
from milepost.reporting import HERE, ContextExecutor, Place, Reporter, Stopped
from milepost.tasks import Options, Task

JOB_ID = "00000000-0000-7000-8000-000000000000"
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
"""The moment of a clock that stands at 0."""

Reason = Literal["cancelled", "timeout", "released"]
CancelAfter = int | Callable[[Event], bool] | None


@dataclass(slots=True)
class Clock:
    """A clock that moves when it is told to."""

    now: float = 0.0

    def advance(self, seconds: float) -> None:
        self.now += seconds

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, kw_only=True)
class TaskRun:
    """One attempt, as it went."""

    status: str
    """What the job is now: succeeded, failed, cancelled, `retrying`, or `queued` when it was handed back."""
    result: Any
    """The result as clients read it: written as JSON by the return hint, and read again."""
    error: JobError | None
    """What clients are told of a failure, with the traceback that operators see."""
    exception: BaseException | None
    """What the task raised."""
    retry_after: float | None
    """Seconds before the next attempt, None when none follows; the longest that the jitter allows."""
    happened: tuple[Event, ...] = field(repr=False)
    checkpoint: Any
    """What the next attempt would be given."""
    job: Job = field(repr=False)
    """The job as a client sees it that has followed all events."""

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events as they are on the wire, numbered from 1."""
        return [to_wire(event) for event in self.happened]

    @property
    def progress(self) -> list[Progress]:
        """Every progress that was reported, the latest last."""
        return [event.progress for event in self.happened if isinstance(event, Progressed)]

    @property
    def logs(self) -> list[Logged]:
        return [event for event in self.happened if isinstance(event, Logged)]

    @property
    def outputs(self) -> list[Any]:
        return [event.data for event in self.happened if isinstance(event, Output)]


def run_task(
    task: Task[..., Any] | Callable[..., Any],
    params: Mapping[str, Any] | None = None,
    *,
    attempt: int = 1,
    max_attempts: int | None = None,
    last_checkpoint: Any = None,
    cancel_after: CancelAfter = None,
    reason: Reason = "cancelled",
    clock: Callable[[], float] | None = None,
    report_seconds: float = 0.0,
) -> TaskRun:
    """Run one attempt of a task, or of a plain function as if it were one, and return how it went.

    params: JSON values, checked and converted by the hints as in a worker.
    attempt, max_attempts, last_checkpoint: which attempt this is (default: the first of as many as the task has),
        and what the one before it left behind.
    cancel_after: stop the task after so many reports, or at the first event for which this returns true.
    reason: why it is stopped: `cancelled`, `timeout`, or `released` as in a deploy.
    clock: seconds, for `rate`, `eta_seconds` and the events' `at`; see `Clock`. It stands still by default.
    report_seconds: how long by that clock a progress waits for a later one, as in a worker; 0 keeps every one.

    Raises `RuntimeError` for an async task where an event loop runs: await `run_task_async` there.
    """
    kit = _Kit(
        _as_task(task), attempt, max_attempts, last_checkpoint, cancel_after, reason, clock, report_seconds
    )
    if not kit.task.is_async:
        return contextvars.copy_context().run(kit.run, params or {})
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(kit.run_async(params or {}))
    raise RuntimeError("run_task() was called where an event loop runs: use `await run_task_async(...)`.")


async def run_task_async(
    task: Task[..., Any] | Callable[..., Any],
    params: Mapping[str, Any] | None = None,
    *,
    attempt: int = 1,
    max_attempts: int | None = None,
    last_checkpoint: Any = None,
    cancel_after: CancelAfter = None,
    reason: Reason = "cancelled",
    clock: Callable[[], float] | None = None,
    report_seconds: float = 0.0,
) -> TaskRun:
    """Do the same in a coroutine; a `def` task runs in a thread."""
    kit = _Kit(
        _as_task(task), attempt, max_attempts, last_checkpoint, cancel_after, reason, clock, report_seconds
    )
    if kit.task.is_async:
        return await asyncio.create_task(kit.run_async(params or {}))  # a context of its own
    return await asyncio.to_thread(kit.run, params or {})


def _as_task(task: Task[..., Any] | Callable[..., Any]) -> Task[..., Any]:
    return task if isinstance(task, Task) else Task(task, getattr(task, "__name__", "task"), Options())


class _Kit:
    """Worker and log of one attempt; its sink, too."""

    def __init__(
        self,
        task: Task[..., Any],
        attempt: int,
        max_attempts: int | None,
        last_checkpoint: Any,
        cancel_after: CancelAfter,
        reason: Reason,
        clock: Callable[[], float] | None,
        report_seconds: float,
    ) -> None:
        self.task, self._attempt = task, attempt
        self._most = task.options.max_attempts if max_attempts is None else max_attempts
        self._cancel_after, self._reason = cancel_after, reason
        self._clock, self._report_seconds = clock or Clock(), report_seconds
        self._due = float("-inf")
        self._reports = self._outputs = 0
        self._events: list[Event] = []
        self._lock = threading.Lock()  # a task may report from many threads
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: asyncio.Task[str] | None = None
        kept = None if last_checkpoint is None else dumps(last_checkpoint)
        self._reporter = Reporter(self, task.plan, kept)

    # The attempt.

    def run(self, params: Mapping[str, Any]) -> TaskRun:
        arguments = self._begin(params)
        if isinstance(arguments, Raised):
            return self._ended(arguments)
        HERE.set(Place(self._reporter))
        try:
            return self._ended(Returned(self.task.result_json(self.task.function(**arguments))))
        except (Exception, SystemExit, Stopped, asyncio.CancelledError, BaseExceptionGroup) as error:  # noqa: BLE001
            return self._ended(Raised(error))  # not Ctrl-C, nor what pytest raises to end a test

    async def run_async(self, params: Mapping[str, Any]) -> TaskRun:
        arguments = self._begin(params)
        if isinstance(arguments, Raised):
            return self._ended(arguments)
        HERE.set(Place(self._reporter))
        self._loop = asyncio.get_running_loop()
        self._loop.set_default_executor(ContextExecutor())  # as in a worker
        self._running = asyncio.create_task(self._awaited(arguments))
        try:
            result = await self._running
        except (Exception, SystemExit, Stopped, asyncio.CancelledError, BaseExceptionGroup) as error:
            here = asyncio.current_task()
            if here is not None and here.cancelling():
                raise  # it is the test that is to end
            return self._ended(Raised(error))
        return self._ended(Returned(result))

    async def _awaited(self, arguments: Mapping[str, Any]) -> str:
        return self.task.result_json(await self.task.function(**arguments))

    def _begin(self, params: Mapping[str, Any]) -> dict[str, Any] | Raised:
        self._append(StatusChanged, status=Status.QUEUED, attempt=self._attempt - 1)
        self._append(
            StatusChanged,
            status=Status.RUNNING,
            previous=Status.QUEUED,
            attempt=self._attempt,
            worker="milepost.testing",
        )
        plain = json.loads(dumps(dict(params)))  # what has come over HTTP is JSON
        return arguments_of(self.task, plain)

    def _ended(self, outcome: Outcome) -> TaskRun:
        exception = outcome.error if isinstance(outcome, Raised) else None
        stop = self._reporter.stop
        if stop is not None and not (stop == "released" and isinstance(outcome, Returned)):
            outcome = Stop(stop)
        verdict = judge(
            outcome,
            self.task.options,
            attempt=self._attempt,
            max_attempts=self._most,
            timeout_seconds=self.task.options.timeout,
            chance=lambda: 1.0,
        )
        self._tell(verdict)
        happened = tuple(self._events)
        job = reduce(fold, happened, Job(id=JOB_ID, task=self.task.name, max_attempts=self._most))
        return TaskRun(
            status=str(job.status),
            result=job.result,
            error=verdict.error if isinstance(verdict, End | Again) else None,
            exception=exception,
            retry_after=verdict.delay_seconds if isinstance(verdict, Again) else None,
            happened=happened,
            checkpoint=self._reporter.last_checkpoint,
            job=job,
        )

    def _tell(self, verdict: Verdict) -> None:
        change = {"previous": Status.RUNNING, "attempt": self._attempt}
        match verdict:
            case End(status, result, error):
                progress = self._reporter.meter.finish(
                    self._clock(), succeeded=error is None, updated_at=self._moment()
                )
                self._append(
                    Ended,
                    status=status,
                    attempt=self._attempt,
                    progress=progress,
                    result=json.loads(result),
                    error=error and replace(error, traceback=None),
                    finished_at=self._moment(),
                )
            case Again(error, delay):
                due = self._moment(delay)
                told = replace(error, traceback=None)
                self._append(StatusChanged, status=Status.RETRYING, run_at=due, error=told, **change)
            case _:
                self._append(StatusChanged, status=Status.QUEUED, **change | {"attempt": self._attempt - 1})

    # The sink.

    def changed(self) -> None:
        if self._clock() >= self._due:
            self.milestone()

    def milestone(self) -> None:
        self._reporter.dirty = False
        self._due = self._clock() + self._report_seconds
        read = self._reporter.meter.read(self._clock(), self._moment())
        self._report(Progressed, progress=read)

    def log(self, level: str, message: str, source: str | None) -> None:
        self._report(Logged, level=level, message=message, source=source)

    def output(self, data: Any) -> None:
        self._outputs += 1
        self._report(Output, index=self._outputs - 1, data=json.loads(dumps(data)))

    def checkpoint(self, value: str) -> None:
        pass  # the reporter knows it

    def _report(self, kind: type[Event], **told: Any) -> None:
        event = self._append(kind, attempt=self._attempt, **told)
        self._reports += 1
        if self._reporter.stop is None and self._is_time(event):
            self._reporter.stop = self._reason
            if self._loop is not None and self._running is not None:
                self._loop.call_soon_threadsafe(self._running.cancel)

    def _is_time(self, event: Event) -> bool:
        after = self._cancel_after
        if after is None:
            return False
        return after(event) if callable(after) else self._reports >= after

    def _append(self, kind: type[Event], **told: Any) -> Event:
        with self._lock:
            seq = len(self._events) + 1
            event = kind(job_id=JOB_ID, seq=seq, cursor=f"test-{seq}", at=self._moment(), **told)
            self._events.append(event)
        return event

    def _moment(self, later: float = 0.0) -> str:
        moment = BEGINNING + timedelta(seconds=self._clock() + later)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
