"""The courier between attempts and a real Redis, round by round."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from milepost_worker.courier import BATCH_BYTES, Courier
from milepost_worker.outbox import Outbox
from redis.asyncio import Redis

from milepost.job import Status
from milepost.log import SCRIPTS, Call, JobLog, NewJob
from milepost.log.keys import GENERATION
from milepost.redis import connect_sync
from milepost.reporting import Reporter
from tests.support.joblog import claimed
from tests.support.redis import RedisServer

Open = Callable[[str], Awaitable[Outbox]]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def courier(redis_server: RedisServer, clock: Clock) -> Iterator[Courier]:
    """Its thread is not started: the tests go round by round, and its waits are noted."""
    client = connect_sync(redis_server.url)
    courier = Courier(client, lease_seconds=10, heartbeat_seconds=3, clock=clock)
    yield courier
    client.close()


@pytest.fixture
def waits(courier: Courier, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the courier would have waited."""
    waits: list[float] = []
    monkeypatch.setattr(courier, "_wait", waits.append)
    return waits


@pytest.fixture
def attempt(redis: Redis, courier: Courier, clock: Clock) -> Open:
    """Begin an attempt of a new job and give its outbox to the courier."""
    log = JobLog(redis)

    async def begin(job_id: str) -> Outbox:
        await log.create(NewJob(id=job_id, task="t", created_at="2026-01-01T00:00:00Z"))
        claim = await claimed(log, redis, job_id, "worker", lease_seconds=10)
        outbox = Outbox(claim, log.reports(claim), courier.notify, clock)
        outbox.reporter = Reporter(outbox)
        courier.open(outbox)
        return outbox

    return begin


def ended(outbox: Outbox) -> list[str]:
    """Close the outbox with a success, and return where its answer will be."""
    answers: list[str] = []
    progress = outbox.reporter.meter.finish(0, succeeded=True)
    outbox.close(lambda calls: calls.end(Status.SUCCEEDED, progress), answers.append)
    return answers


async def kinds(redis: Redis, job_id: str) -> list[str]:
    return [fields[b"t"].decode() for _, fields in await redis.xrange(f"mp:{{{job_id}}}:events")]


async def lease_ends(redis: Redis, job_id: str) -> float:
    return float(await redis.zscore("mp:leases", job_id) or 0)


