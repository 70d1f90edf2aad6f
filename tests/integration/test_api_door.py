"""Before any route: keys, sizes, addresses that are not there, errors that nobody expected, pages."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from milepost_api import limits
from milepost_api.app import create_app
from milepost_api.pages import Pages
from milepost_api.settings import ApiSettings
from redis.asyncio import Redis

from tests.support.api import Api, announce, serving, settings
from tests.support.redis import RedisServer

pytestmark = pytest.mark.anyio
MEGABYTE = 1024 * 1024
HEAD = "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture
async def locked(tmp_path: Path, redis_server: RedisServer, redis: Redis) -> AsyncIterator[Api]:
    await announce(redis)
    async with serving(settings(tmp_path, redis_server.url, api_keys="first-key, second-key")) as running:
        yield running


async def test_every_address_but_health_and_the_page_needs_a_key(locked: Api) -> None:
    """Closed means closed: routes, pages, documents and what is not there at all."""
    document = create_app(locked.services.settings).openapi()
    addresses = [(m, p.replace("{job_id}", "x")) for p, ops in document["paths"].items() for m in ops]
    for method, path in [
        *addresses,
        ("get", "/"),
        ("get", "/docs"),
        ("get", "/openapi.json"),
        ("get", "/nope"),
    ]:
        answer = await locked.http.request(method, path)
        if path in ("/healthz", "/readyz", "/"):
            assert answer.status_code == 200
        else:
            assert answer.status_code == 401, path
            assert answer.json()["type"] == "urn:milepost:problem:unauthorized"
            assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header",
    [
        {"authorization": "Bearer second-key"},
        {"authorization": "bearer  first-key"},
        {"x-api-key": "first-key"},
    ],
)
async def test_each_key_opens_in_either_header(locked: Api, header: dict[str, str]) -> None:
    """Two keys are valid while one is being replaced by the other."""
    assert (await locked.http.get("/v1/jobs", headers=header)).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        {"authorization": "Bearer first-ke"},
        {"authorization": "Bearer first-key,second-key"},
        {"authorization": "Basic first-key"},
        {"authorization": "Bearer"},
        {"x-api-key": ""},
        {"x-api-key": "\xff"},
    ],
)
async def test_anything_else_does_not_open(locked: Api, header: dict[str, str]) -> None:
    """Nearly a key is none."""
    raw = [(name.encode(), value.encode("latin-1")) for name, value in header.items()]
    assert (await locked.http.get("/v1/jobs", headers=raw)).status_code == 401


async def test_a_body_that_is_too_large_is_refused_by_its_announcement(api: Api) -> None:
    """413 comes before a byte of the body has been sent."""
    port = api.services.settings.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{HEAD}Content-Length: {20 * MEGABYTE}\r\n\r\n".encode())
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()

    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in head


async def test_a_client_that_sends_20_megabytes_gets_its_answer(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is not lost to a reset of the connection while the client still writes."""
    monkeypatch.setattr(limits, "LINGER_SECONDS", 60.0)  # a busy machine may need more than two for them
    for body in (b"x" * 20 * MEGABYTE, _chunks(20)):
        answer = await api.http.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert answer.json()["type"] == "urn:milepost:problem:too-large"


async def test_a_chunked_body_is_refused_at_the_first_byte_too_many(api: Api) -> None:
    """A body without an announced length is counted as it comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.services.settings.port)
    writer.write(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode())
    for _ in range(2):
        writer.write(f"{MEGABYTE:x}\r\n".encode() + b"x" * MEGABYTE + b"\r\n")
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 413 ")


async def _chunks(megabytes: int) -> AsyncIterator[bytes]:
    for _ in range(megabytes):
        yield b"x" * MEGABYTE


@pytest.mark.parametrize(
    ("body", "kind", "status", "name"),
    [
        (b'{"task":', "application/json", 400, "bad-request"),
        (b"\xff\xfe", "application/json", 400, "bad-request"),
        (b"", "application/json", 422, "invalid-request"),
        (b"[]", "application/json", 422, "invalid-request"),
        (b"null", "application/json", 422, "invalid-request"),
        (b'{"task":"demo.count"}', "application/x-www-form-urlencoded", 415, "unsupported-media-type"),
        (b'{"task":"demo.count"}', "text/plain", 415, "unsupported-media-type"),
        (b"task=demo.count", "", 415, "unsupported-media-type"),
    ],
)
async def test_a_body_that_is_no_submission_is_a_problem(
    api: Api, body: bytes, kind: str, status: int, name: str
) -> None:
    """Not JSON, not an object, not announced as JSON: each is said in a sentence."""
    answer = await api.http.post("/v1/jobs", content=body, headers={"content-type": kind} if kind else {})
    assert answer.status_code == status, answer.text
    assert answer.json()["type"] == f"urn:milepost:problem:{name}"
    assert answer.json()["detail"]


async def test_an_address_that_is_not_there_and_a_method_it_does_not_take(api: Api) -> None:
    """404 and 405 are problems too; Allow names every method of the address."""
    missing = await api.http.get("/v1/nope")
    refused = await api.http.put("/v1/jobs", json={})
    posted = await api.http.get("/v1/jobs/x/cancel")

    assert (missing.status_code, missing.json()["type"]) == (404, "urn:milepost:problem:not-found")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, POST")
    assert (posted.status_code, posted.headers["allow"]) == (405, "POST")


async def test_an_error_that_nobody_expected_tells_the_client_nothing_but_its_id(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 with the request id, which the log has too; no traceback, no message of the exception."""

    async def broken(*_: object) -> None:
        raise RuntimeError("the secret")

    monkeypatch.setattr(type(api.services.lookup), "find", broken)
    answer = await api.http.get("/v1/jobs/x", headers={"x-request-id": "trace-me"})

    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "trace-me"
    assert "secret" not in answer.text


