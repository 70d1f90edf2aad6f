"""A job that waits says where it stands and for what: in the log, in the hub, in every answer of the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from milepost_api.caretaker import StartDeadlines
from milepost_api.hub import Hub, Subscription, Wishes
from milepost_api.hub.line import Line
from milepost_api.roster import FRESH_SECONDS, USABLE_SECONDS, Roster
from redis.asyncio import Redis

from milepost.job import Job, Waiting
from milepost.log import Catalogue, JobLog, WorkerInfo
from milepost.log.keys import WORKERS
from milepost.log.peek import peek_in_line
from tests.support.api import COUNT, Api, Hand, announce, serving, settings
from tests.support.hub import hub_on, kinds, next_frames, subscribe, value
from tests.support.joblog import claimed, created
from tests.support.jobs import PlayedJob
from tests.support.redis import RedisServer
from tests.support.schemas import check_event
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio
NOBODY = "no_worker_for_queue"


# --- the log -------------------------------------------------------------------------------------


async def position(log: JobLog, redis: Redis, job_id: str) -> int | None:
    """Return the place of a job, which is the same however it is asked for."""
    read = (await log.read(job_id)).job.queue_position
    [seen], [place] = await peek_in_line(redis, [job_id]), await log.places([job_id])
    assert seen is not None
    assert place is not None
    assert read == seen.job.queue_position == place.position
    return read


async def test_the_place_in_the_queue_is_the_order_of_taking(joblog: JobLog, redis: Redis) -> None:
    """The urgent first, the rest by age; each moves up when one before it is begun."""
    first = await created(joblog)
    await redis.ping()
    second = await created(joblog, created_at="2026-11-21T03:30:01.000Z", due_ms=None)
    urgent = await created(joblog, priority=5)
    other = await created(joblog, queue="video")
    order = [one.id for one in (urgent, first, second)]
    assert sorted([await position(joblog, redis, one) for one in order], key=str) == [1, 2, 3]
    assert await position(joblog, redis, urgent.id) == 1
    assert await position(joblog, redis, other.id) == 1

    await claimed(joblog, redis, urgent.id)

    assert await position(joblog, redis, urgent.id) is None
    assert {await position(joblog, redis, one.id) for one in (first, second)} == {1, 2}


async def test_what_is_not_due_stands_in_no_line(joblog: JobLog, redis: Redis) -> None:
    """It comes to stand there at its moment, behind nobody who is not due either."""
    later = await created(joblog, delay_ms=3_600_000)
    soon = await created(joblog, delay_ms=30)
    assert await position(joblog, redis, later.id) is None

    async def due() -> bool:  # asked in one way: between two questions it may come to stand there
        return (await joblog.read(soon.id)).job.queue_position == 1

    await eventually(due, "the delayed job is due")
    assert await position(joblog, redis, soon.id) == 1
    now = await created(joblog)
    assert await position(joblog, redis, now.id) == 1
    assert await position(joblog, redis, soon.id) == 2
    assert await position(joblog, redis, later.id) is None


async def test_a_new_job_is_told_its_place(joblog: JobLog) -> None:
    """In the same step: no second question, and none when it was there already."""
    from milepost.ids import new_job_id
    from milepost.log import Created, NewJob

    jobs = [NewJob(id=new_job_id(), task="t", created_at="2026-11-21T03:30:00.000Z") for _ in range(2)]
    assert await joblog.create(jobs[0]) == Created(1)
    assert await joblog.create(jobs[1]) in (Created(1), Created(2))  # those of one millisecond have no order
    assert await joblog.create(jobs[0]) is None
    assert await joblog.create(replace(jobs[0], id=new_job_id(), delay_ms=60_000)) == Created(None)


async def test_scripts_that_redis_forgot_are_loaded_again(joblog: JobLog, redis: Redis) -> None:
    """A restart between two looks is no failure."""
    job = await created(joblog)
    await redis.script_flush()
    assert [place and place.position for place in await joblog.places([job.id, "nobody"])] == [1, None]
    assert await joblog.places([]) == []


# --- the roster ----------------------------------------------------------------------------------


async def test_the_roster_is_read_at_most_once_in_a_while(redis: Redis) -> None:
    """A thousand jobs that wait cost one look at the workers; a look that is old is taken again, for whoever comes

    next, and one that is older for whoever asks.
    """
    now = 100.0
    roster = Roster(Catalogue(redis), answer_seconds=10, clock=lambda: now)
    job = Job(id="J", task=COUNT.name, queue_position=1)
    [first] = await roster.explain([job])
    await announce(redis)
    [remembered] = await roster.explain([job])
    now += FRESH_SECONDS + 0.1
    [usable] = await roster.explain([job])
    assert [one.waiting is None for one in (first, remembered, usable)] == [False, False, False]

    async def is_known() -> bool:
        [renewed] = await roster.explain([job])
        return renewed.waiting is None

    await eventually(is_known, "it was asked for meanwhile")
    await redis.flushall()
    now += USABLE_SECONDS + 0.1
    [waited] = await roster.explain([job])
    assert waited.waiting is not None


# --- the hub -------------------------------------------------------------------------------------


class Words:
    """Says of every waiting job what the test wants said."""

    def __init__(self) -> None:
        self.waiting: Waiting | None = None

    async def explain(self, jobs: Any) -> list[Job]:
        return [replace(job, waiting=self.waiting) if job.queue_position else job for job in jobs]


@pytest.fixture
async def hub(redis_server: RedisServer, joblog: JobLog) -> AsyncIterator[Hub]:
    async with hub_on(redis_server.url, joblog) as hub:
        yield hub


async def look(hub: Hub, joblog: JobLog, words: Words) -> None:
    """Do at once what the hub does every 1.5 s."""
    await Line(joblog, words.explain).look(list(hub._topics.values()))


async def silent(subscription: Subscription) -> bool:
    return await subscription.next(0.05) == []


async def test_a_reader_is_told_when_its_job_stands_elsewhere(hub: Hub, joblog: JobLog, redis: Redis) -> None:
    """Place or reason: each change once, without an id, fit for its schema; no change, no word."""
    before, job = await PlayedJob.queued(joblog, "a" * 8), await PlayedJob.queued(joblog, "b" * 8)
    words = Words()
    with closing(await subscribe(hub, job.id, None)) as reader:
        [snapshot] = await next_frames(reader)
        assert value(snapshot)["job"]["queue_position"] == 2
        await look(hub, joblog, words)
        assert await silent(reader)

        words.waiting = Waiting(reason=NOBODY, message="Nobody is there.")
        await look(hub, joblog, words)
        [told] = await next_frames(reader)
        await joblog.cancel(before.id)
        await look(hub, joblog, words)
        [moved] = await next_frames(reader)
        await look(hub, joblog, words)
        assert await silent(reader)

    assert kinds([told, moved]) == ["waiting", "waiting"]
    assert b"\nid:" not in told.sse
    check_event(value(told))
    assert [value(one)["queue_position"] for one in (told, moved)] == [2, 1]
    assert value(told)["waiting"] == {"reason": NOBODY, "message": "Nobody is there."}


async def test_nothing_is_said_of_a_job_that_runs(hub: Hub, joblog: JobLog, redis: Redis) -> None:
    """What was read before the job began is not told after it, and a running job is not asked about again."""
    job = await PlayedJob.queued(joblog)
    words = Words()
    words.waiting = Waiting(reason=NOBODY, message="Nobody is there.")
    with closing(await subscribe(hub, job.id, None)) as reader:
        await next_frames(reader)

        async def explained_late(jobs: Any) -> list[Job]:
            await claimed(joblog, redis, job.id, task="played")
            [status] = await next_frames(reader)
            assert value(status)["status"] == "running"
            return await words.explain(jobs)

        await Line(joblog, explained_late).look(list(hub._topics.values()))
        await look(hub, joblog, words)
        assert await silent(reader)
        [topic] = hub._topics.values()
        assert not topic.may_wait


async def test_a_reader_that_comes_back_is_told_where_its_job_stands(hub: Hub, joblog: JobLog) -> None:
    """It gets no snapshot, so what it believes may be old. One that wants other events only gets none of these."""
    job = await PlayedJob.queued(joblog)
    cursor = str((await joblog.read(job.id)).cursor)
    with (
        closing(await subscribe(hub, job.id, cursor)) as reader,
        closing(await subscribe(hub, job.id, cursor, Wishes(kinds=frozenset({"log"})))) as picky,
    ):
        await look(hub, joblog, Words())
        [told] = await next_frames(reader)
        assert value(told)["queue_position"] == 1
        assert await silent(picky)


# --- the API -------------------------------------------------------------------------------------


@pytest.fixture
async def api(tmp_path: Path, redis_server: RedisServer, redis: Redis) -> AsyncIterator[Api]:
    await announce(redis)
    async with serving(settings(tmp_path, redis_server.url)) as running:
        yield running


async def dies(redis: Redis, worker: str = "w1") -> None:
    """Let the announcement of a worker run out, as after `kill -9`."""
    await redis.zadd(WORKERS, {worker: 1})


async def until(api: Api, job: dict[str, Any], reason: str | None) -> dict[str, Any]:
    async def so() -> dict[str, Any] | None:
        found: dict[str, Any] = await api.get(job["urls"]["self"])
        return found if (found["waiting"] or {}).get("reason") == reason else None

    return await eventually(so, f"the job waits for {reason}")


async def test_every_answer_says_where_a_job_stands(api: Api, redis: Redis) -> None:
    """The 202, the job, its status and the list: the same place, and a sentence on what to do."""
    job = await api.submit(queue="video")
    again = await api.submit(queue="video")
    assert (job["queue_position"], job["waiting"]["reason"]) == (1, NOBODY)
    assert "--queue video" in job["waiting"]["message"]
    for found in (
        await api.get(job["urls"]["self"]),
        await api.get(job["urls"]["status"]),
        (await api.get("/v1/jobs", order="oldest"))["items"][0],
    ):
        assert found["waiting"] == job["waiting"]
        assert found["queue_position"] in (1, 2)  # those of one millisecond have no order
    assert {job["id"], again["id"]} == {one["id"] for one in (await api.get("/v1/jobs"))["items"]}


async def test_a_job_that_is_about_to_be_taken_waits_for_nothing(api: Api, redis: Redis) -> None:
    """The worker has one slot: the first job gets it, the second waits for it, and says so."""
    first = await api.submit()
    second = await until(api, await api.submit(priority=-1), "workers_busy")
    assert (first["queue_position"], first["waiting"]) == (1, None)
    assert second["queue_position"] == 2


async def test_the_death_of_the_last_worker_is_seen(api: Api, redis: Redis) -> None:
    """In the job and in its entity tag: who asks `If-None-Match` hears of it too."""
    job = await api.submit()
    tag = (await api.http.get(job["urls"]["self"])).headers["etag"]
    await dies(redis)
    await until(api, job, NOBODY)
    answer = await api.http.get(job["urls"]["self"], headers={"If-None-Match": tag})
    assert answer.status_code == 200


async def test_a_long_poll_answers_when_the_reason_changes(api: Api, redis: Redis) -> None:
    """The job has not moved; that nobody is there to begin it is news all the same."""
    job = await api.submit()
    before = await api.get(job["urls"]["status"])
    polling = asyncio.create_task(api.get(job["urls"]["status"], wait=60, after=before["cursor"]))
    await eventually(lambda: api.services.hub.streams == 1, "the poll waits at the hub")
    await dies(redis)
    after = await asyncio.wait_for(polling, 50)
    assert (before["waiting"], after["waiting"]["reason"]) == (None, NOBODY)
    assert after["cursor"] == before["cursor"]


async def test_a_job_that_begins_waits_no_more(api: Api, redis: Redis) -> None:
    """Both fields are null from then on."""
    job = await api.submit()
    hand = Hand(api.services.log)
    await hand.begin(job["id"])
    for found in (await api.get(job["urls"]["self"]), await api.get(job["urls"]["status"])):
        assert (found["queue_position"], found["waiting"]) == (None, None)


async def test_a_task_that_nobody_announced_waits_if_that_is_allowed(api: Api, redis: Redis) -> None:
    """Its params are anybody's guess until a worker comes; without the wish it is refused as before."""
    body = {"task": "brand.new", "params": {"any": [1]}}
    refused = await api.http.post("/v1/jobs", json=body)
    assert (refused.status_code, refused.json()["known_tasks"]) == (422, [COUNT.name])

    job = await api.submit(**body, allow_unknown_task=True)
    assert (job["waiting"]["reason"], job["queue_position"]) == ("no_worker_for_task", None)
    assert "brand.new" in job["waiting"]["message"]
    assert (job["queue"], job["max_attempts"]) == ("default", 1)
    await announce(redis, replace(COUNT, name="brand.new"), worker="w2")
    assert (await until(api, job, None))["queue_position"] == 1


