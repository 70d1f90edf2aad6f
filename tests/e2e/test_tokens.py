"""Stream tokens over a real API process: what they open, until when, and where they do not appear."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import jwt
import pytest

from milepost.client import AsyncClient, Invalid, Unauthorized
from milepost.errors import JobNotFound
from milepost.log import JobLog
from tests.support.jobs import PlayedJob
from tests.support.process import python_environment
from tests.support.proxy import TcpProxy
from tests.support.redis import RedisServer
from tests.support.sse import RawStream, open_stream
from tests.support.stack import Stack
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser

KEY, OTHER_KEY = "key-of-default-0123456789abcdef", "key-of-globex-0123456789abcdef"
READABLE = ("", "/status", "/status/stream", "/result", "/events")
GRACE_SECONDS = 12
"""Within it an EventSource comes back (after 4 s at most), on a slow machine, too."""
SHORT_GRACE_SECONDS = 1
"""Of the second API, for those who wait for the end of it."""


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """Two APIs with keys, and no worker: the tests say what happens to the jobs. They log all they can."""
    folder = tmp_path_factory.mktemp("tokens")
    settings = {
        "MILEPOST_API_KEYS": f"{KEY},globex:{OTHER_KEY}",
        "MILEPOST_TOKEN_GRACE_SECONDS": str(GRACE_SECONDS),
        "MILEPOST_PING_SECONDS": "1",  # streams that ride along are looked at so often
        "MILEPOST_LOG_LEVEL": "debug",
    }
    with RedisServer(folder / "redis") as redis:
        async with Stack(folder, redis, workers=0, settings=settings) as running:
            await running.add_api(MILEPOST_TOKEN_GRACE_SECONDS=str(SHORT_GRACE_SECONDS))
            yield running


@pytest.fixture
async def stranger(house: Stack) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody who has no key."""
    async with httpx2.AsyncClient(base_url=house.url, timeout=30, trust_env=False, verify=False) as http:
        yield http


async def token_for(house: Stack, key: str = KEY, **wanted: Any) -> str:
    reply = await house.http.post(
        "/v1/stream-tokens", json=wanted, headers={"Authorization": f"Bearer {key}"}
    )
    assert reply.status_code == 201, reply.text
    return str(reply.json()["token"])


@asynccontextmanager
async def opened_for_a_moment(
    house: Stack, accept: str = "text/event-stream", **wanted: Any
) -> AsyncIterator[RawStream]:
    """Open a stream with a token of one second, where the grace is short; with another, if that took longer."""
    while True:
        reply = await house.http.post("/v1/stream-tokens", json={"ttl_seconds": 1, **wanted})
        url = house.urls[1] + reply.json()["stream_url"]
        async with open_stream(url, headers={"Accept": accept}) as stream:
            if stream.status == 200:
                yield stream
                return
            assert stream.status == 401


async def submitted(house: Stack, **fields: Any) -> str:
    body = {"task": "nobody.does.it", "allow_unknown_task": True, **fields}
    reply = await house.http.post("/v1/jobs", json=body)
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


async def finished(house_log: JobLog) -> PlayedJob:
    job = await PlayedJob.running(house_log)
    await job.log("line")
    await job.end()
    return job


def expired_token(**claims: Any) -> str:
    """Return a token of a key, long over: signed as the server signs."""
    from milepost_api.tokens import Grant, Seals

    return (
        Seals({KEY: "default"})
        .of(KEY.encode())
        .sign(Grant(tenant="default", expires_at=1_700_000_000, **claims))
    )


async def test_a_key_asks_and_a_stranger_reads(house: Stack, house_log: JobLog) -> None:
    """The address in the answer is all that an EventSource needs, down to the end."""
    job = await finished(house_log)
    reply = await house.http.post("/v1/stream-tokens", json={"jobs": [job.id], "ttl_seconds": 60})
    assert (reply.status_code, reply.headers["cache-control"]) == (201, "no-store")
    answer = reply.json()
    assert answer["expires_at"] < answer["resumable_until"]
    assert parse_qs(urlsplit(answer["stream_url"]).query) == {"token": [answer["token"]]}
    async with open_stream(house.url + answer["stream_url"]) as stream:
        events = await stream.rest()
    assert [event["type"] for event in events] == ["snapshot", "end"]