async def test_a_request_id_that_is_not_plain_is_replaced(api: Api) -> None:
    """What a client sends ends up in logs: only plain text is taken over."""
    answer = await api.http.get("/healthz", headers={"x-request-id": "a b"})
    assert answer.headers["x-request-id"] != "a b"


async def test_the_openapi_document_is_served_and_complete(api: Api) -> None:
    """Every reference resolves and every operation has a stable id."""
    document = (await api.http.get("/openapi.json")).json()
    text = json.dumps(document)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"], name
    ids = {op["operationId"] for ops in document["paths"].values() for op in ops.values()}
    assert {"submit_job", "list_jobs", "get_job", "cancel_job", "get_job_status", "get_job_result"} <= ids
    assert "HTTPValidationError" not in text


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """Pages from a folder with things in it that nobody should see."""
    for name, text in {
        "index.html": "<!doctype html>",
        "src/app.js": "export {}",
        ".env": "SECRET",
        "tests/x.js": "SECRET",
        "node_modules/x.js": "SECRET",
        "notes.md": "SECRET",
    }.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "outside.js").write_text("SECRET")
    app = create_app(ApiSettings(data_dir=tmp_path))
    app.router.default = Pages(tmp_path / "site")
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://t") as client:
        yield client


async def test_pages_run_only_their_own_scripts(site: httpx2.AsyncClient) -> None:
    """A strict policy and no sniffing; unchanged files are not sent again."""
    page, script = await site.get("/"), await site.get("/src/app.js")

    assert page.status_code == script.status_code == 200
    assert script.headers["content-type"].startswith("text/javascript")
    for answer in (page, script):
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    again = await site.get("/src/app.js", headers={"if-none-match": script.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        "/.env",
        "/tests/x.js",
        "/node_modules/x.js",
        "/notes.md",
        "/src",
        "/../outside.js",
        "/%2e%2e/outside.js",
        "/src/%00",
    ],
)
async def test_pages_show_nothing_else(site: httpx2.AsyncClient, path: str) -> None:
    """Only what a page is made of is served, from its folder only."""
    answer = await site.get(path)
    assert answer.status_code == 404, answer.text
    assert "SECRET" not in answer.text


ELSEWHERE = "https://elsewhere.example.org"
ALLOWED = "https://app.example.org"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": ELSEWHERE, "sec-fetch-site": "cross-site"}, 403),
        ({"origin": "http://localhost:1", "sec-fetch-site": "same-site"}, 403),
        ({"origin": "null", "sec-fetch-site": "cross-site"}, 403),
        ({"origin": ELSEWHERE}, 403),  # a browser that does not send the other one
        ({"origin": "null"}, 403),
        ({"origin": ALLOWED, "sec-fetch-site": "cross-site"}, 200),
        ({"origin": "HERE", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "https://behind.a.proxy", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "HERE"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({}, 200),  # a program
    ],
    ids=str,
)
async def test_without_keys_a_page_of_another_origin_changes_nothing(
    tmp_path: Path, redis_server: RedisServer, redis: Redis, headers: dict[str, str], status: int
) -> None:
    """A browser would send its POST, and only keep the answer from it: all jobs would be deleted by then."""
    await announce(redis)
    async with serving(settings(tmp_path, redis_server.url, cors_origins=(ALLOWED,))) as api:
        here = str(api.http.base_url).rstrip("/")
        sent = {name: here if value == "HERE" else value for name, value in headers.items()}
        job = await api.submit()
        answer = await api.http.post("/v1/jobs/cancel?all=true", headers=sent)
        assert answer.status_code == status, answer.text
        assert (await api.get(f"/v1/jobs/{job['id']}"))["done"] == (status == 200)
        if status == 403:
            assert answer.json()["type"] == "urn:milepost:problem:forbidden"
            assert "MILEPOST_CORS_ORIGINS" in answer.json()["detail"]


async def test_with_keys_the_key_decides(locked: Api) -> None:
    """No page has one that it was not given, so where it comes from does not matter."""
    headers = {"origin": ELSEWHERE, "sec-fetch-site": "cross-site", "x-api-key": "first-key"}
    assert (await locked.http.post("/v1/jobs/cancel?all=true", headers=headers)).status_code == 200
    del headers["x-api-key"]
    assert (await locked.http.post("/v1/jobs/cancel?all=true", headers=headers)).status_code == 401
