"""The rules of a stream (docs/protocol.md), each over every transport and every way in which the server writes."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from milepost.background import end
from milepost.ids import new_job_id
from milepost.log import JobLog, NewJob, many
from tests.support.api import Api, announce, serving, settings
from tests.support.hub import happen_unheard
from tests.support.jobs import AT, PlayedJob
from tests.support.redis import RedisServer
from tests.support.transports import TRANSPORTS, Transport, rest, until
from tests.support.wait import DEADLINE_SECONDS, eventually

WRITERS = ("lanes", "plain")
"""What MILEPOST_STREAM_WRITER can be."""

EVIL = [
    "a\r\nb\rc\nd",
    "\u2028\u2029\x85\x0b\x0c",
    "nul\x00esc\x1b[31m",
    "data: x\n\nevent: end\n\n",
    "\ud800",
    "\U0001f469\U0001f3fd\u200d\U0001f4bb",
]


@pytest.fixture(scope="module", params=WRITERS)
def writer(request: pytest.FixtureRequest) -> str:
    """By what means the server writes streams."""
    return str(request.param)


@pytest.fixture(params=TRANSPORTS, ids=lambda transport: transport.name)
def transport(request: pytest.FixtureRequest) -> Transport:
    found: Transport = request.param
    return found


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that forgets at a kill what it was not told to save."""
    with RedisServer(tmp_path_factory.mktemp("redis"), appendonly=False) as running:
        yield running


def wanted(folder: Path, redis_server: RedisServer, writer: str, **more: Any) -> Any:
    # A reader that looks away is not to be cut for it, however long the machine takes for what happens meanwhile.
    patient = {"ping_seconds": 1, "stalled_reader_seconds": DEADLINE_SECONDS}
    return settings(folder, redis_server.url, stream_writer=writer, **patient, **more)


@pytest.fixture(scope="module")
async def api(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, writer: str
) -> AsyncIterator[Api]:
    async with serving(wanted(tmp_path_factory.mktemp("api"), redis_server, writer)) as running:
        yield running


@pytest.fixture
def base(api: Api) -> str:
    return str(api.http.base_url)


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events if event["type"] != "waiting"]


def seqs(events: list[dict[str, Any]]) -> list[int]:
    return [event["seq"] for event in events if "seq" in event]


async def played(joblog: JobLog, lines: int = 6, *, ended: bool = True) -> PlayedJob:
    job = await PlayedJob.running(joblog)
    for i in range(lines):
        await job.log(f"line {i}")
    if ended:
        await job.end()
    return job


async def history(joblog: JobLog, job: PlayedJob) -> list[str]:
    """Return the cursor of every event from the first."""
    here = (await joblog.read(job.id)).cursor
    return [f"{here.epoch}-{seq}" for seq in range(1, here.seq + 1)]


# --- rule 1: a fresh connect -----------------------------------------------------------------------


async def test_a_fresh_reader_gets_a_snapshot_then_everything_once_in_order(
    base: str, joblog: JobLog, transport: Transport
) -> None:
    """While it happens; whole at every step, down to the end, after which the server has nothing more to say."""
    job = await PlayedJob.running(joblog)
    async with transport.open(base, job.id) as reader:
        [snapshot] = await until(reader, "snapshot")
        assert (snapshot["seq"], snapshot["job"]["status"]) == (2, "running")
        for i in range(8):
            await job.progress(i)
            await job.log(f"line {i}")
            await job.output(i, {"n": i})
        reading = asyncio.create_task(rest(reader))
        await job.end()
        events = await reading
    assert types(events) == ["progress", "log", "output"] * 8 + ["end"]
    assert seqs(events) == list(range(3, 28))


async def test_readers_of_every_transport_are_told_the_same(
    base: str, joblog: JobLog, transport: Transport
) -> None:
    """The very objects, whoever asks how."""
    job = await PlayedJob.running(joblog)
    async with AsyncExitStack() as opened:
        readers = [
            await opened.enter_async_context(one.open(base, job.id)) for one in (transport, *TRANSPORTS)
        ]
        for reader in readers:
            await until(reader, "snapshot")
        for i, text in enumerate(EVIL):
            await job.log(text)
            await job.output(i, {text: [text]})
        await job.end()
        first, *others = await asyncio.gather(*(rest(reader) for reader in readers))
    assert [event["message"] for event in first if event["type"] == "log"] == [
        text.replace("\ud800", "\ufffd") for text in EVIL
    ]
    assert all(other == first for other in others)