@pytest.mark.parametrize("place", ["query", "bearer"])
@pytest.mark.parametrize("by", ["jobs", "tag", "batch", "all"])
async def test_a_token_opens_every_reading_of_its_jobs(
    house: Stack, stranger: httpx2.AsyncClient, by: str, place: str
) -> None:
    """In the address or where a key would be; all else that is asked with it is refused, and says why."""
    job_id = await submitted(house, tags=["nightly"], batch_id="batch-1")
    wanted: dict[str, Any] = {"jobs": [job_id], "tag": "nightly", "batch": "batch-1", "all": True}
    token = await token_for(house, **{by: wanted[by]})
    with_it: dict[str, Any] = (
        {"params": {"token": token}}
        if place == "query"
        else {"headers": {"Authorization": f"Bearer {token}"}}
    )
    for rest in READABLE:
        if rest == "/status/stream":
            query = f"?token={token}" if place == "query" else ""
            async with open_stream(
                f"{house.url}/v1/jobs/{job_id}{rest}{query}", headers=with_it.get("headers")
            ) as stream:
                assert stream.status == 200
                await stream.until("snapshot")
            continue
        reply = await stranger.get(f"/v1/jobs/{job_id}{rest}", **with_it)
        assert reply.status_code == (409 if rest == "/result" else 200), (rest, reply.text)


async def test_a_token_opens_no_other_address(house: Stack, stranger: httpx2.AsyncClient) -> None:
    """None of the routes that the document lists; the page is open to all. And a token makes no tokens."""
    job_id = await submitted(house)
    document = (await house.http.get("/openapi.json")).json()
    opened = {
        path
        for path, methods in document["paths"].items()
        for operation in methods.values()
        if {"streamToken": []} in operation.get("security", [])
    }
    assert opened >= {f"/v1/jobs/{{job_id}}{rest}" for rest in READABLE}
    for wanted in ({"jobs": [job_id, "counts"]}, {"all": True}):
        token = await token_for(house, **wanted)
        for path, methods in [*document["paths"].items(), *((p, {"get": 1}) for p in ("/docs", "/no"))]:
            for method in methods:
                if path in {"/healthz", "/readyz"} or (method == "get" and path in opened):
                    continue
                reply = await stranger.request(
                    method, path.replace("{job_id}", job_id), params={"token": token}, json={}
                )
                assert (reply.status_code, reply.json()["type"]) == (403, "urn:milepost:problem:forbidden"), (
                    path
                )
                assert "API key" in reply.json()["detail"]


async def test_other_jobs_are_answered_like_none(house: Stack, stranger: httpx2.AsyncClient) -> None:
    """By a token of jobs, of a tag or of a batch, and by one of another tenant that names the very job."""
    mine, other = await submitted(house, tags=["a"], batch_id="a"), await submitted(house, tags=["b"])
    unknown = "01890000-0000-7000-8000-000000000000"
    tokens = [
        *[await token_for(house, **one) for one in ({"jobs": [mine]}, {"tag": "a"}, {"batch": "a"})],
        *[
            await token_for(house, OTHER_KEY, **one)
            for one in ({"jobs": [other]}, {"tag": "b"}, {"all": True})
        ],
    ]
    for token in tokens:
        for rest in READABLE:
            replies = [
                await stranger.get(f"/v1/jobs/{job_id}{rest}", params={"token": token})
                for job_id in (other, unknown)
            ]
            assert [reply.status_code for reply in replies] == [404, 404], rest
            assert replies[0].content == replies[1].content


async def test_a_selection_is_what_the_token_says(house: Stack, stranger: httpx2.AsyncClient) -> None:
    """More jobs than it names are answered as if there were none; another tag, or everything, is refused."""
    first, second = [await submitted(house, tags=["selected"], batch_id="selected") for _ in range(2)]
    jobs, tag = await token_for(house, jobs=[first]), await token_for(house, tag="selected")

    async def refusal(token: str, **query: Any) -> int:
        reply = await stranger.get("/v1/status/stream", params={"token": token, **query})
        return reply.status_code

    assert await refusal(jobs, job=[first, second]) == 404
    assert await refusal(jobs, job=[first, f"{second}@aaaaaaaa-1"]) == 404
    for token, query in (
        (jobs, {}),
        (jobs, {"tag": "a"}),
        (tag, {}),
        (tag, {"tag": "b"}),
        (tag, {"tag": ["selected", "b"]}),
    ):
        assert await refusal(token, **query) == 403
    for wanted in ({"jobs": [first, second]}, {"tag": "selected"}, {"batch": "selected"}, {"all": True}):
        reply = await house.http.post("/v1/stream-tokens", json=wanted)
        async with open_stream(house.url + reply.json()["stream_url"]) as stream:
            assert stream.status == 200
            told = {(await stream.until("snapshot"))[-1]["job_id"] for _ in range(2)}
            assert told == {first, second} or "all" in wanted