@pytest.mark.parametrize("name", ["a b", "-x", "naïve", "a\nb", "x" * 129])
async def test_a_name_that_no_task_can_have_is_refused_all_the_same(api: Api, name: str) -> None:
    """Nobody could ever offer it: waiting would be for ever."""
    answer = await api.http.post("/v1/jobs", json={"task": name, "allow_unknown_task": True})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:milepost:problem:unknown-task")


async def test_the_wish_is_no_part_of_what_a_key_names(api: Api) -> None:
    """The same submission under the same key is the same job, with the wish or without."""
    headers = {"Idempotency-Key": "k"}
    body = {"task": COUNT.name, "params": {"steps": 1}}
    first = await api.http.post("/v1/jobs", json=body, headers=headers)
    second = await api.http.post("/v1/jobs", json=body | {"allow_unknown_task": True}, headers=headers)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["id"] == second.json()["id"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"queue": "video"}, "No worker listens on the queue 'video'"),
        ({"task": "brand.new", "allow_unknown_task": True}, "offers the task 'brand.new'"),
        ({"queue": "busy"}, "Those that could were busy."),
    ],
)
async def test_a_job_that_expires_says_why_nobody_began_it(
    api: Api, redis: Redis, fields: dict[str, Any], why: str
) -> None:
    """The error names the time it was given, and what was missing."""
    busy = WorkerInfo(
        id="w9",
        host="h",
        pid=2,
        version="0",
        queues=["busy"],
        tasks=[COUNT.name],
        concurrency=0,
        started_at="",
    )
    await Catalogue(redis).announce(busy, [], ttl_seconds=600)
    job = await api.submit(start_timeout_seconds=0.001, **fields)
    ended = await eventually(lambda: expired(api, job), "the job expires")
    assert ended["error"]["code"] == "start_timeout"
    assert ended["error"]["message"].startswith("No worker began this job within its 0.001 s. ")
    assert why in ended["error"]["message"]
    assert (ended["queue_position"], ended["waiting"]) == (None, None)


