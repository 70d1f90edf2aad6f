"""GET /v1/jobs/{id}/details: for those who run the jobs, not for the pages that watch them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from milepost.job import JobError
from milepost.log import TaskInfo
from milepost.redis.clients import REPLY_SECONDS
from tests.support.api import COUNT, Api, Hand, announce, serving, settings
from tests.support.redis import RedisServer
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

SECRET = "correct-horse-battery"
TOLD = TaskInfo(
    name="mail.send",
    params_schema={
        "type": "object",
        "properties": {"to": {"type": "string"}, "password": {"type": "string", "writeOnly": True}},
    },
)


@pytest.fixture
async def locked(tmp_path: Path, redis_server: RedisServer, redis: Redis) -> AsyncIterator[Api]:
    """An API with the keys of two tenants."""
    await announce(redis, COUNT, TOLD)
    wanted = settings(tmp_path, redis_server.url, api_keys="one:first-key, two:other-key")
    async with serving(wanted) as running:
        running.http.headers["x-api-key"] = "first-key"
        yield running


async def test_params_are_shown_without_their_secrets(locked: Api) -> None:
    """What the schema marks is asterisks; the rest is as it was submitted."""
    job = await locked.submit(task="mail.send", params={"to": "ada", "password": SECRET}, timeout_seconds=7)
    answer = await locked.http.get(f"/v1/jobs/{job['id']}/details")

    assert answer.json() == {
        "id": job["id"],
        "params": {"to": "ada", "password": "***"},
        "timeout_seconds": 7.0,
        "start_timeout_seconds": None,
        "traceback": None,
    }
    assert answer.headers["cache-control"] == "no-store"


async def test_params_of_a_task_that_nobody_knows_are_not_shown(locked: Api) -> None:
    """Without a schema nobody can say which of them are secret."""
    job = await locked.submit(task="not.known", params={"password": SECRET}, allow_unknown_task=True)
    answer = await locked.http.get(f"/v1/jobs/{job['id']}/details")
    assert answer.json()["params"] is None
    assert SECRET not in answer.text


async def test_a_secret_is_not_shown_under_the_name_that_it_had_before(locked: Api, redis: Redis) -> None:
    """A task that renames a param marks the new name only, and jobs of before hold the secret under the old one."""
    job = await locked.submit(task="mail.send", params={"to": "ada", "password": SECRET})
    renamed = {
        "type": "object",
        "properties": {"to": {"type": "string"}, "passphrase": {"type": "string", "writeOnly": True}},
        "additionalProperties": False,
    }
    await announce(redis, replace(TOLD, params_schema=renamed))
    details = f"/v1/jobs/{job['id']}/details"

    async def of_the_task_as_it_is() -> bool:
        offer = await locked.services.offers.find("mail.send")
        return offer.task.params_schema == renamed

    await eventually(of_the_task_as_it_is, "the task is known as it is announced now")
    assert (await locked.get(details))["params"] == {"to": "ada", "password": "***"}


async def test_a_redis_that_does_not_answer_holds_nobody_up(
    tmp_path: Path, redis_server: RedisServer, redis: Redis
) -> None:
    """What the records have is shown before a connection gives up; which params are secret, nobody can say then."""
    await announce(redis, TOLD)
    async with serving(settings(tmp_path, redis_server.url)) as before:
        job = await before.submit(task="mail.send", params={"to": "ada"}, timeout_seconds=7)
    async with serving(settings(tmp_path, redis_server.url, redis_answer_seconds=0.2)) as api:
        redis_server.pause()
        try:
            async with asyncio.timeout(REPLY_SECONDS / 2):
                details = await api.get(f"/v1/jobs/{job['id']}/details")
        finally:
            redis_server.resume()
    assert (details["params"], details["timeout_seconds"]) == (None, 7.0)


async def test_a_failed_job_shows_where_it_failed(locked: Api) -> None:
    """At once when it has ended, be its record written or not; the job itself never says."""
    job = await locked.submit()
    hand = Hand(locked.services.log)
    await hand.begin(job["id"])
    await hand.fail(JobError(code="exception", message="no", traceback='File "tasks.py", line 3'))

    assert (await locked.get(f"/v1/jobs/{job['id']}/details"))["traceback"] == 'File "tasks.py", line 3'
    assert "tasks.py" not in (await locked.http.get(f"/v1/jobs/{job['id']}")).text


async def test_nobody_else_reads_them(locked: Api) -> None:
    """Another tenant finds no such job, and a token that reads everything does not read this."""
    job = await locked.submit()
    path = f"/v1/jobs/{job['id']}/details"
    token = (await locked.http.post("/v1/stream-tokens", json={"all": True})).json()["token"]

    assert (await locked.http.get(path, headers={"x-api-key": "other-key"})).status_code == 404
    assert (await locked.http.get("/v1/jobs/no-such-job/details")).status_code == 404
    del locked.http.headers["x-api-key"]
    assert (await locked.http.get(path, headers={"authorization": f"Bearer {token}"})).status_code == 403
    assert (await locked.http.get(f"/v1/jobs/{job['id']}", params={"token": token})).status_code == 200