async def test_a_stream_of_many_ends_with_its_token(house: Stack) -> None:
    """As that of one job does."""
    await submitted(house, tags=["short"])
    async with opened_for_a_moment(house, tag="short") as stream:
        assert (await stream.until("reconnect"))[-1]["reason"] == "token"
        await stream.rest()
    assert stream.ended_clean


@pytest.mark.parametrize(
    "token",
    ["x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "%00", "%FF"],
    ids=str,
)
async def test_what_is_no_token_is_told_what_to_do(
    house: Stack, stranger: httpx2.AsyncClient, token: str
) -> None:
    """A sentence, not a traceback; and it does not repeat what was sent."""
    reply = await stranger.get(f"/v1/jobs/x/status/stream?token={token}")
    document = reply.json()
    assert (reply.status_code, document["type"]) == (401, "urn:milepost:problem:unauthorized")
    assert "POST /v1/stream-tokens" in document["detail"]
    assert 'error="invalid_token"' in reply.headers["www-authenticate"]
    assert len(token) < 4 or token not in reply.text


async def test_clients_ask_for_tokens_and_take_them(house: Stack, house_log: JobLog) -> None:
    """The Python client with a key makes one, and with the token in the place of a key follows the job."""
    job = await finished(house_log)
    async with AsyncClient(house.url, api_key=KEY) as owner:
        made = await owner.stream_token([job.id], ttl_seconds=60)
        with pytest.raises(Invalid):
            await owner.stream_token([job.id], tag="a")
    assert made.token not in repr(made)
    async with AsyncClient(house.url, api_key=made.token) as reader:
        assert (await reader.wait(job.id)).status == "succeeded"
        with pytest.raises(Unauthorized, match="A stream token reads 1 job"):
            await reader.cancel(job.id)
        with pytest.raises(JobNotFound):
            await reader.get("another")


async def test_the_command_line_prints_a_token(house: Stack, house_log: JobLog) -> None:
    """Alone on standard output; with --json, all about it; and a usage error where it is not clear for what."""
    job = await finished(house_log)
    env = python_environment({"MILEPOST_URL": house.url, "MILEPOST_API_KEY": KEY})

    async def said(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "milepost.cli.main", "token", *arguments]
        return await asyncio.to_thread(
            subprocess.run, command, env=env, capture_output=True, text=True, check=False
        )

    plain, as_json, unclear = await asyncio.gather(
        said(job.id), said("--tag", "a", "--ttl-seconds", "60", "--json"), said(job.id, "--all")
    )
    async with AsyncClient(house.url, api_key=plain.stdout.strip()) as reader:
        assert (await reader.get(job.id)).done
    assert "It opens streams until" in plain.stderr
    assert json.loads(as_json.stdout).keys() == {"token", "expires_at", "resumable_until", "stream_url"}
    assert (unclear.returncode, unclear.stdout) == (2, "")
    assert "one of them only" in unclear.stderr


async def test_a_wrong_request_for_a_token_is_told_what_is_wrong(house: Stack) -> None:
    """Nothing, two things, too many, too long."""
    wrong: list[dict[str, Any]] = [
        {},
        {"all": False},
        {"jobs": []},
        {"jobs": ["a/b"]},
        {"jobs": [f"job-{i}" for i in range(101)]},
        {"tag": "a", "all": True},
        {"tag": ""},
        {"all": True, "ttl_seconds": 0},
        {"all": True, "ttl_seconds": 86_401},
        {"all": True, "ttl_seconds": 1.5},
        {"all": True, "until": "tomorrow"},
    ]
    for body in wrong:
        reply = await house.http.post("/v1/stream-tokens", json=body)
        assert (reply.status_code, reply.headers["content-type"]) == (422, "application/problem+json"), body


# --- time ------------------------------------------------------------------------------------------


async def test_an_expired_token_resumes_within_the_grace_and_begins_nothing(
    house: Stack, house_log: JobLog, stranger: httpx2.AsyncClient
) -> None:
    """Without a cursor it is told when it expired; with one it goes on, by header or query, on each kind of stream."""
    job = await PlayedJob.running(house_log)
    cursor = str((await house_log.read(job.id)).cursor)
    await job.log("missed")
    token = await token_for(house, jobs=[job.id], ttl_seconds=1)
    path = f"/v1/jobs/{job.id}/status/stream?token={token}"
    url = house.url + path

    async def refused() -> httpx2.Response | None:
        reply = await stranger.get(f"/v1/jobs/{job.id}/status", params={"token": token})
        return reply if reply.status_code == 401 else None

    document = (await eventually(refused, "the token has expired")).json()
    assert document["detail"].startswith("This token expired at 20")
    assert "POST /v1/stream-tokens" in document["detail"]
    for last, query in ((cursor, ""), (None, f"&last_event_id={cursor}")):
        async with open_stream(url + query, last_event_id=last) as stream:
            assert stream.status == 200
            assert (await stream.until("log"))[-1]["message"] == "missed"
    many = f"{house.url}/v1/status/stream?token={token}&job={job.id}"
    async with open_stream(f"{many}@{cursor}") as stream:
        assert (await stream.until("log"))[-1]["message"] == "missed"
    async with open_stream(many) as stream:
        assert stream.status == 401
    poll = await stranger.get(
        f"/v1/jobs/{job.id}/events", params={"token": token, "after": cursor, "wait": 0}
    )
    assert [event["type"] for event in poll.json()["items"]] == ["log"]
    for fresh in ("", "&last_event_id="):
        async with open_stream(url + fresh) as stream:
            assert stream.status == 401
    page = await stranger.get(f"/v1/jobs/{job.id}/events", params={"token": token, "after": cursor})
    assert page.status_code == 401  # history is no stream

    async def over() -> bool:
        async with open_stream(house.urls[1] + path, last_event_id=cursor) as stream:
            return stream.status == 401

    await eventually(over, "the grace has passed")


async def test_a_token_of_long_ago_opens_nothing(house: Stack, stranger: httpx2.AsyncClient) -> None:
    """A cursor does not make it young again."""
    token = expired_token(everything=True)
    assert jwt.decode(token, options={"verify_signature": False})["all"] is True
    job_id = await submitted(house)
    reply = await stranger.get(
        f"/v1/jobs/{job_id}/status/stream", params={"token": token}, headers={"Last-Event-ID": "aaaaaaaa-1"}
    )
    assert reply.status_code == 401


@pytest.mark.browser
async def test_an_eventsource_outlives_its_token_and_stops_with_the_grace(
    house: Stack, browser: Browser, house_log: JobLog
) -> None:
    """Cut after the token expired, the browser goes on by itself, without hole; when the grace is over it is told

    to come back, comes back, gets 401 and closes.
    """
    job = await PlayedJob.running(house_log)
    async with TcpProxy(house.url) as proxy:
        context = await browser.new_context()
        page = await context.new_page()
        answers: list[int] = []
        page.on("response", lambda response: answers.append(response.status))
        await page.goto(f"{proxy.url}/healthz")
        answers.clear()
        token = await token_for(house, jobs=[job.id], ttl_seconds=3)
        await page.evaluate(
            """(url) => {
              window.source = new EventSource(url)
              window.got = []
              for (const type of ["snapshot", "log", "reconnect", "gap"])
                source.addEventListener(type, (e) => got.push(JSON.parse(e.data)))
            }""",
            f"{proxy.url}/v1/jobs/{job.id}/status/stream?token={token}",
        )

        async def got(kind: str) -> list[dict[str, Any]]:
            events = await page.evaluate("got")
            return [event for event in events if event["type"] == kind]

        await eventually(lambda: got("snapshot"), "it reads")

        async def expired() -> bool:
            url = f"{house.url}/v1/jobs/{job.id}/status?token={token}"
            async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
                return (await http.get(url)).status_code == 401

        await eventually(expired, "the token has expired")
        proxy.drop_all()
        await job.log("while it was away")
        await eventually(lambda: got("log"), "it goes on")
        assert answers == [200, 200]
        [goodbye] = await eventually(lambda: got("reconnect"), "the grace is over")
        assert goodbye["reason"] == "token"
        closed = "source.readyState === EventSource.CLOSED"
        await eventually(lambda: page.evaluate(closed), "it gives up")
        assert answers == [200, 200, 401]
        assert not await got("gap")
        await context.close()


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
async def test_an_open_stream_ends_with_its_token(house: Stack, house_log: JobLog, accept: str) -> None:
    """At the end of the grace: a goodbye that says why, and a body that ends as it should."""
    job = await PlayedJob.running(house_log)
    async with opened_for_a_moment(house, accept, jobs=[job.id]) as stream:
        body = b"".join([chunk async for chunk in stream.chunks()])
    assert stream.ended_clean
    assert b'"type":"reconnect","reason":"token"' in body
    assert b'"type":"snapshot"' in body


async def test_a_key_that_is_taken_back_closes_the_streams_of_its_tokens(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """The restart that takes it back ends them; whoever comes back is refused, also with a cursor."""
    kept = "another-key-0123456789abcdef"
    settings = {"MILEPOST_API_KEYS": f"{KEY},{kept}"}
    async with Stack(tmp_path, redis_server, workers=0, settings=settings) as house:
        job_id = await submitted(house)
        gone, good = await token_for(house, jobs=[job_id]), await token_for(house, kept, jobs=[job_id])
        path = f"/v1/jobs/{job_id}/status/stream?token="
        async with open_stream(f"{house.url}{path}{gone}") as stream:
            snapshot = (await stream.until("snapshot"))[-1]
            stopping = asyncio.to_thread(house.apis[0].stop)
            _, events = await asyncio.gather(stopping, stream.rest())
            assert [event["type"] for event in events if event["type"] != "waiting"] == ["reconnect"]
        await house.add_api(MILEPOST_API_KEYS=kept)
        for token, status in ((gone, 401), (good, 200)):
            async with open_stream(
                f"{house.urls[-1]}{path}{token}", last_event_id=snapshot["cursor"]
            ) as again:
                assert again.status == status


# --- what is written down --------------------------------------------------------------------------


async def test_tokens_are_in_no_log_and_no_answer(
    tmp_path: Path, redis_server: RedisServer, house_log: JobLog
) -> None:
    """At the most talkative level: good and bad ones, refusals, cut streams, requests that fail inside."""
    settings = {"MILEPOST_API_KEYS": KEY, "MILEPOST_LOG_LEVEL": "debug", "MILEPOST_LOG_FORMAT": "json"}
    async with Stack(tmp_path, redis_server, workers=0, settings=settings) as house:
        job_id = await submitted(house, tags=["a"])
        tokens = [
            await token_for(house, jobs=[job_id]),
            await token_for(house, tag="a"),
            expired_token(everything=True),
            "eyJhbGciOiJIUzI1NiJ9.bm90LW91cnM.signature-of-nobody",
        ]
        said = []
        async with httpx2.AsyncClient(base_url=house.url, timeout=30, trust_env=False, verify=False) as http:
            for token in tokens:
                for path in (
                    "",
                    "/status",
                    "/events?wait=0",
                    "/status/stream?min_interval_ms=-1",
                    "/cancel",
                    "/none",
                ):
                    joint = "&" if "?" in path else "?"
                    for method in ("GET", "POST"):
                        reply = await http.request(method, f"/v1/jobs/{job_id}{path}{joint}token={token}")
                        said.append(reply.text + str(reply.headers))
                async with open_stream(f"{house.url}/v1/jobs/{job_id}/status/stream?token={token}") as stream:
                    async for chunk in stream.chunks():
                        said.append(chunk.decode())
                        break
            redis_server.pause()
            replies = await asyncio.gather(
                *(http.get(f"/v1/jobs/{job_id}", params={"token": token}) for token in tokens)
            )
            redis_server.resume()
            assert [reply.status_code for reply in replies] == [503, 503, 401, 401]
            said += [reply.text for reply in replies]
            reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(house.url).port)
            writer.write(
                f"GET /v1/jobs/x?token={tokens[0]} HTTP/1.1\r\nHost: x\r\nBroken\x00: y\r\n\r\n".encode()
            )
            said.append((await reader.read()).decode())
            writer.close()
        written = house.apis[0].log.read_text()
        assert '"level"' in written  # it does write
        leaked = [
            part
            for token in tokens
            for part in token.split(".")[1:]
            if part and part in written + "".join(said)
        ]
        assert leaked == []


async def test_without_keys_a_token_is_held_to_what_it_grants(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """A page behaves on a developer's machine as it will in production."""
    async with Stack(tmp_path, redis_server, workers=0) as house:
        mine, other = await submitted(house), await submitted(house)
        reply = await house.http.post("/v1/stream-tokens", json={"jobs": [mine]})
        token = reply.json()["token"]
        params = {"token": token}
        assert (await house.http.get(f"/v1/jobs/{mine}", params=params)).status_code == 200
        assert (await house.http.get(f"/v1/jobs/{other}", params=params)).status_code == 404
        assert (await house.http.get("/v1/jobs", params=params)).status_code == 403
        assert (await house.http.get(f"/v1/jobs/{mine}", params={"token": "nonsense"})).status_code == 401
        assert (await house.http.get(f"/v1/jobs/{other}")).status_code == 200
        assert json.loads(reply.text)["stream_url"].startswith(f"/v1/jobs/{mine}/status/stream?token=")