# --- rule 2: coming back ---------------------------------------------------------------------------


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "running"])
async def test_who_comes_back_at_any_cursor_gets_exactly_what_it_missed(
    base: str, joblog: JobLog, transport: Transport, *, ended: bool
) -> None:
    """No snapshot, no gap; what happens meanwhile follows without a seam."""
    job = await played(joblog, ended=ended)
    cursors = await history(joblog, job)
    async with AsyncExitStack() as opened:
        readers = [
            await opened.enter_async_context(transport.open(base, job.id, cursor))
            for cursor in (cursors[:-1] if ended else cursors[-3:])
        ]
        if not ended:
            await job.end()
        for reader, cursor in zip(readers, cursors if ended else cursors[-3:], strict=False):
            events = await rest(reader)
            last = len(cursors) if ended else len(cursors) + 1
            assert seqs(events) == list(range(int(cursor.split("-")[1]) + 1, last + 1))
            assert "gap" not in types(events)
            assert types(events)[-1] == "end"


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        ("{epoch}-999", "ahead"),
        ("zzzzzzzz-3", "epoch"),
        ("garbage", "invalid"),
        ("{epoch}-", "invalid"),
        ("x" * 300, "invalid"),
        ("{epoch}-1; DROP TABLE jobs", "invalid"),
    ],
)
async def test_a_cursor_that_cannot_be_served_is_told_as_a_gap(
    base: str, joblog: JobLog, transport: Transport, cursor: str, reason: str
) -> None:
    """With the reason and what was asked for; then a snapshot, and everything after it."""
    job = await played(joblog, ended=False)
    epoch = (await joblog.read(job.id)).cursor.epoch
    asked = cursor.format(epoch=epoch)
    async with transport.open(base, job.id, asked) as reader:
        gap, snapshot = await until(reader, "snapshot")
        assert (gap["type"], gap["reason"], gap["requested"]) == ("gap", reason, asked[:64])
        assert snapshot["seq"] == 8
        await job.end()
        assert types(await rest(reader)) == ["end"]


async def test_what_was_trimmed_is_told_as_a_gap(
    base: str, redis: Redis, joblog: JobLog, transport: Transport
) -> None:
    """Whoever comes back for more than is kept starts again from a snapshot."""
    short = JobLog(redis, history_limit=10)
    job = await played(short, lines=300, ended=False)
    first = (await history(joblog, job))[0]
    async with transport.open(base, job.id, first) as reader:
        gap, snapshot = await until(reader, "snapshot")
        assert (gap["reason"], snapshot["seq"]) == ("trimmed", 302)
        await job.end()
        assert seqs(await rest(reader)) == [303]


async def test_cut_again_and_again_nothing_is_lost_or_told_twice(
    base: str, joblog: JobLog, transport: Transport
) -> None:
    """The reader leaves after a few events, whenever, and comes back with its cursor, by any transport."""
    job = await PlayedJob.running(joblog)
    chance = random.Random(5)

    async def play() -> None:
        for i in range(60):
            await job.log(str(i))
        await job.end()

    playing, cursor, seen = asyncio.create_task(play()), None, list[dict[str, Any]]()
    while not seen or seen[-1]["type"] != "end":
        by = chance.choice((transport, transport, *TRANSPORTS))
        async with by.open(base, job.id, cursor) as reader:
            left = chance.randint(1, 12)
            async for event in reader.events():
                seen.append(event)
                cursor = event.get("cursor", cursor)
                left -= 1
                if left == 0:
                    break
    await playing
    assert types(seen).count("gap") == 0
    assert seqs(seen) == list(range(seen[0]["seq"], 64))


async def test_a_restart_of_redis_branches_the_history_and_readers_go_on(
    base: str, redis_server: RedisServer, redis: Redis, joblog: JobLog, transport: Transport
) -> None:
    """What was saved is not told again, and no gap is told where nothing was lost."""
    job = await played(joblog, ended=False)
    old = (await history(joblog, job))[-1]
    async with transport.open(base, job.id) as reader:
        await until(reader, "snapshot")
        await redis.save()
        redis_server.restart(signal.SIGKILL)  # in this thread: the child would die with another one
        await _insist(lambda: job.log("after"))
        await job.end()
        events = await rest(reader)
    assert seqs(events) == [9, 10]
    assert "gap" not in types(events)
    assert events[-1]["cursor"].split("-")[0] != old.split("-")[0]
    assert seqs(await transport.read(base, job.id, old)) == [9, 10]


