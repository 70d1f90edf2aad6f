"""Many jobs on one connection, over real HTTP: what is selected, what is told, and how it ends."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from milepost_api.many import Filter, Wanted
from milepost_api.records import JobFilter, JobRecord
from redis.asyncio import Redis

from milepost.ids import new_job_id
from milepost.log import JOBS_CHANNEL, JobLog
from milepost.log.bookmarks import NEW
from milepost.tenants import DEFAULT_TENANT
from milepost.times import utc_now
from tests.support.api import Api, Hand, announce, serving, settings
from tests.support.jobs import PlayedJob
from tests.support.many import assert_exact, nothing_is_left, opened, read, read_on, read_up_to
from tests.support.redis import RedisServer
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path, redis_server: RedisServer, redis: Redis) -> AsyncIterator[Api]:
    await announce(redis)
    async with serving(settings(tmp_path, redis_server.url, ping_seconds=1)) as api:
        yield api


# --- named jobs ------------------------------------------------------------------------------------


async def test_named_jobs_are_followed_to_their_ends(api: Api, joblog: JobLog) -> None:
    """The selection, a snapshot of each, everything after it, a job_end of each, and one end at the very end."""
    jobs = [await PlayedJob.running(joblog) for _ in range(3)]
    async with opened(api.http.base_url, jobs=[job.id for job in jobs]) as stream:
        told = await read_on(stream, until="snapshot")
        await read_up_to(stream, told, 3, "snapshot")
        for job in jobs:
            await job.progress(1)
            await job.log("one")
            await job.output(0, {"a": 1})
            await job.end()
        await read_on(stream, told)
    assert stream.ended_clean
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.body.startswith(b"retry: ")
    first, last = told.events[0], told.events[-1]
    assert (first["type"], first["jobs"], first["truncated"], first["resumed"]) == (
        "selection",
        3,
        False,
        False,
    )
    assert (last["type"], last["jobs"], last["by_status"]) == ("end", 3, {"succeeded": 3})
    for job in jobs:
        assert told.types(job.id) == ["snapshot", "progress", "log", "output", "job_end"]
    assert_exact(told, {job.id: 6 for job in jobs})
    assert told.types().count("end") == 1


async def test_an_event_is_the_one_of_the_jobs_own_stream_under_another_id(api: Api, joblog: JobLog) -> None:
    """Only the end has another name. Ids are short and of letters that cost no preflight."""
    job = await PlayedJob.running(joblog)
    async with opened(api.http.base_url, jobs=[job.id]) as stream:
        told = await read_on(stream, until="snapshot")
        await job.progress(1)
        await job.end()
        await read_on(stream, told)
    headers = {"Accept": "application/x-ndjson", "Last-Event-ID": told.of(job.id)[0]["cursor"]}
    own = await api.http.get(f"/v1/jobs/{job.id}/status/stream", headers=headers)
    progress, end = own.text.splitlines()
    together = [line[6:] for line in stream.body.decode().split("\n") if line.startswith("data: ")]
    assert together[2] == progress
    assert together[3] == end.replace('{"type":"end",', '{"type":"job_end",')
    ids = [one for one in told.ids if one]
    assert all(re.fullmatch(r"[0-9a-z-]{1,64}", one) for one in ids)
    assert [one.rpartition("-")[2] for one in ids] == [str(n + 1) for n in range(len(ids))]
    assert [told.ids[0], told.types()[0]] == ["", "selection"]


async def test_jobs_that_have_ended_are_told_and_done(api: Api, joblog: JobLog) -> None:
    """Their snapshot and their job_end, and the end of the whole, at once."""
    jobs = [await PlayedJob.running(joblog) for _ in range(5)]
    for job in jobs:
        await job.end()
    told = await read(api.http.base_url, jobs=[job.id for job in jobs])
    assert told.counts() == {"selection": 1, "snapshot": 5, "job_end": 5, "end": 1}
    assert_exact(told, {job.id: 3 for job in jobs})


async def test_a_job_that_is_not_there_is_said_and_counts_as_done(api: Api, joblog: JobLog) -> None:
    """It is no error of the others; neither is an id that no job can have."""
    job = await PlayedJob.running(joblog)
    await job.end()
    absent = new_job_id()
    told = await read(api.http.base_url, jobs=[absent, job.id, "../x"])
    missing = [event for event in told.events if event["type"] == "job_missing"]
    assert {(event["job_id"], event["reason"]) for event in missing} == {
        (absent, "unknown"),
        ("../x", "unknown"),
    }
    assert told.types(job.id) == ["snapshot", "job_end"]
    assert told.events[-1]["by_status"] == {"succeeded": 1, "missing": 2}


async def test_what_cannot_be_asked_is_refused(api: Api) -> None:
    """Too many jobs, names together with a filter, a kind of answer that is not there: each says what is wrong."""
    too_many = [("job", new_job_id()) for _ in range(501)]
    for query in (too_many, [("job", "a"), ("tag", "x")], [("job", "a"), ("batch", "x")], [("tag", "")]):
        answer = await api.http.get(f"/v1/status/stream?{urlencode(query)}")
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:milepost:problem:invalid-request")
        assert answer.json()["errors"][0]["path"] in ("job", "tag")
    answer = await api.http.get("/v1/status/stream", headers={"Accept": "text/html"})
    assert answer.status_code == 406


async def test_five_hundred_jobs_on_one_connection(api: Api, joblog: JobLog, redis: Redis) -> None:
    """All are opened beside the stream by few tasks and few connections, all end, and nothing stays behind."""
    base = api.http.base_url
    jobs = [
        job
        for _ in range(10)
        for job in await asyncio.gather(*(PlayedJob.running(joblog) for _ in range(50)))
    ]
    tasks_before, connections_before = len(asyncio.all_tasks()), len(await redis.client_list())
    async with opened(base, jobs=[job.id for job in jobs]) as stream:
        told = await read_on(stream, until="selection")
        await read_up_to(stream, told, 500, "snapshot")
        assert len(asyncio.all_tasks()) < tasks_before + 20
        assert len(await redis.client_list()) < connections_before + 20
        for job in jobs:
            await job.progress(1)
            await job.end()
        await read_on(stream, told)
    assert told.events[-1]["by_status"] == {"succeeded": 500}
    assert_exact(told, {job.id: 4 for job in jobs})
    await nothing_is_left(api, redis)


async def test_a_reader_is_not_slow_for_what_happened_while_it_was_told_the_beginning(
    api: Api, joblog: JobLog
) -> None:
    """Only what finds no room in one message makes progress give way to later progress."""
    jobs = [await PlayedJob.running(joblog) for _ in range(3)]
    wanted = Wanted(filter=Filter(DEFAULT_TENANT), named={job.id: NEW for job in jobs})
    with closing(await api.services.many.open(wanted)) as stream:
        await eventually(lambda: len(stream._members) == 3, "all jobs are open")
        for job in jobs:
            for n in range(3):
                await job.progress(n)
        topics = [topic for one in stream._members.values() if (topic := one.subscription.topic)]
        await eventually(lambda: [topic.last for topic in topics] == [5, 5, 5], "all of it is heard")
        frames = await stream.next(0) + await stream.next(0)
    assert Counter(frame.kind for frame in frames) == {"selection": 1, "snapshot": 3, "progress": 9}


# --- filters ---------------------------------------------------------------------------------------


async def test_a_batch_is_followed_and_ends(api: Api, redis: Redis) -> None:
    """Those that are not done and those that are; a later one joins; the end comes when all are done."""
    done = (await api.submit(batch_id="b1"))["id"]
    hand = Hand(api.services.log)
    await hand.run(done)
    waiting = (await api.submit(batch_id="b1"))["id"]
    other = (await api.submit(batch_id="b2"))["id"]
    async with opened(api.http.base_url, batch="b1") as stream:
        told = await read_on(stream, until="selection")
        await read_up_to(stream, told, 2, "snapshot")
        later = (await api.submit(batch_id="b1"))["id"]
        await read_up_to(stream, told, 3, "snapshot")
        for job_id in (waiting, later):
            await hand.run(job_id)
        await read_on(stream, told)
    assert told.events[0]["jobs"] == 2
    assert told.events[-1]["by_status"] == {"succeeded": 3}
    assert told.of(other) == []
    assert {event["job_id"] for event in told.events if event["type"] == "job_end"} == {done, waiting, later}
    await nothing_is_left(api, redis)


async def test_a_batch_without_jobs_ends_at_once(api: Api) -> None:
    """There is nothing to wait for."""
    told = await read(api.http.base_url, batch="nobody")
    assert told.types() == ["selection", "end"]
    assert told.events[-1]["jobs"] == 0


async def test_a_tag_and_a_batch_must_both_hold(api: Api) -> None:
    """What is given must all hold, as in a list; also for jobs that come later."""
    hand = Hand(api.services.log)
    wanted = (await api.submit(batch_id="b1", tags=["red", "blue"]))["id"]
    others = [await api.submit(batch_id="b1", tags=["blue"]), await api.submit(batch_id="b2", tags=["red"])]
    async with opened(api.http.base_url, batch="b1", tag="red") as stream:
        told = await read_on(stream, until="snapshot")
        others.append(await api.submit(tags=["red"]))
        later = (await api.submit(batch_id="b1", tags=["red"]))["id"]
        await read_on(stream, told, until="snapshot")
        for job_id in (wanted, later):
            await hand.run(job_id)
        await read_on(stream, told)
    assert {event["job_id"] for event in told.events if "seq" in event} == {wanted, later}
    assert told.is_over


async def test_a_job_whose_announcement_was_lost_is_found_by_looking(api: Api) -> None:
    """Pub/sub may lose any message; the records do not."""
    hand = Hand(api.services.log)
    first = (await api.submit(batch_id="b1"))["id"]
    async with opened(api.http.base_url, batch="b1") as stream:
        told = await read_on(stream, until="snapshot")
        api.services.hub.unlisten(JOBS_CHANNEL)
        unheard = (await api.submit(batch_id="b1"))["id"]
        await read_on(stream, told, until="snapshot")
        assert told.events[-1]["job_id"] == unheard
        for job_id in (first, unheard):
            await hand.run(job_id)
        await read_on(stream, told)
    assert told.events[-1]["by_status"] == {"succeeded": 2}


@pytest.mark.parametrize("unheard_of", [1, 3])
async def test_the_end_waits_for_a_look_that_finds_nothing_more(api: Api, unheard_of: int) -> None:
    """Each end of all that is known asks for one of its own: a job was submitted before, of which nobody has heard."""
    hand = Hand(api.services.log)
    last = (await api.submit(batch_id="b1"))["id"]
    async with opened(api.http.base_url, batch="b1") as stream:
        told = await read_on(stream, until="snapshot")
        api.services.hub.unlisten(JOBS_CHANNEL)
        for known in range(1, unheard_of + 1):
            unheard = (await api.submit(batch_id="b1"))["id"]
            await hand.run(last)
            await read_up_to(stream, told, known, "job_end")
            await read_up_to(stream, told, known + 1, "snapshot")  # a look that was due may have been first
            last = unheard
        await hand.run(last)
        await read_on(stream, told)
    assert told.events[-1]["by_status"] == {"succeeded": unheard_of + 1}


async def test_a_tag_of_more_jobs_than_are_shown_says_so(api: Api) -> None:
    """Those that are not done come first; what has ended and found no place never comes, not even later."""
    store = api.services.store
    for n in range(510):
        at = utc_now() - timedelta(seconds=1000 - n)
        record = JobRecord(id=f"old-{n:03}", task="t", params="{}", created_at=at, tags=["many"], done=True)
        record.status, record.epoch, record.version, record.finished_at = "succeeded", "e", 2, at
        await store.insert(record)
    living = (await api.submit(tags=["many"]))["id"]
    async with opened(api.http.base_url, tag="many") as stream:
        told = await read_on(stream, until="selection")
        await api.submit(tags=["other"])
        await read_up_to(stream, told, 499, "job_end")
        await Hand(api.services.log).run(living)
        await read_on(stream, told)
    assert (told.events[0]["jobs"], told.events[0]["truncated"]) == (500, True)
    ended = {event["job_id"] for event in told.events if event["type"] == "job_end"}
    assert ended == {living, *(f"old-{n:03}" for n in range(11, 510))}


async def test_a_missed_job_is_told_when_the_reader_comes_back(api: Api) -> None:
    """What joined while nobody read begins with a snapshot; what had ended is not repeated."""
    hand = Hand(api.services.log)
    done, going = [(await api.submit(batch_id="b1"))["id"] for _ in range(2)]
    await hand.run(done)
    async with opened(api.http.base_url, batch="b1") as stream:
        told = await read_on(stream, until="job_end")
        await read_up_to(stream, told, 2, "snapshot")
    late = (await api.submit(batch_id="b1"))["id"]
    await hand.run(late)
    await hand.run(going)
    await read(api.http.base_url, told, batch="b1")
    assert told.types(done) == ["snapshot", "job_end"]
    assert told.types(late) == ["snapshot", "job_end"]
    assert told.types(going) == ["snapshot", "status", "job_end"]
    assert told.events[-1]["by_status"] == {"succeeded": 3}
    assert not told.counts()["gap"]


# --- the list of all jobs ----------------------------------------------------------------------------


async def test_the_list_of_all_jobs_goes_on_for_ever(api: Api, redis: Redis) -> None:
    """Jobs join as they come, logs and outputs are left out, and it has no end, even when there is no job."""
    hand = Hand(api.services.log)
    async with opened(api.http.base_url, min_interval_ms="0") as stream:
        told = await read_on(stream, until="selection")
        assert told.events[0]["jobs"] == 0
        await read_on(stream, told, until="ping")
        for name in ("one", "two"):
            job_id = (await api.submit(tags=[name]))["id"]
            await hand.begin(job_id)
            await hand.say("info", "not for a list")
            await hand.succeed()
            await read_on(stream, told, until="job_end")
        await read_on(stream, told, until="ping")
    assert told.counts()["job_end"] == 2
    assert not told.counts()["log"]
    assert not told.counts()["end"]
    await nothing_is_left(api, redis)


async def test_logs_are_on_the_list_of_all_jobs_if_asked_for(api: Api) -> None:
    """And then nothing else is, but what always comes."""
    hand = Hand(api.services.log)
    job_id = (await api.submit())["id"]
    async with opened(api.http.base_url, events="log") as stream:
        told = await read_on(stream, until="snapshot")
        await hand.begin(job_id)
        await hand.say("info", "for those who ask")
        await hand.succeed()
        await read_on(stream, told, until="job_end")
    assert told.types(job_id) == ["snapshot", "log", "job_end"]


async def test_a_deleted_job_is_said_to_be_gone(api: Api) -> None:
    """A list takes it away; a new job of the same id joins."""
    hand = Hand(api.services.log)
    body = {"task": "demo.count", "params": {"steps": 3}}
    async with opened(api.http.base_url, min_interval_ms="0") as stream:
        told = await read_on(stream, until="selection")
        assert (await api.http.put("/v1/jobs/order-1", json=body)).status_code == 202
        await hand.run("order-1")
        await read_on(stream, told, until="job_end")

        async def deleted() -> bool:
            return (await api.http.delete("/v1/jobs/order-1")).status_code == 204

        await eventually(deleted, "the job is deleted")
        await read_on(stream, told, until="job_missing")
        assert (told.events[-1]["job_id"], told.events[-1]["reason"]) == ("order-1", "deleted")
        assert (await api.http.put("/v1/jobs/order-1", json=body)).status_code == 202
        await read_on(stream, told, until="snapshot")
        assert told.events[-1]["job"]["status"] == "queued"


async def test_the_list_of_all_jobs_while_there_are_a_thousand(api: Api, redis: Redis) -> None:
    """More than are shown: the newest thousand that are not done, and it is said that there are more."""
    ids = [(await api.submit())["id"] for _ in range(3)]
    while len(ids) < 1030:
        ids += [job["id"] for job in await asyncio.gather(*(api.submit() for _ in range(13)))]
    hand = Hand(api.services.log)
    for job_id in ids[:3]:
        await hand.run(job_id)

    async def recorded() -> bool:
        return bool((await api.get("/v1/jobs/counts"))["by_status"]["succeeded"] == 3)

    await eventually(recorded, "the ends are recorded")
    async with opened(api.http.base_url) as stream:
        told = await read_on(stream, until="selection")
        await read_up_to(stream, told, 1003, "snapshot")
        assert (told.events[0]["jobs"], told.events[0]["truncated"]) == (1003, True)
        shown = {event["job_id"] for event in told.events if event["type"] == "snapshot"}
        newest = await api.services.store.outlined(JobFilter(), limit=1000)
        assert shown == {*ids[:3], *(one.id for one in newest)}
        later = (await api.submit())["id"]
        while not told.of(later):
            await read_on(stream, told, until="snapshot")
    await nothing_is_left(api, redis)
