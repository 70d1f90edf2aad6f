"""What is asked of Redis about a job of another tenant: the same as about one that is not there, and no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from milepost_api.hub import Hub
from milepost_api.hub import subscribe as subscribe_for
from milepost_api.lookup import Lookup
from milepost_api.records import JobStore, open_engines, schema
from milepost_api.roster import Roster
from redis.asyncio import Redis

from milepost.errors import JobNotFound
from milepost.ids import new_job_id
from milepost.log import Catalogue, JobLog, NewJob
from milepost.log.keys import events_key, state_key
from tests.support.hub import all_frames, hub_on, kinds, next_frames, subscribe, value
from tests.support.jobs import AT, PlayedJob
from tests.support.redis import RedisServer

pytestmark = pytest.mark.anyio
OURS = ("info", "client|setinfo")
"""What the tests' own looks at Redis cost."""


@pytest.fixture
async def hub(redis_server: RedisServer, joblog: JobLog) -> AsyncIterator[Hub]:
    async with hub_on(redis_server.url, joblog) as running:
        yield running


@pytest.fixture
async def lookup(tmp_path: Path, redis: Redis) -> AsyncIterator[Lookup]:
    async with open_engines(f"sqlite+aiosqlite:///{tmp_path}/records.db") as engines:
        await schema.upgrade(engines)
        yield Lookup(redis, JobStore(engines), Roster(Catalogue(redis), answer_seconds=10), answer_seconds=10)


async def commands(redis: Redis) -> Counter[str]:
    """Return how often each command was run."""
    stats = await redis.info("commandstats")
    names = {name.removeprefix("cmdstat_"): entry["calls"] for name, entry in stats.items()}
    return Counter({name: calls for name, calls in names.items() if name not in OURS})


async def refusal(hub: Hub, redis: Redis, job_id: str) -> Counter[str]:
    """Return what it costs Redis to tell globex that it has no such job to follow."""
    before = await commands(redis)
    with pytest.raises(JobNotFound):
        await subscribe_for(hub, job_id, None, tenant="globex")
    asked = await commands(redis) - before
    del asked["unsubscribe"]  # sent later, when nobody waits for it
    return asked


async def test_following_a_job_of_another_tenant_costs_what_one_that_is_not_there_costs(
    hub: Hub, joblog: JobLog, redis: Redis
) -> None:
    """Whether it waits, runs, is over, or is watched already: how soon the refusal comes tells nothing."""
    waiting, running, over = [
        await PlayedJob.queued(joblog),
        await PlayedJob.running(joblog),
        await PlayedJob.running(joblog),
    ]
    await over.end()
    await refusal(hub, redis, new_job_id())  # loads the script
    nothing = await refusal(hub, redis, new_job_id())

    assert (nothing["subscribe"], nothing["evalsha"]) == (1, 1)
    for job in (waiting, running, over):
        assert {name: (await refusal(hub, redis, job.id))[name] for name in ("subscribe", "evalsha")} == {
            "subscribe": 1,
            "evalsha": 1,
        }
    with closing(await subscribe(hub, running.id)):
        assert await refusal(hub, redis, running.id) == nothing


async def test_a_refused_reader_does_not_disturb_those_who_may_read(hub: Hub, joblog: JobLog) -> None:
    """The topic is shared by its readers: who is sent away takes nothing from them, whoever came first."""
    job = await PlayedJob.running(joblog)
    with pytest.raises(JobNotFound):
        await subscribe_for(hub, job.id, None, tenant="globex")
    reader = await subscribe(hub, job.id)
    with pytest.raises(JobNotFound):
        await subscribe_for(hub, job.id, None, tenant="globex")
    assert hub.streams == 1

    await job.log("still here")
    await job.end()

    assert kinds(await all_frames(reader)) == ["snapshot", "log", "end"]


async def test_readers_of_a_deleted_job_see_nothing_of_another_tenants_job_with_its_id(
    hub: Hub, joblog: JobLog, redis: Redis
) -> None:
    """Whether they wait for more or have fallen behind: they are told that theirs is gone."""
    job = await PlayedJob.running(joblog)
    waits, behind = await subscribe(hub, job.id), await subscribe(hub, job.id)
    await next_frames(waits)
    await redis.delete(state_key(job.id), events_key(job.id))

    theirs = NewJob(id=job.id, task="played", created_at=AT, tenant="globex", metadata={"of": "globex"})
    assert await joblog.create(theirs)

    seen = [*await all_frames(waits), *await all_frames(behind)]
    assert kinds(seen) == ["reconnect", "snapshot", "reconnect"]
    assert not any(b"globex" in frame.data for frame in seen)
    with pytest.raises(JobNotFound):
        await subscribe(hub, job.id)
    with closing(await subscribe_for(hub, job.id, None, tenant="globex")) as reader:
        [snapshot] = await next_frames(reader)
    assert value(snapshot)["job"]["metadata"] == {"of": "globex"}


async def test_looking_up_a_job_of_another_tenant_costs_what_one_that_is_not_there_costs(
    lookup: Lookup, joblog: JobLog, redis: Redis
) -> None:
    """One read of its state, and none of its place in the queue."""
    asked = []
    for job_id in (new_job_id(), (await PlayedJob.queued(joblog)).id, (await PlayedJob.running(joblog)).id):
        before = await commands(redis)
        with pytest.raises(JobNotFound):
            await lookup.find(job_id, "globex")
        asked.append(await commands(redis) - before)

    assert asked == [Counter({"hmget": 1})] * 3


@pytest.mark.parametrize("tenant", ["globex", "default", None])
async def test_only_the_tenant_of_a_job_or_whoever_may_all_cancels_it(
    tenant: str | None, joblog: JobLog
) -> None:
    """A job of the default tenant: not for globex; for its own, and for the installation itself."""
    job = await PlayedJob.queued(joblog)
    if tenant == "globex":
        with pytest.raises(JobNotFound):
            await joblog.cancel(job.id, tenant=tenant)
        assert not (await joblog.read(job.id)).job.done
    else:
        assert await joblog.cancel(job.id, tenant=tenant) == "cancelled"