async def test_a_lost_tail_is_a_gap_for_those_who_saw_it(
    base: str, redis_server: RedisServer, redis: Redis, joblog: JobLog, transport: Transport
) -> None:
    """Redis came back without the last second: its events are never taken back in silence, nor numbers reused."""
    job = await played(joblog, ended=False)
    await redis.save()
    kept = (await history(joblog, job))[-1]
    async with transport.open(base, job.id) as reader:
        await until(reader, "snapshot")
        await job.log("lost")
        lost = (await until(reader, "log"))[-1]["cursor"]
        redis_server.restart(signal.SIGKILL)  # in this thread: the child would die with another one
        await _insist(lambda: job.log("again"))
        await job.end()
        events = await rest(reader)
    assert types(events)[:2] == ["gap", "snapshot"]
    assert types(events)[-1] == "end"
    assert types(await transport.read(base, job.id, lost)) == ["gap", "snapshot", "end"]
    assert types(await transport.read(base, job.id, kept)) == ["log", "end"]


async def _insist(do: Any) -> None:
    """Do it when Redis is there again."""

    async def done() -> bool:
        await do()
        return True

    await eventually(done, "Redis is back", ignoring=(RedisError, OSError))


# --- rules 3 and 4: the end ------------------------------------------------------------------------


async def test_a_finished_job_is_told_in_two_events(base: str, joblog: JobLog, transport: Transport) -> None:
    """Whenever somebody comes, and whoever is cut between the two comes back for the end."""
    job = await played(joblog)
    await transport.read(base, job.id)
    snapshot, end = await transport.read(base, job.id)
    assert (snapshot["type"], end["type"]) == ("snapshot", "end")
    assert snapshot["job"]["done"] is True
    assert await transport.read(base, job.id, snapshot["cursor"]) == [end]


@pytest.mark.parametrize("query", [{}, {"events": "log"}, {"min_interval_ms": 60_000}], ids=str)
async def test_after_the_end_there_is_nothing_more(
    base: str, joblog: JobLog, transport: Transport, query: dict[str, Any]
) -> None:
    """204, for its own cursor and for that of the event, however it asks."""
    job = await played(joblog)
    async with transport.open(base, job.id, **query) as reader:
        end = (await rest(reader))[-1]
    for cursor in (reader.cursor, end["cursor"]):
        async with transport.open(base, job.id, cursor, **query) as again:
            assert again.status == 204
            assert await rest(again) == []


async def test_readers_that_come_while_the_job_ends_see_the_end_once(
    base: str, joblog: JobLog, transport: Transport
) -> None:
    """Connect and end race; nobody waits for ever, and nobody is told twice."""

    async def race(number: int) -> None:
        job = await PlayedJob.running(joblog)

        async def end() -> None:
            for _ in range(number % 10):
                await asyncio.sleep(0)
            await job.end()

        events, _ = await asyncio.gather(transport.read(base, job.id), end())
        assert types(events)[0] == "snapshot"
        assert types(events)[1:] == ["end"]

    await asyncio.gather(*(race(number) for number in range(12)))


# --- rule 5: the connection is not the job ---------------------------------------------------------


async def test_who_hangs_up_changes_nothing_and_leaves_nothing(
    api: Api, base: str, joblog: JobLog, transport: Transport
) -> None:
    """In the middle of waiting for news: the job goes on, and the server soon has no reader less or more."""
    job = await PlayedJob.running(joblog)
    await eventually(lambda: api.services.hub.streams == 0, "earlier readers have gone")

    async def wait_for_ever() -> None:
        async with transport.open(base, job.id) as reader:
            await until(reader, "end")

    waiting = [asyncio.create_task(wait_for_ever()) for _ in range(5)]
    await eventually(lambda: api.services.hub.streams == 5, "they wait")
    await end(*waiting)
    await eventually(lambda: api.services.hub.streams == 0, "none is left")
    seen = (await api.http.get(f"/v1/jobs/{job.id}")).json()
    assert (seen["status"], seen["version"], seen["cancel_requested"]) == ("running", 2, False)
    await job.end()


# --- rule 6: reading ------------------------------------------------------------------------------


