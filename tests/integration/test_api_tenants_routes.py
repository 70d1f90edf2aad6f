"""Every address of the API, asked by one tenant about the jobs of another: there are none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from milepost_api.app import create_app
from milepost_api.settings import ApiSettings
from milepost_api.streaming import NDJSON
from redis.asyncio import Redis

from milepost.ids import new_job_id
from milepost.log import RunningJob
from milepost.log.keys import state_key
from tests.support.api import COUNT, Api, Hand, announce, settings
from tests.support.redis import RedisServer
from tests.support.tenants import KEYS, Tenants, forgotten, serving_tenants

pytestmark = pytest.mark.anyio

SUBMISSION = {"task": COUNT.name, "params": {"steps": 3}}
BODIES: Mapping[str, Any] = {"submit_job": SUBMISSION, "put_job": SUBMISSION}
"""What to send, by operation, where something must be sent."""

SUBMITS = {"submit_job"}
"""What makes a job of the caller's own."""
CHOOSES_ID = {"put_job"}
"""What does so under an id of the caller's choice: where somebody has it already, it cannot be as if nobody had."""

DOCUMENT = create_app(ApiSettings()).openapi()
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if path.startswith("/v1/")
}
NAMES_A_JOB = {name for name, (_, path, _) in OPERATIONS.items() if "{job_id}" in path}
SHARED = {"list_tasks", "list_queues", "list_workers"}
"""What is about the installation, see "Tenants" in operations.md."""

OF_A_JOB = sorted(NAMES_A_JOB - CHOOSES_ID)
ENDLESS = {"stream_many"}
"""The list of all jobs, live: an answer without an end (tests/integration/test_many_tenants.py)."""
GRANTS = {"create_stream_token"}
"""What says nothing of jobs, but lets others read them."""
OF_ALL_JOBS = sorted(OPERATIONS.keys() - NAMES_A_JOB - SUBMITS - SHARED - ENDLESS - GRANTS)
WIDEST = {"all": "true", "limit": "100"}
"""No filter: for what asks for one by mistake."""


@pytest.fixture
async def tenants(tmp_path: Path, redis_server: RedisServer, redis: Redis) -> AsyncIterator[Tenants]:
    await announce(redis)
    async with serving_tenants(settings(tmp_path, redis_server.url, api_keys=KEYS)) as running:
        yield running


@pytest.fixture
async def jobs(tenants: Tenants, redis: Redis) -> dict[str, str]:
    return await acmes_jobs(tenants, redis)


async def acmes_jobs(tenants: Tenants, redis: Redis) -> dict[str, str]:
    """Bring about jobs of acme by where they stand, and return the id of each."""
    acme, found = tenants.acme, {}
    for name in ("waiting", "running", "done", "forgotten"):
        found[name] = (await acme.submit(tags=["acme"], batch_id="acme"))["id"]
        hand = Hand(acme.services.log)
        if name != "waiting":
            await hand.begin(found[name])
        if name in ("done", "forgotten"):
            await hand.succeed('"acme\'s result"')
    await forgotten(acme, redis, found["forgotten"])
    running = [RunningJob(id=job_id, task=COUNT.name) for job_id in found.values()]
    await announce(redis, running=running)
    return found


async def ask(api: Api, name: str, job_id: str, **given: Any) -> httpx2.Response:
    """Ask one operation about a job, with everything that a caller who knows it could say of it."""
    method, path, operation = OPERATIONS[name]
    if operation.get("requestBody", {}).get("required"):
        given["json"] = BODIES[name]
    return await api.http.request(method, path.replace("{job_id}", job_id), **given)


async def everything_known(api: Api, job_id: str) -> dict[str, Any]:
    """Return headers and a query that would lead to the job if whose it is were forgotten anywhere."""
    cursor = (await api.get(f"/v1/jobs/{job_id}/status"))["cursor"]
    return {
        "headers": {"accept": NDJSON, "if-none-match": "*", "last-event-id": cursor},
        "params": {"after": cursor, "last_event_id": cursor, "wait": 1},
    }


async def standing(tenants: Tenants, redis: Redis, job_id: str) -> tuple[Any, Any]:
    """Return all that its owner and Redis know of a job, but for what the workers let it wait for."""
    state = await redis.hgetall(state_key(job_id))  # type: ignore[misc]
    return await tenants.acme.get(f"/v1/jobs/{job_id}") | {"waiting": None}, state


