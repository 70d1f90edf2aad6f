"""Submitting a job and following it in one request."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from milepost_api.hub.seats import Seats
from redis.asyncio import Redis

from milepost.log import JobLog
from tests.support.api import COUNT, Api, Hand, announce, serving, settings
from tests.support.redis import RedisServer
from tests.support.sse import RawStream, open_stream
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

BODY = json.dumps({"task": COUNT.name, "params": {"steps": 3}}).encode()


@pytest.fixture
async def api(tmp_path: Path, redis: Redis, redis_server: RedisServer) -> AsyncIterator[Api]:
    await announce(redis)
    async with serving(settings(tmp_path, redis_server.url)) as api:
        yield api


def submitted(
    api: Api, path: str = "/v1/jobs", method: str = "POST", body: bytes = BODY, **headers: str
) -> AbstractAsyncContextManager[RawStream]:
    sent: Mapping[str, str] = {name.replace("_", "-"): value for name, value in headers.items()}
    url = str(api.http.base_url).rstrip("/") + path
    return open_stream(url, method=method, body=body, headers=sent)


async def id_in(stream: RawStream) -> str:
    [snapshot] = await stream.until("snapshot")
    return str(snapshot["job_id"])


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/v1/jobs", "application/json"),
        ("POST", "/v1/jobs", "application/unusual+json"),  # not by the short way
        ("PUT", "/v1/jobs/mine", "application/json"),
    ],
)
async def test_a_submission_is_answered_with_every_step_of_its_job(
    api: Api, redis: Redis, method: str, path: str, kind: str
) -> None:
    """The head says where the job is, the first event what it is, and the body ends with it."""
    async with submitted(api, path, method, Content_Type=kind) as stream:
        job_id = await id_in(stream)
        assert (stream.status, stream.headers["location"]) == (200, f"/v1/jobs/{job_id}")
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert await api.services.store.get(job_id) is not None
        await Hand(JobLog(redis)).run(job_id)
        events = await stream.rest()
    assert types(events) == ["status", "end"]
    assert [event["seq"] for event in events] == [2, 3]
    assert stream.ended_clean


async def test_lines_of_json_are_streamed_as_well(api: Api, redis: Redis) -> None:
    """NDJSON, where `Accept` asks for that."""
    async with submitted(api, Accept="application/x-ndjson") as stream:
        assert stream.headers["content-type"].startswith("application/x-ndjson")
        snapshot = json.loads(await anext(stream.lines()))
        assert (snapshot["type"], snapshot["seq"]) == ("snapshot", 1)


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", "text/event-stream;q=0.5, */*"])
async def test_who_does_not_prefer_a_stream_gets_the_job(api: Api, accept: str) -> None:
    """As before: nothing that a browser or curl sends by itself asks for a stream."""
    answer = await api.http.post("/v1/jobs", content=BODY, headers={"Accept": accept, **KIND})
    assert (answer.status_code, answer.headers["content-type"]) == (202, "application/json")


KIND = {"Content-Type": "application/json"}


async def test_the_same_key_streams_the_same_job(api: Api, redis: Redis) -> None:
    """A repetition gets the job of the first time, here after its end, and it says so."""
    first = await api.http.post("/v1/jobs", content=BODY, headers={"Idempotency-Key": "k", **KIND})
    await Hand(JobLog(redis)).run(first.json()["id"])
    async with submitted(api, idempotency_key="k") as stream:
        assert stream.headers["idempotency-replayed"] == "true"
        events = await stream.rest()
    assert types(events) == ["snapshot", "end"]
    assert events[0]["job_id"] == first.json()["id"]


async def test_a_refusal_is_a_problem_and_no_stream(api: Api) -> None:
    """Nothing was accepted, so nothing is streamed."""
    async with submitted(api, body=b'{"task": "unheard-of"}') as stream:
        assert stream.status == 422
        assert stream.headers["content-type"] == "application/problem+json"


async def test_what_is_accepted_and_cannot_be_streamed_is_a_202(api: Api) -> None:
    """A process that has no room for another stream has room for a job: no client may submit it again."""
    api.services.hub.seats = Seats(0)
    async with submitted(api) as stream:
        assert (stream.status, stream.headers["content-type"]) == (202, "application/json")
        job_id = stream.headers["location"].rpartition("/")[2]
    assert (await api.get(f"/v1/jobs/{job_id}"))["status"] == "queued"


async def test_losing_the_stream_does_not_touch_the_job(api: Api) -> None:
    """Rule 5: the connection goes, the job stays, and its seat is free again."""
    async with submitted(api) as stream:
        job_id = await id_in(stream)
        assert api.services.hub.streams == 1
    await eventually(lambda: api.services.hub.streams == 0, "the stream has gone")
    assert (await api.get(f"/v1/jobs/{job_id}"))["status"] == "queued"