async def expired(api: Api, job: dict[str, Any]) -> dict[str, Any] | None:
    services = api.services
    await StartDeadlines(services.store, services.log, services.lookup).round()
    found: dict[str, Any] = await api.get(job["urls"]["self"])
    return found if found["status"] == "expired" else None


async def test_the_queues_say_what_they_hold_and_who_takes_from_them(api: Api, redis: Redis) -> None:
    """Those with jobs, those that are listened on, those of tasks; drained workers take nothing."""
    await announce(redis, replace(COUNT, name="other", queue="idle"))
    await Catalogue(redis).announce(
        WorkerInfo(
            id="leaving", host="h", pid=2, version="0", queues=["default"], tasks=[], concurrency=9,
            started_at="", state="draining",
        ),
        [],
        ttl_seconds=600,
    )  # fmt: skip
    running = await api.submit()
    await Hand(api.services.log).begin(running["id"])
    await api.submit()
    await api.submit(queue="video")
    await api.submit(queue="video", delay_seconds=60)

    async def listed() -> dict[str, Any] | None:
        found = {one.pop("name"): one for one in (await api.get("/v1/queues"))["items"]}
        return found if found["default"]["running"] else None

    queues = await eventually(listed, "the beginning is recorded")
    ages = {name: one.pop("oldest_waiting_seconds") for name, one in queues.items()}
    assert queues == {
        "default": {"waiting": 1, "scheduled": 0, "running": 1, "workers": 1},
        "video": {"waiting": 1, "scheduled": 1, "running": 0, "workers": 0},
        "idle": {"waiting": 0, "scheduled": 0, "running": 0, "workers": 0},
    }
    assert ages["idle"] is None
    assert all(0 <= ages[name] < 3600 for name in ("default", "video"))