def told(answer: httpx2.Response, job_id: str) -> tuple[int, dict[str, str], str]:
    """Return all that an answer says, whichever job it is about."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
    return answer.status_code, headers, answer.text.replace(job_id, "JOB")


@pytest.mark.parametrize("name", OF_A_JOB)
async def test_a_job_of_another_tenant_is_as_one_that_is_not_there(
    name: str, tenants: Tenants, jobs: dict[str, str], redis: Redis
) -> None:
    """Wherever it stands, whatever is known of it: 404, to the letter, and nothing has happened to it."""
    nobodys = new_job_id()
    for where, job_id in jobs.items():
        before = await standing(tenants, redis, job_id)
        for given in ({}, await everything_known(tenants.acme, job_id)):
            answer = await ask(tenants.globex, name, job_id, **given)
            missing = await ask(tenants.globex, name, nobodys, **given)
            assert answer.status_code == 404, (where, answer.text)
            assert told(answer, job_id) == told(missing, nobodys), where
        assert await standing(tenants, redis, job_id) == before


@pytest.mark.parametrize("name", sorted(CHOOSES_ID))
async def test_an_id_that_another_tenant_has_is_taken_whatever_is_sent(
    name: str, tenants: Tenants, jobs: dict[str, str], redis: Redis
) -> None:
    """Even with the body of the job that has it: nothing is told of that job, and nothing happens to it."""
    for where, job_id in jobs.items():
        before = await standing(tenants, redis, job_id)
        answer = await ask(tenants.globex, name, job_id)
        assert (answer.status_code, answer.json()["type"]) == (409, "urn:milepost:problem:id-taken"), where
        assert answer.json().keys() == {"type", "title", "status", "detail"}
        assert job_id not in answer.text
        assert await standing(tenants, redis, job_id) == before


@pytest.mark.parametrize("name", OF_ALL_JOBS)
async def test_what_is_about_many_jobs_is_about_the_callers(
    name: str, tenants: Tenants, redis: Redis
) -> None:
    """Lists, counts, what is done to all: the answer does not depend on acme's jobs, and they stay as they are."""
    nothing = await ask(tenants.globex, name, "", params=WIDEST)
    jobs = await acmes_jobs(tenants, redis)
    before = [await standing(tenants, redis, job_id) for job_id in jobs.values()]

    answer = await ask(tenants.globex, name, "", params=WIDEST)

    assert answer.status_code == 200, answer.text
    assert told(answer, "") == told(nothing, "")
    assert [await standing(tenants, redis, job_id) for job_id in jobs.values()] == before


@pytest.mark.parametrize("name", sorted(GRANTS))
@pytest.mark.parametrize("by", ["jobs", "tag", "batch", "all"])
async def test_a_token_that_names_jobs_of_another_tenant_opens_none(
    name: str, by: str, tenants: Tenants, jobs: dict[str, str]
) -> None:
    """Whoever names them may guess or know them: each is as one that is not there, to the letter."""
    nobodys = new_job_id()
    asked: dict[str, Any] = {"jobs": [*jobs.values(), nobodys], "tag": "acme", "batch": "acme", "all": True}
    method, path, _ = OPERATIONS[name]
    made = await tenants.globex.http.request(method, path, json={by: asked[by]})
    assert made.status_code == 201, made.text
    token = {"headers": {"x-api-key": "", "authorization": f"Bearer {made.json()['token']}"}}

    missing = await ask(tenants.globex, "get_job", nobodys, **token)
    assert missing.status_code == 404, missing.text
    for where, job_id in jobs.items():
        answer = await ask(tenants.globex, "get_job", job_id, **token)
        assert told(answer, job_id) == told(missing, nobodys), where


@pytest.mark.parametrize("name", sorted(SHARED))
async def test_what_is_shared_names_no_job(name: str, tenants: Tenants, jobs: dict[str, str]) -> None:
    """What is offered, what waits, who is busy: no id, no tag, no result of acme's."""
    answer = await ask(tenants.globex, name, "")

    assert answer.status_code == 200, answer.text
    assert [job_id for job_id in jobs.values() if job_id in answer.text] == []
    assert "acme" not in answer.text