async def test_what_was_told_can_be_read(api: Api, base: str, joblog: JobLog, transport: Transport) -> None:
    """A job read by GET after an event is never behind it."""
    job = await PlayedJob.running(joblog)
    async with transport.open(base, job.id) as reader:
        await until(reader, "snapshot")
        for i in range(10):
            await job.output(i, i)
            told = (await until(reader, "output"))[-1]
            assert (await api.http.get(f"/v1/jobs/{job.id}")).json()["version"] >= told["seq"]
        await job.end()
        told = (await until(reader, "end"))[-1]
        assert (await api.http.get(f"/v1/jobs/{job.id}")).json()["done"] is True


# --- rule 7: slow readers, and those who want less ---------------------------------------------------


async def test_a_slow_reader_loses_progress_at_most(base: str, joblog: JobLog, transport: Transport) -> None:
    """While it looks away more happens than any buffer holds: every log line, output and the end is there, in order."""
    job = await PlayedJob.running(JobLog(joblog._redis, history_limit=100_000))
    count = 300
    async with transport.open(base, job.id) as reader:
        await until(reader, "snapshot")
        for i in range(count):
            await job.progress(i)
            await job.log(f"{i} " + "x" * 800)
        await job.end()
        events = await rest(reader)
    assert [int(event["message"].split()[0]) for event in events if event["type"] == "log"] == list(
        range(count)
    )
    assert types(events)[-1] == "end"
    assert seqs(events) == sorted(set(seqs(events)))
    assert "gap" not in types(events)


async def test_only_the_kinds_that_were_asked_for(base: str, joblog: JobLog, transport: Transport) -> None:
    """And what nobody can do without; the cursor moves past what is not told."""
    job = await PlayedJob.running(joblog)
    async with transport.open(base, job.id, events="log, output") as reader:
        await until(reader, "snapshot")
        for i in range(5):
            await job.progress(i)
        await job.log("kept")
        assert types(await until(reader, "log")) == ["log"]
        await job.progress(9)
        await job.output(0, 1)
        await job.end()
        assert types(await rest(reader)) == ["output", "end"]
        end = reader.cursor
    async with transport.open(base, job.id, end, events="log") as again:
        assert again.status == 204


async def test_progress_can_be_gathered(base: str, joblog: JobLog, transport: Transport) -> None:
    """Of several within the interval the last is told, and the end does not wait."""
    job = await PlayedJob.running(joblog)
    async with transport.open(base, job.id, min_interval_ms=60_000) as reader:
        await until(reader, "snapshot")
        reading = asyncio.create_task(rest(reader))
        for i in range(20):
            await job.progress(i)
        await job.log("kept")
        await job.end()
        events = await reading
    assert types(events) == ["progress", "log", "end"]
    assert events[0]["progress"]["current"] == 19


@pytest.mark.parametrize(
    "query", [{"min_interval_ms": -1}, {"min_interval_ms": 60_001}, {"min_interval_ms": "x"}]
)
async def test_a_wrong_parameter_is_refused(
    base: str, joblog: JobLog, transport: Transport, query: dict[str, Any]
) -> None:
    """422, before anything is opened."""
    job = await played(joblog)
    async with transport.open(base, job.id, **query) as reader:
        assert reader.status == 422


# --- rule 8: goodbyes ------------------------------------------------------------------------------


async def test_a_server_that_leaves_says_so(
    tmp_path: Path, redis_server: RedisServer, joblog: JobLog, writer: str, transport: Transport
) -> None:
    """With what there was left to say, when to come back, and a clean end; the next server goes on from there."""
    job = await PlayedJob.running(joblog)
    async with AsyncExitStack() as opened:
        async with serving(wanted(tmp_path, redis_server, writer)) as leaving:
            base = str(leaving.http.base_url)
            readers = [await opened.enter_async_context(transport.open(base, job.id)) for _ in range(5)]
            for reader in readers:
                await until(reader, "snapshot")
            goodbyes = [asyncio.create_task(rest(reader)) for reader in readers]
            await eventually(lambda: leaving.services.hub.streams == 5, "they wait")
            leaving.server.should_exit = True
            told = await asyncio.gather(*goodbyes)
        assert [types(events) for events in told] == [["reconnect"]] * 5
        assert {events[-1]["reason"] for events in told} == {"shutdown"}
        assert all(events[-1]["retry_ms"] > 0 for events in told)
        assert len({events[-1]["retry_ms"] for events in told}) > 1
    await job.log("meanwhile")
    await job.end()
    async with serving(wanted(tmp_path, redis_server, writer)) as following:
        events = await transport.read(str(following.http.base_url), job.id, readers[0].cursor)
        assert types(events) == ["log", "end"]


