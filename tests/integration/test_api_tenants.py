"""Tenants: what they have to themselves, and what they share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from milepost_api.database import upgrade
from redis.asyncio import Redis

from milepost.ids import new_job_id
from milepost.log import RunningJob
from milepost.log.keys import state_key
from tests.support.api import COUNT, Api, Hand, announce, settings
from tests.support.joblog import state_of
from tests.support.redis import RedisServer
from tests.support.tenants import KEYS, Tenants, caller, serving_tenants
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio
SUBMISSION = {"task": COUNT.name, "params": {"steps": 3}}


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def tenants(
    tmp_path: Path, redis_server: RedisServer, redis: Redis, database: str
) -> AsyncIterator[Tenants]:
    await announce(redis)
    wanted = settings(tmp_path, redis_server.url, api_keys=KEYS, database_url=database)
    await upgrade(wanted)
    async with serving_tenants(wanted) as running:
        yield running


async def test_a_job_belongs_to_the_tenant_whose_key_submitted_it(tenants: Tenants, redis: Redis) -> None:
    """In the record and in the log; any key of the tenant finds it, and it says nothing of its tenant."""
    job = await tenants.acme.submit()

    record = await tenants.acme.services.store.get(job["id"])
    assert record is not None
    assert record.tenant == await state_of(redis, job["id"], "tenant") == "acme"
    async with caller(tenants.acme, "acme-new-key") as renewed:
        seen = await renewed.get(f"/v1/jobs/{job['id']}")
    assert seen["id"] == job["id"]
    assert "tenant" not in seen


async def test_a_key_without_a_tenant_is_the_default_tenants(tenants: Tenants) -> None:
    """What was submitted before there were tenants, and what keys that name none submit, is in one hand."""
    job = await tenants.default.submit()

    record = await tenants.default.services.store.get(job["id"])
    assert record is not None
    assert record.tenant == "default"
    assert (await tenants.acme.http.get(f"/v1/jobs/{job['id']}")).status_code == 404


async def test_a_live_job_from_before_there_were_tenants_is_the_default_tenants(
    tenants: Tenants, redis: Redis
) -> None:
    """Its state in Redis does not say whose it is: it goes on, for its owners."""
    job_id = (await tenants.default.submit())["id"]
    await redis.hdel(state_key(job_id), "tenant")  # type: ignore[misc]
    hand = Hand(tenants.default.services.log)
    await hand.begin(job_id)

    assert (await tenants.default.get(f"/v1/jobs/{job_id}"))["status"] == "running"
    assert (await tenants.acme.http.post(f"/v1/jobs/{job_id}/cancel")).status_code == 404
    assert (await tenants.default.http.post(f"/v1/jobs/{job_id}/cancel")).json()["outcome"] == "requested"
    assert (await tenants.acme.http.get(f"/v1/jobs/{job_id}/status/stream")).status_code == 404
    await hand.succeed()
    stream = await tenants.default.http.get(f"/v1/jobs/{job_id}/status/stream")
    assert "event: end" in stream.text


async def test_a_job_that_redis_has_lost_comes_back_to_its_tenant(tenants: Tenants, redis: Redis) -> None:
    """The record knows whose it is; nobody else finds it on its way back."""
    job_id = (await tenants.acme.submit())["id"]
    await redis.flushall()
    await announce(redis)

    assert (await tenants.globex.http.get(f"/v1/jobs/{job_id}/status/stream")).status_code == 404
    assert (await tenants.globex.http.post(f"/v1/jobs/{job_id}/cancel")).status_code == 404
    await eventually(lambda: redis.exists(state_key(job_id)), "the job is back")
    assert await state_of(redis, job_id, "tenant") == "acme"
    assert (await tenants.acme.get(f"/v1/jobs/{job_id}"))["status"] == "queued"
    assert (await tenants.globex.http.get(f"/v1/jobs/{job_id}")).status_code == 404


async def test_an_idempotency_key_is_one_tenants(tenants: Tenants) -> None:
    """Two tenants under the same key, at the same time and many times: two jobs, and each gets its own again."""
    key = {"idempotency-key": "order-1"}
    answers = await asyncio.gather(
        *(
            one.http.post("/v1/jobs", json=SUBMISSION, headers=key)
            for _ in range(10)
            for one in (tenants.acme, tenants.globex)
        )
    )

    ids = [answer.json()["id"] for answer in answers]
    acme, globex = set(ids[0::2]), set(ids[1::2])
    assert (len(acme), len(globex), len(acme | globex)) == (1, 1, 2)
    replayed = [answer for answer in answers if "idempotency-replayed" in answer.headers]
    assert len(replayed) == len(answers) - 2


async def test_what_another_tenant_sent_under_a_key_is_no_mismatch(tenants: Tenants) -> None:
    """422 would tell that the key is in use; only the tenant's own earlier body counts."""
    key = {"idempotency-key": "order-1"}
    await tenants.acme.http.post("/v1/jobs", json=SUBMISSION, headers=key)
    other = {**SUBMISSION, "params": {"steps": 4}}

    assert (await tenants.globex.http.post("/v1/jobs", json=other, headers=key)).status_code == 202
    assert (await tenants.acme.http.post("/v1/jobs", json=other, headers=key)).status_code == 422


async def test_the_queue_is_one_for_all(tenants: Tenants) -> None:
    """A job waits behind those of all tenants, and the counts of a queue are everybody's."""
    await tenants.acme.submit()
    job = await tenants.globex.submit()

    assert job["queue_position"] == 2
    [queue] = (await tenants.globex.get("/v1/queues"))["items"]
    assert (queue["name"], queue["waiting"]) == ("default", 2)


async def test_a_worker_is_seen_to_be_busy_with_jobs_that_are_not_named(
    tenants: Tenants, redis: Redis
) -> None:
    """Each tenant sees which of its own jobs run where; of the others', that something runs."""
    ids = [(await one.submit())["id"] for one in (tenants.acme, tenants.globex)]
    running = [RunningJob(id=job_id, task=COUNT.name) for job_id in (*ids, new_job_id())]
    await announce(redis, running=running)

    async def seen(by: Api) -> list[str | None]:
        [worker] = (await by.get("/v1/workers"))["items"]
        return [one["id"] for one in worker["running"]]

    assert await seen(tenants.acme) == [ids[0], None, None]
    assert await seen(tenants.globex) == [None, ids[1], None]


@pytest.mark.parametrize("path", ["", "/status", "/result", "/events", "/status/stream"])
async def test_without_redis_too_nothing_tells_that_a_job_is_there(
    path: str, tenants: Tenants, redis_server: RedisServer
) -> None:
    """Also of a job that somebody watches, and of one whose end the records know."""
    acme, globex = tenants.acme, tenants.globex
    watched, done = (await acme.submit())["id"], (await acme.submit())["id"]
    await Hand(acme.services.log).run(done)
    async with acme.http.stream("GET", f"/v1/jobs/{watched}/status/stream") as stream:
        assert stream.status_code == 200
        redis_server.stop()
        lines = {"accept": "application/x-ndjson"}
        answers = await asyncio.gather(
            *(
                globex.http.get(f"/v1/jobs/{job_id}{path}", headers=lines)
                for job_id in (new_job_id(), watched, done)
            )
        )
    statuses = [(answer.status_code, answer.json()["detail"]) for answer in answers]
    assert statuses[0][0] == 503
    assert statuses == [statuses[0]] * 3