async def test_a_talkative_job_does_not_delay_another(courier: Courier, attempt: Open, redis: Redis) -> None:
    """Whoever's turn it is: after one round everybody has said the first of what they have to say."""
    boxes = [await attempt(name) for name in ("quiet-1", "loud", "quiet-2")]
    for _ in range(100):
        boxes[1].log("info", "x" * (BATCH_BYTES // 10), None)
    for quiet in (boxes[0], boxes[2]):
        quiet.log("info", "hello", None)
    courier._round()
    assert await kinds(redis, "quiet-1") == await kinds(redis, "quiet-2") == ["status", "status", "log"]
    assert 2 < len(await kinds(redis, "loud")) < 30
    while boxes[1].due is not None:
        courier._round()
    assert (await kinds(redis, "loud")).count("log") == 100


async def test_a_report_that_cannot_be_made_costs_no_other_job_its_heartbeat(
    courier: Courier, attempt: Open, redis: Redis, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a bug, and said to be one; the rest goes on."""
    broken, healthy = await attempt("broken"), await attempt("healthy")

    def fails(*_: Any) -> Any:
        raise RuntimeError("a bug in the meter")

    monkeypatch.setattr(broken.reporter.meter, "read", fails)
    for box in (broken, healthy):
        box.reporter.update(box.reporter.meter.root, 1, None, None, None)
    before = [await lease_ends(redis, name) for name in ("broken", "healthy")]
    clock.now += 3
    await asyncio.sleep(0.005)  # a lease is told by Redis's clock, in milliseconds
    courier._round()
    after = [await lease_ends(redis, name) for name in ("broken", "healthy")]
    assert all(a > b for a, b in zip(after, before, strict=True))
    assert await kinds(redis, "healthy") == ["status", "status", "progress"]


async def test_a_job_with_a_backlog_keeps_its_lease_until_its_end_is_sent(
    courier: Courier, attempt: Open, redis: Redis, clock: Clock
) -> None:
    """The task has ended and its worker lives: however long its last words take, nobody else gets the job."""
    box = await attempt("wordy")
    for _ in range(40):
        box.log("info", "x" * (BATCH_BYTES // 10), None)
    answers, rounds = ended(box), 0
    while not answers:
        before = await lease_ends(redis, "wordy")
        clock.now += 3
        await asyncio.sleep(0.005)  # a lease is told by Redis's clock, in milliseconds
        courier._round()
        rounds += 1
        assert answers or await lease_ends(redis, "wordy") > before
    assert (answers, rounds > 2) == (["ok"], True)
    clock.now += 3
    courier._round()  # an end needs no heartbeat, which would be refused
    assert await lease_ends(redis, "wordy") == 0


@pytest.mark.parametrize(
    ("heartbeat", "expected"),
    [(3.0, [0.05, 0.1, 0.2, 0.5, 1.0, 1.0]), (0.25, [0.05, 0.1, 0.2, 0.25, 0.25, 0.25])],
)
def test_no_wait_for_redis_is_longer_than_the_rhythm_of_the_heartbeats(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, heartbeat: float, expected: list[float]
) -> None:
    """With short leases it tries more often: when Redis is back, each worker has one lease to be heard in."""
    courier = Courier(
        connect_sync(redis_server.url), lease_seconds=4 * heartbeat, heartbeat_seconds=heartbeat
    )
    waits: list[float] = []
    monkeypatch.setattr(courier, "_wait", waits.append)
    for _ in range(6):
        courier._trouble(ConnectionError())
    assert waits == expected


async def test_a_lost_job_is_told_once_and_its_reports_are_dropped(
    courier: Courier, attempt: Open, redis: Redis, clock: Clock
) -> None:
    """Heartbeat and reports of one round are refused together; the other jobs hear their own answers."""
    lost, other = await attempt("lost"), await attempt("other")
    told: list[str] = []
    lost.on_stop = told.append
    for _ in range(3):
        lost.log("info", "late", None)
        other.log("info", "in time", None)
    await redis.hset("mp:{lost}:state", "fence", "99")  # type: ignore[misc]
    clock.now += 3
    courier._round()
    assert told == ["lost"]
    assert lost.closed
    assert lost.due is other.due is None
    assert (await kinds(redis, "other")).count("log") == 3
    assert (await kinds(redis, "lost")).count("log") == 0


async def test_an_end_that_is_refused_is_answered(courier: Courier, attempt: Open, redis: Redis) -> None:
    """Whoever waits for it must not wait for ever, and is not told to stop what has ended."""
    lost = await attempt("lost")
    told: list[str] = []
    lost.on_stop = told.append
    lost.log("info", "late", None)
    answers = ended(lost)
    await redis.hset("mp:{lost}:state", "fence", "99")  # type: ignore[misc]
    courier._round()
    assert (answers, told) == (["refused"], [])


async def test_one_wait_for_all_that_a_full_redis_refuses(
    courier: Courier, attempt: Open, redis: Redis, clock: Clock, waits: list[float]
) -> None:
    """Twenty refusals in one round must not keep the heartbeats waiting twenty times."""
    boxes = [await attempt(f"job-{n}") for n in range(20)]
    for box in boxes:
        box.log("info", "hello", None)
        box.log("info", "again", None)
    await redis.config_set("maxmemory", "1")
    try:
        for expected in (1, 2):
            courier._round()
            assert len(waits) == expected
        assert waits[1] > waits[0]
    finally:
        await redis.config_set("maxmemory", "0")
    courier._round()
    for n, box in enumerate(boxes):
        assert box.due is None
        assert await kinds(redis, f"job-{n}") == ["status", "status", "log", "log"]


async def test_scripts_that_redis_has_forgotten_are_loaded_again(
    courier: Courier, attempt: Open, redis: Redis, clock: Clock
) -> None:
    """Nothing is taken twice, nothing is lost, nobody waits."""
    box = await attempt("job")
    box.log("info", "one", None)
    courier._round()
    await redis.script_flush()
    box.log("info", "two", None)
    answers = ended(box)
    clock.now += 3
    courier._round()
    assert answers == ["ok"]
    assert await kinds(redis, "job") == ["status", "status", "log", "log", "end"]


async def test_reports_whose_answer_was_lost_are_taken_once(
    courier: Courier, attempt: Open, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are sent again, and Redis knows their numbers."""
    box = await attempt("job")
    for text in ("one", "two"):
        box.log("info", text, None)
    answers = ended(box)
    send = courier._send

    def loses_the_answer(calls: Any) -> list[Any]:
        send(calls)
        raise ConnectionError("reset")

    with monkeypatch.context() as patched:
        patched.setattr(courier, "_send", loses_the_answer)
        with pytest.raises(ConnectionError):
            courier._round()
    assert answers == []
    courier._round()
    assert answers == ["duplicate"]
    assert await kinds(redis, "job") == ["status", "status", "log", "log", "end"]


async def test_no_report_is_lost_while_others_load_the_scripts(
    courier: Courier, attempt: Open, redis: Redis, redis_server: RedisServer
) -> None:
    """After a restart of Redis another worker may load them between two reports of one round trip: the first was

    answered with NOSCRIPT, the second would be taken, and its number says that nothing is missing any more.
    """
    outbox = await attempt("a")
    over = threading.Event()

    def meddle() -> None:
        with redis_server.client() as client:
            while not over.is_set():
                client.script_flush()
                generation = client.get(GENERATION).decode()
                client.script_load(SCRIPTS["report"].of(generation).source)

    meddling = threading.Thread(target=meddle)
    meddling.start()
    try:
        for number in range(400):
            outbox.log("info", f"{number} {'x' * 4000}", None)
        while outbox.due is not None:
            await asyncio.to_thread(courier._round)
    finally:
        over.set()
        meddling.join()
    entries = [json.loads(fields[b"e"]) for _, fields in await redis.xrange("mp:{a}:events")]
    logged = [int(entry["message"].split()[0]) for entry in entries if entry["type"] == "log"]
    assert logged == list(range(400))


async def test_attempts_that_are_not_open_here_yet_have_heartbeats_too(
    courier: Courier, attempt: Open, redis: Redis, clock: Clock
) -> None:
    """The event loop may be blocked while the answer that brings them is under way."""
    await attempt("open")
    await redis.zadd("mp:leases", {"open": 0})
    asked: list[int] = []

    def cover() -> Call:
        asked.append(1)
        return courier_log.cover("worker", last, lease_seconds=10)

    courier_log, last = JobLog(redis), 99_999
    await courier_log.create(NewJob(id="waits", task="t", created_at="2026-01-01T00:00:00Z"))
    taken = await courier_log.take(["default"], "worker", 1, number=last, lease_seconds=1, room={"t": -1})
    assert [claim.job_id for claim in taken.claims] == ["waits"]
    before = await lease_ends(redis, "waits")
    courier.cover = cover
    courier._round()
    assert await lease_ends(redis, "waits") > before + 5000
    courier._round()
    assert len(asked) == 1  # no more often than heartbeats need it
    clock.now += 3
    courier._round()
    assert len(asked) == 2