async def test_a_job_that_was_deleted_is_said_to_be(
    base: str, redis: Redis, joblog: JobLog, transport: Transport
) -> None:
    """To those who had not heard its end; whoever comes back then hears that there is no such job."""
    job = await PlayedJob.running(joblog)
    async with transport.open(base, job.id) as reader:
        await until(reader, "snapshot")
        reading = asyncio.create_task(rest(reader))
        await asyncio.sleep(0)
        await happen_unheard(redis, job, 3, "end", status="succeeded")
        assert await many.forget(joblog, {job.id: AT}) == ["forgotten"]
        last = (await reading)[-1:]
    assert [(event["type"], event["reason"]) for event in last] in (
        [("reconnect", "deleted")],
        [],  # a poll that asked after it was gone
    )
    async with transport.open(base, job.id, reader.cursor) as again:
        assert again.status == 404


# --- what is not there, and what only waits ----------------------------------------------------------


@pytest.mark.parametrize("job_id", [new_job_id(), "no%20id", "x" * 65, "%00"])
async def test_an_unknown_job_is_not_found(base: str, transport: Transport, job_id: str) -> None:
    """404, with or without a cursor, whatever stands for its id."""
    for cursor in (None, "aaaaaaaa-1", "garbage"):
        async with transport.open(base, job_id, cursor) as reader:
            assert reader.status == 404


async def test_where_a_job_waits_is_told_when_it_changes_and_only_then(
    base: str, redis: Redis, joblog: JobLog, transport: Transport
) -> None:
    """No worker listens, then one that does not offer its task: one event for each, and silence in between."""
    queue = new_job_id()  # where nobody of another test listens
    new = NewJob(id=new_job_id(), task="played", queue=queue, created_at=AT)
    await joblog.create(new)
    async with transport.open(base, new.id) as reader:
        said: list[dict[str, Any]] = []

        async def read() -> None:
            async for event in reader.events():
                said.append(event)  # noqa: PERF401 - it is looked at meanwhile

        def reasons() -> list[str]:
            waiting = [event["job"]["waiting"] if "job" in event else event["waiting"] for event in said]
            return [one["reason"] for one in waiting if one]

        reading = asyncio.create_task(read())
        await eventually(lambda: reasons() == ["no_worker_for_queue"], "nobody is there")
        await announce(redis, worker=queue, queue=queue)
        await eventually(lambda: reasons()[1:] == ["no_worker_for_task"], "somebody is there")
        await end(reading)
    assert len(said) <= 3


async def test_silence_moves_no_cursor(base: str, joblog: JobLog, transport: Transport) -> None:
    """Pings and empty answers are heard, and whoever comes back after them has missed nothing."""
    job = await PlayedJob.running(joblog)
    quick: dict[str, Any] = {"wait": 0} if transport.name == "poll" else {}
    async with transport.open(base, job.id, **quick) as reader:
        await until(reader, "snapshot")
        before = reader.cursor
        if transport.name == "poll":
            for _ in range(3):
                await reader.ask()  # type: ignore[attr-defined]
                assert not reader.ready  # type: ignore[attr-defined]
        else:
            raw = reader.raw  # type: ignore[attr-defined]
            while b"ping" not in raw.body:
                await anext(raw.chunks())
        assert reader.cursor == before
    await job.log("later")
    async with transport.open(base, job.id, before) as again:
        assert (await until(again, "log"))[0]["message"] == "later"


async def test_while_redis_is_away_a_reader_is_asked_to_come_back(
    tmp_path: Path, redis_server: RedisServer, joblog: JobLog, writer: str, transport: Transport
) -> None:
    """An EventSource by 200 and `reconnect`, as it would give up on a 503; whoever can read a status gets that."""
    job = await played(joblog)
    async with serving(wanted(tmp_path, redis_server, writer, redis_answer_seconds=0.5)) as api:
        redis_server.pause()
        try:
            async with transport.open(str(api.http.base_url), job.id) as reader:
                assert reader.status == (200 if transport.name == "sse" else 503)
                if transport.name == "sse":
                    [event] = await rest(reader)
                    assert (event["type"], event["reason"]) == ("reconnect", "unavailable")
        finally:
            redis_server.resume()
