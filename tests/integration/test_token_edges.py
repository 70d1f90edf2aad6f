"""Stream tokens where somebody tries more than they grant, and where Redis answers but does not serve."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from milepost_api.tokens.seal import ALGORITHM, AUDIENCE
from redis.asyncio import Redis

from milepost.redis import connect
from tests.support.api import Api, announce, serving, settings
from tests.support.redis import RedisServer
from tests.support.sse import open_stream

pytestmark = pytest.mark.anyio

KEY, SECRET = "a-key", "s" * 32
HERS = {"authorization": f"Bearer {KEY}"}
MARK = "of-somebody-else"


@pytest.fixture
async def api(tmp_path: Path, redis_server: RedisServer, redis: Redis) -> AsyncIterator[Api]:
    await announce(redis)
    wanted = settings(tmp_path, redis_server.url, api_keys=KEY, token_secret=SECRET)
    async with serving(wanted) as running:
        yield running


def token(**claims: Any) -> str:
    """Return a token that whoever has the secret has signed."""
    said = {"aud": AUDIENCE, "exp": int(time.time()) + 600, **claims}
    return jwt.encode(said, SECRET, algorithm=ALGORITHM)


async def submitted(api: Api, **fields: Any) -> str:
    body = {"task": "demo.count", "params": {"steps": 3}, **fields}
    answer = await api.http.post("/v1/jobs", json=body, headers=HERS)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def two(api: Api) -> tuple[str, str]:
    """Return a job that the token is of, and one that it is not of."""
    return await submitted(api, tags=["mine"]), await submitted(api, tags=[MARK])


HARMLESS = "/v1/status/stream?job={mine}@{other}"
"""A cursor may be anything: this one is none."""
PATHS = [
    "/v1/jobs/{mine}%2F..%2F{other}",
    "/v1/jobs/{mine}/../{other}",
    "/v1/jobs/{mine}/status/../../{other}/status",
    "/v1/jobs/{other}%00",
    "/v1/jobs/{other}%0A",
    "/v1/jobs/{other}/",
    "/v1/jobs/{other};{mine}",
    "/v1/jobs//{other}",
    "//v1/jobs/{other}",
    "/v1/jobs%2F{other}",
    "/V1/jobs/{other}",
    "/v1/jobs/{other}/events?wait=0&after={mine}",
    "/v1/status/stream?job={mine}&job={other}",
    "/v1/status/stream?job={mine}@aaaaaaaa-1&job={other}@aaaaaaaa-1",
    HARMLESS,
    "/v1/status/stream?job=&tag=" + MARK,
    "/v1/status/stream?job={mine}&tag=" + MARK,
    "/v1/status/stream?%6aob={other}",
    "/v1/status/stream/?job={mine}",
    "/v1/status%2Fstream?job={other}",
    "/v1/jobs?job={mine}",
    "/v1/jobs/counts",
]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
async def test_no_way_of_writing_an_address_leads_to_another_job(api: Api, method: str) -> None:
    """Encoded, doubled, with a slash more, named twice: nothing is told of a job but of that of the token."""
    mine, other = await two(api)
    key = token(jobs=[mine])
    for path in PATHS:
        target = path.format(mine=mine, other=other)
        target += ("&" if "?" in target else "?") + "token=" + key
        async with open_stream(str(api.http.base_url).rstrip("/") + target, method=method) as stream:
            if stream.status == 200:
                assert (method, path) == ("GET", HARMLESS)
                assert mine in {event.get("job_id") for event in await stream.until("snapshot")}
            else:
                assert stream.status in (403, 404), (path, stream.status)
                if method != "HEAD":
                    assert [chunk async for chunk in stream.chunks()]
                assert b'"tags"' not in stream.body, path
        assert MARK.encode() not in stream.body, path


async def test_a_bookmark_of_more_jobs_is_gone_on_with_for_those_of_the_token(api: Api) -> None:
    """Whoever has seen an id of a stream that somebody else had learns nothing by it."""
    mine, other = await two(api)
    base = str(api.http.base_url).rstrip("/")
    async with open_stream(f"{base}/v1/status/stream?job={mine}&job={other}", headers=HERS) as stream:
        ids = [frame.id async for frame in first(stream, 3)]
    url = f"{base}/v1/status/stream?job={mine}&token={token(jobs=[mine])}&min_interval_ms=0"
    async with open_stream(url, last_event_id=ids[-1]) as resumed:
        selection = (await resumed.until("selection"))[-1]
        assert selection["jobs"] == 1
    everything = f"{base}/v1/status/stream?tag=mine&token={token(tag='mine')}"
    async with open_stream(everything, last_event_id=ids[-1]) as resumed:
        told = await resumed.until("snapshot")
    assert [event["type"] for event in told] == ["gap", "selection", "snapshot"]
    assert told[-1]["job_id"] == mine


async def first(stream: Any, number: int) -> AsyncIterator[Any]:
    async for frame in stream.frames():
        yield frame
        number -= 1
        if not number:
            return


async def test_an_expired_token_and_what_is_no_cursor_begin_nothing(api: Api) -> None:
    """Only who stood somewhere goes on: a word in the place of a cursor would open a stream from its beginning."""
    mine, _ = await two(api)
    over = token(jobs=[mine], exp=int(time.time()) - 5)
    base = f"{str(api.http.base_url).rstrip('/')}/v1"
    for wrong in ("x", "0", "null", "undefined", "-", "~", "~x", "A-1", "aaaaaaaa-", "aaaaaaaa-x"):
        for url in (
            f"{base}/jobs/{mine}/status/stream?last_event_id={wrong}&token={over}",
            f"{base}/status/stream?job={mine}&last_event_id={wrong}&token={over}",
            f"{base}/jobs/{mine}/events?wait=0&after={wrong}&token={over}",
        ):
            async with open_stream(url) as stream:
                assert stream.status == 401, url
    async with open_stream(
        f"{base}/jobs/{mine}/status/stream?last_event_id=aaaaaaaa-1&token={over}"
    ) as stream:
        assert stream.status == 200


@pytest.mark.parametrize("exp", [10**30, -(10**30), 10**400, -1, 253_402_300_800])
async def test_a_moment_that_no_calendar_has_is_refused_in_words(api: Api, exp: int) -> None:
    """Who signs by himself may err, by milliseconds for one: that is 401 with a sentence, no fault of the server."""
    mine, _ = await two(api)
    answer = await api.http.get(f"/v1/jobs/{mine}", params={"token": token(jobs=[mine], exp=exp)})
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:milepost:problem:unauthorized")


async def test_a_redis_that_answers_and_does_not_serve_is_no_fault_of_the_server(tmp_path: Path) -> None:
    """A replica without its master says so: whoever comes with a token of a tag is asked to come back."""
    with RedisServer(tmp_path / "redis") as server:
        client = connect(server.url)
        await announce(client)
        wanted = settings(tmp_path, server.url, api_keys=KEY, token_secret=SECRET)
        async with serving(wanted) as api:
            mine = await submitted(api, tags=["mine"])
            await client.config_set("replica-serve-stale-data", "no")
            await client.execute_command("REPLICAOF", "127.0.0.1", "1")
            try:
                query = {"token": token(tag="mine")}
                answer = await api.http.get(f"/v1/jobs/{mine}/status", params=query)
                assert answer.status_code == 503, answer.text
                assert "retry-after" in answer.headers
                answer = await api.http.get(f"/v1/jobs/{mine}/status/stream", params=query)
                assert answer.status_code == 200, answer.text
                assert '"reason":"unavailable"' in answer.text
            finally:
                await client.execute_command("REPLICAOF", "NO", "ONE")
        await client.aclose()
