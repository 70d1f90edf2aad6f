"""One attempt: run the task, stop it when it must stop, report what became of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import structlog

from milepost import times
from milepost.log import Call, Claim, JobLog, ReportCalls
from milepost.outcome import (
    Again,
    End,
    Nothing,
    Outcome,
    Raised,
    Release,
    Returned,
    Stop,
    Verdict,
    arguments_of,
    judge,
    traceback_of,
    within,
)
from milepost.reporting import HERE, Place, Reporter
from milepost.reporting.switchboard import CLOSE_SECONDS
from milepost.secrets import MASKS
from milepost.secrets.marking import secrets_of
from milepost.tasks import Task
from milepost_worker.courier import Courier
from milepost_worker.executors import execute
from milepost_worker.outbox import Outbox
from milepost_worker.processes import KILL_SECONDS, ForkServer, in_a_process

log = structlog.get_logger("milepost.attempt")


class Attempt:
    """Holds a claimed job from `running` to the report of its outcome."""

    def __init__(
        self,
        claim: Claim,
        task: Task[..., Any],
        joblog: JobLog,
        courier: Courier,
        *,
        stop_grace_seconds: float,
        result_limit_bytes: int,
        processes: ForkServer | None = None,
        process_memory_limit_mb: float | None = None,
    ) -> None:
        """`processes` starts those of `process=True` tasks, with so much memory where the task itself sets no limit."""
        self.claim, self.task, self.since = claim, task, times.now()
        self._courier, self._grace = courier, stop_grace_seconds
        self._result_limit_bytes = result_limit_bytes
        self._processes, self._memory_limit_mb = processes, process_memory_limit_mb
        self._loop = asyncio.get_running_loop()
        self._stopped: asyncio.Future[str] = self._loop.create_future()
        self._mask = task.mask(claim.params)
        self._inner: asyncio.Task[Outcome] | None = None
        self._outbox = Outbox(claim, joblog.reports(claim, self._mask), courier.notify)
        self._outbox.on_stop = self.stop_threadsafe
        self._reporter = self._outbox.reporter = Reporter(self._outbox, task.plan, claim.checkpoint)

    def stop(self, reason: str) -> None:
        """Ask the task to end; the first reason counts."""
        if not self._stopped.done():
            self._reporter.stop = reason
            self._stopped.set_result(reason)

    def stop_threadsafe(self, reason: str) -> None:
        self._reporter.stop = reason  # at once, for threads; the loop may be busy
        self._loop.call_soon_threadsafe(self.stop, reason)

    async def run(self) -> str:
        """Run to the end of the attempt and have its outcome recorded; return it, as `metrics.OUTCOMES` has it."""
        claim = self.claim
        bound = log.bind(job_id=claim.job_id, task=claim.task, attempt=claim.attempt)
        bound.info("attempt.started")
        self._courier.open(self._outbox)
        began = time.monotonic()
        try:
            if self._mask is not None:
                MASKS.add(self._mask)
            outcome = within(await self._outcome(), self._result_limit_bytes)
            await self._hear_out()
            verdict = judge(
                outcome,
                self.task.options,
                attempt=claim.attempt,
                max_attempts=claim.max_attempts,
                timeout_seconds=claim.timeout_seconds,
            )
            _log_failure(bound, outcome, verdict)
            answer = await self._report(verdict)
        finally:
            self._courier.forget(self._outbox)
            self._unmask()
        bound.info(
            "attempt.ended", verdict=_name(verdict), answer=answer, seconds=round(time.monotonic() - began, 3)
        )
        return _counted_as(verdict, answer)

    def _unmask(self) -> None:
        """Let go of the secrets; while the task holds on, it may still log them."""
        if (mask := self._mask) is None:
            return
        if self._inner is not None and not self._inner.done():
            self._inner.add_done_callback(lambda _: MASKS.discard(mask))
        else:
            MASKS.discard(mask)

    async def _outcome(self) -> Outcome:
        arguments = arguments_of(self.task, self.claim.params)
        if isinstance(arguments, Raised):
            return arguments
        if self._mask is not None:
            self._mask.add(secrets_of(arguments))  # validators may have made others of them
        if self._stopped.done():
            return Stop(self._stopped.result())  # handed back before it began
        token = HERE.set(Place(self._reporter))
        try:
            self._inner = inner = asyncio.create_task(
                self._execute(arguments), name=f"task {self.claim.task}"
            )
        finally:
            HERE.reset(token)
        waited: set[asyncio.Future[Any]] = {inner, self._stopped}
        await asyncio.wait(waited, timeout=self.claim.timeout_seconds, return_when="FIRST_COMPLETED")
        if inner.done():
            return self._of_its_own(inner.result())
        if not self._stopped.done():
            self.stop("timeout")
        return await self._wind_down(inner)

    def _execute(self, arguments: dict[str, Any]) -> Coroutine[Any, Any, Outcome]:
        if not self.task.options.process or self._processes is None:
            return execute(self.task, arguments)
        # It converts the params itself: what they become need not be able to travel.
        return in_a_process(
            self.task,
            self.claim,
            self._reporter,
            self._processes,
            grace_seconds=self._grace,
            memory_limit_mb=self._memory_limit_mb,
        )

    async def _hear_out(self) -> None:
        """Let processes that the task has started by itself finish what they are saying."""
        if (switchboard := self._reporter.switchboard) is None:
            return
        switchboard.hang_up()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while not switchboard.silent:  # noqa: ASYNC110 - its threads know of no loop
                    await asyncio.sleep(0.005)

    def _of_its_own(self, outcome: Outcome) -> Outcome:
        # A thread may raise `Stopped` before the loop has heard why.
        if isinstance(outcome, Raised) and self._reporter.stop is not None:
            return Stop(self._reporter.stop)
        return outcome

    async def _wind_down(self, inner: asyncio.Task[Outcome]) -> Outcome:
        reason = self._stopped.result()
        grace = self._grace
        if self.task.options.process:
            grace += 2 * KILL_SECONDS  # it keeps the grace itself, then kills
        if self.task.is_async or self.task.options.process:
            inner.cancel()
        done, _ = await asyncio.wait({inner}, timeout=grace)
        if not done:
            # It holds on; the verdict stands without it, and its later reports are refused.
            log.warning("attempt.ignores_stop", job_id=self.claim.job_id, task=self.claim.task, reason=reason)
            inner.add_done_callback(_forget)
        elif reason == "released" and isinstance(returned := inner.result(), Returned):
            return returned  # it finished while the worker was leaving
        return Stop(reason)

    async def _report(self, verdict: Verdict) -> str:
        if isinstance(verdict, Nothing):
            self._outbox.abandon()
            return "nothing"
        answered: asyncio.Future[str] = self._loop.create_future()

        def settle(answer: str) -> None:
            if not answered.done():
                answered.set_result(answer)

        def settle_threadsafe(answer: str) -> None:
            self._loop.call_soon_threadsafe(settle, answer)

        self._outbox.close(
            lambda calls: self._call(calls, verdict),
            settle_threadsafe,
            tells_progress=isinstance(verdict, End),
        )
        return await answered

    def _call(self, calls: ReportCalls, verdict: End | Again | Release) -> Call:
        match verdict:
            case End(status, result, error):
                progress = self._reporter.meter.finish(
                    time.monotonic(),
                    succeeded=error is None,
                    updated_at=times.now(),
                )
                return calls.end(status, progress, result=result, error=error)
            case Again(error, delay):
                return calls.retry(error, round(delay * 1000))
            case Release():
                return calls.release()


def _forget(inner: asyncio.Task[Any]) -> None:
    if not inner.cancelled():
        inner.exception()  # retrieved, so that asyncio does not complain about an attempt that was given up


def _log_failure(bound: Any, outcome: Outcome, verdict: Verdict) -> None:
    if isinstance(outcome, Raised):
        # The text, not the error: a log that cannot show it must not cost the attempt its end.
        shown = outcome.traceback or traceback_of(outcome.error)
        bound.warning("attempt.raised", verdict=_name(verdict), exception=shown)


def _counted_as(verdict: Verdict, answer: str) -> str:
    if isinstance(verdict, Nothing) or answer not in {"ok", "duplicate"}:
        return "lost"
    match verdict:
        case End(status):
            return status.value
        case Again():
            return "retrying"
        case Release():
            return "released"


def _name(verdict: Verdict) -> str:
    return verdict.status.value if isinstance(verdict, End) else type(verdict).__name__.lower()
