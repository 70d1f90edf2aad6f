"""Anything may happen to a job in any order: the log agrees with a small model, and with itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from milepost.codec import dumps
from milepost.events import Event, StatusChanged
from milepost.ids import new_job_id
from milepost.job import NEXT, Progress, Status
from milepost.log import Call, JobLog, NewJob, ReportCalls
from milepost.log.keys import LEASES
from milepost.redis import connect
from tests.support import strategies as some
from tests.support.joblog import (
    BROKEN,
    check,
    claim,
    created,
    delivery_of,
    history,
    lapse,
    said,
    waiting_deliveries,
)
from tests.support.redis import RedisServer, every_redis

pytestmark = every_redis

ENDS = st.sampled_from([Status.SUCCEEDED, Status.FAILED, Status.CANCELLED])


class LifeOfAJob(RuleBasedStateMachine):
    """The model: `status`, `attempt`, whether a stop was asked for; `holder` is the attempt that has the job."""

    url = ""
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.redis = connect(self.url)
        self.log = JobLog(self.redis)
        self.status, self.attempt, self.asked = Status.QUEUED, 0, False
        self.held: ReportCalls | None = None
        self.kept: str | None = None
        self.zombies: list[ReportCalls] = []
        self.last: Call | None = None

    def teardown(self) -> None:
        self.run(self.redis.aclose())

    def run(self, something: Any) -> Any:
        return self.runner.run(something)

    def tell(self, call: Call) -> str:
        self.last = call
        [answer] = self.run(said(self.log, call))
        return str(answer)

    def leave(self, status: Status) -> None:
        """The attempt is over: whoever had the job has it no more."""
        self.zombies.append(self.holder)
        self.status, self.held = (Status.CANCELLED if self.asked else status), None

    @property
    def running(self) -> bool:
        return self.held is not None

    @property
    def holder(self) -> ReportCalls:
        assert self.held is not None
        return self.held

    @initialize(most=st.integers(1, 3), later=st.booleans())
    def create(self, most: int, later: bool) -> None:
        delay_ms = 3_600_000 if later else 0
        self.new: NewJob = self.run(
            created(self.log, queue=new_job_id(), max_attempts=most, delay_ms=delay_ms)
        )
        self.status = Status.SCHEDULED if later else Status.QUEUED
        self.due = not later

    @rule(worker=st.sampled_from(["w1", "w2"]))
    def claim_it(self, worker: str) -> None:
        got = self.run(claim(self.log, self.redis, self.new.id, worker))
        assert (got is not None) == (self.due and not self.running and not self.status.is_terminal)
        if got is not None:
            self.attempt += 1
            self.status, self.held = Status.RUNNING, self.log.reports(got)
            self.last = None
            assert (got.attempt, got.max_attempts) == (self.attempt, self.new.max_attempts)
            assert got.checkpoint == self.kept

    @precondition(lambda self: self.running)
    @rule(progress=some.progresses)
    def progress(self, progress: Progress) -> None:
        assert self.tell(self.holder.progress(progress)) == "ok"

    @precondition(lambda self: self.running)
    @rule(message=some.text, data=some.json_values)
    def speak(self, message: str, data: Any) -> None:
        assert self.tell(self.holder.log("info", message, None)) == "ok"
        assert self.tell(self.holder.output(0, data)) == "ok"

    @precondition(lambda self: self.running)
    @rule(value=some.json_values)
    def keep(self, value: Any) -> None:
        assert self.tell(self.holder.checkpoint(dumps(value))) == "ok"
        self.kept = dumps(value)

    @precondition(lambda self: self.last is not None)
    @rule()
    def send_again(self) -> None:
        assert self.last is not None
        assert self.tell(self.last) in {"duplicate", "refused"}

    @precondition(lambda self: self.zombies)
    @rule(which=st.integers(0, 9), status=ENDS)
    def speak_from_the_grave(self, which: int, status: Status) -> None:
        zombie = self.zombies[which % len(self.zombies)]
        calls = (
            zombie.progress(Progress()),
            zombie.checkpoint('"not mine"'),
            zombie.end(status, Progress()),
            zombie.renew(9000),
            zombie.release(),
        )
        assert self.run(said(self.log, *calls)) == ["refused"] * 5

    @rule()
    def cancel(self) -> None:
        outcome = self.run(self.log.cancel(self.new.id))
        if self.status.is_terminal:
            assert outcome == "already_done"
        elif self.running:
            assert outcome == "requested"
            self.asked = True
        else:
            assert outcome == "cancelled"
            self.status = Status.CANCELLED

    @precondition(lambda self: self.running)
    @rule(silent=st.sampled_from([0, 7]))
    def look_at_the_lease(self, silent: int) -> None:
        assert self.run(lapse(self.log, self.redis, self.new.id, silent_seconds=silent)) in {
            "alive",
            "stalled",
        }

    @precondition(lambda self: self.running)
    @rule()
    def renew(self) -> None:
        assert self.run(said(self.log, self.holder.renew(12_000))) == ["cancel" if self.asked else "ok"]

    @precondition(lambda self: self.running)
    @rule()
    def lose_the_worker(self) -> None:
        self.leave(Status.RETRYING if self.attempt < self.new.max_attempts else Status.FAILED)
        assert self.run(lapse(self.log, self.redis, self.new.id, silent_seconds=13)) == self.status

    @precondition(lambda self: self.running)
    @rule(delay=st.sampled_from([0, 3_600_000]))
    def retry(self, delay: int) -> None:
        assert self.tell(self.holder.retry(BROKEN, delay)) == "ok"
        self.leave(Status.RETRYING)
        self.due = delay == 0

    @precondition(lambda self: self.running)
    @rule()
    def release(self) -> None:
        assert self.tell(self.holder.release()) == "ok"
        self.leave(Status.QUEUED)
        self.attempt -= not self.asked

    @precondition(lambda self: self.running)
    @rule(status=ENDS, progress=some.progresses, result=some.json_values)
    def end(self, status: Status, progress: Progress, result: Any) -> None:
        assert self.tell(self.holder.end(status, progress, result=dumps(result))) == "ok"
        self.zombies.append(self.holder)
        self.status, self.held = status, None

    @rule()
    def redeliver(self) -> None:
        waiting = not self.running and not self.status.is_terminal
        assert self.run(self.log.redeliver(self.new.id)) == ("there" if waiting else "not_waiting")

    @precondition(lambda self: not self.running and not self.status.is_terminal)
    @rule()
    def lose_the_delivery(self) -> None:
        self.run(self._lose_the_delivery())

    async def _lose_the_delivery(self) -> None:
        [delivery] = [
            d for d in await waiting_deliveries(self.redis, self.new.queue) if d.startswith(self.new.id)
        ]
        await self.redis.delete(f"arq:job:{delivery}")
        assert await self.log.redeliver(self.new.id) == "delivered"

    @invariant()
    def the_log_agrees(self) -> None:
        if hasattr(self, "new"):
            self.run(self._agrees())

    async def _agrees(self) -> None:
        view = await check(self.log, self.new)
        job = view.job
        assert (job.status, job.done, job.attempt) == (self.status, self.status.is_terminal, self.attempt)
        self._legal(await history(self.log, self.new.id))
        mine = [d for d in await waiting_deliveries(self.redis, self.new.queue) if d.startswith(self.new.id)]
        number = await delivery_of(self.redis, self.new.id)
        waiting = not self.running and not job.done
        assert mine == ([f"{self.new.id}.{number}"] if waiting else [])
        assert (await self.redis.zscore(LEASES, self.new.id) is not None) == self.running

    def _legal(self, events: list[Event]) -> None:
        status: Status | None = None
        for event in events:
            if event.type in {"status", "end"}:
                after = Status(event.status)  # type: ignore[attr-defined]
                asked = isinstance(event, StatusChanged) and event.cancel_requested
                assert status is None or after in NEXT[status] or (asked and after is status)
                status = after


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_log_agrees_with_the_model(redis_server: RedisServer) -> None:
    """Create, claim, report, cancel, retry, hand back, lose, renew, deliver: in any order, twice, too late."""
    with asyncio.Runner() as runner:
        machine = type("Life", (LifeOfAJob,), {"url": redis_server.url, "runner": runner})
        run_state_machine_as_test(
            machine, settings=settings(max_examples=30, stateful_step_count=25, deadline=None)
        )
