"""GET /v1/jobs/{id}/details: for those who run the jobs, not for the pages that watch them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from milepost.job import JobError
from milepost.log import TaskInfo
from tests.support.api import COUNT, Api, Hand, announce, serving, settings
from tests.support.redis import RedisServer

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
