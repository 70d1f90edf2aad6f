"""Closed by default: no open address without keys, and with keys no address without one but health and the page."""

import asyncio
import secrets

import httpx2
import pytest

from tests.support.ports import free_port
from tests.support.process import Process
from tests.support.stack import Stack
from tests.support.wait import eventually

KEYS = [f"key-{secrets.token_hex(12)}", f"key-{secrets.token_hex(12)}"]
WRONG = f"wrong-{secrets.token_hex(12)}"
OPEN = {"/healthz", "/readyz", "/"}
"""Health, and the page: a file of this repository, which asks for a key."""
JOB = "01890000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
async def closed(tmp_path_factory, redis_servers):
    """One API with two keys, and no worker: who may ask is decided before what is asked for."""
    settings = {"MILEPOST_API_KEYS": ", ".join(KEYS)}
    folder = tmp_path_factory.mktemp("closed")
    async with Stack(folder, redis_servers("embedded"), workers=0, settings=settings) as running:
        yield running


@pytest.fixture(scope="module")
async def routes(closed):
    """Every (method, path) of the OpenAPI document, and the addresses that are not in it."""
    document = (await closed.http.get("/openapi.json", headers={"X-API-Key": KEYS[0]})).json()
    documented = [
        (method.upper(), path.replace("{job_id}", JOB))
        for path, methods in document["paths"].items()
        for method in methods
    ]
    assert len(documented) >= 12
    assert not [path for _, path in documented if "{" in path]
    return [*documented, *(("GET", path) for path in ("/", "/docs", "/openapi.json", "/no/such/thing"))]


async def answers(closed, routes, headers):
    async with httpx2.AsyncClient(base_url=closed.url, timeout=30, trust_env=False) as http:
        return {
            (method, path): await answer(http, method, path, {"content-type": "application/json", **headers})
            for method, path in routes
        }


async def answer(http, method, path, headers):
    """The list of all jobs is a stream without an end: of a stream the head will do."""
    async with http.stream(method, path, headers=headers, content=b"{}") as reply:
        if not reply.headers.get("content-type", "").startswith("text/event-stream"):
            await reply.aread()
        return reply


def refused(reply):
    if reply.status_code != 401:
        return False
    document = reply.json()
    return (
        reply.headers["content-type"] == "application/problem+json"
        and reply.headers["www-authenticate"].startswith('Bearer realm="milepost"')
        and document["type"] == "urn:milepost:problem:unauthorized"
        and document["status"] == 401
        and "key" in document["detail"].lower()
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": f"Bearer {WRONG}"},
        {"X-API-Key": WRONG},
        {"Authorization": f"Basic {KEYS[0]}"},
        {"Authorization": "Bearer"},
        {"X-API-Key": ""},
        {"X-API-Key": f"{KEYS[0]}x"},
        {"X-API-Key": KEYS[0].upper()},
        {"Cookie": f"X-API-Key={KEYS[0]}"},
    ],
    ids=["none", "bearer", "x-api-key", "basic", "bare", "empty", "longer", "case", "cookie"],
)
async def test_every_route_but_health_and_the_page_refuses(closed, routes, headers):
    """Without a key, or with what is none: 401, whatever was asked for; health and the page answer all the same."""
    replies = await answers(closed, routes, headers)
    assert [route for route, reply in replies.items() if refused(reply) == (route[1] in OPEN)] == []
    assert {replies["GET", path].status_code for path in OPEN} == {200}


@pytest.mark.parametrize("key", KEYS, ids=["first", "second"])
@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
async def test_every_route_opens_with_each_key_by_both_headers(closed, routes, header, key):
    """Several keys hold at a time, so that a new one can be given out before the old one is taken back."""
    value = f"Bearer {key}" if header == "Authorization" else key
    replies = await answers(closed, routes, {header: value})
    assert [route for route, reply in replies.items() if reply.status_code in {401, 403, 500}] == []
    assert replies["GET", "/v1/jobs"].status_code == 200
    assert replies["GET", f"/v1/jobs/{JOB}"].status_code == 404


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "PUT", "TRACE"])
async def test_no_method_is_a_way_around(closed, method):
    """The key comes before the question which methods there are."""
    [reply] = (await answers(closed, [(method, "/v1/jobs")], {})).values()
    assert reply.status_code == 401


@pytest.mark.parametrize("path", ["/", "/index.html", "/page.js", "/page.css", "/src/index.js", "/icon.svg"])
async def test_the_files_of_the_page_are_for_everybody(closed, path):
    """They are the same in every installation, so a key would protect nothing."""
    [page] = (await answers(closed, [("GET", path)], {})).values()
    assert page.status_code == 200
    assert "content-security-policy" in page.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/v1/jobs/{JOB}.js"),
        ("GET", "/v1/x.html"),
        ("GET", "/v1/jobs/x.svg/result"),
        ("GET", "//v1/jobs"),
        ("GET", "/docs"),
        ("GET", "/docs/oauth2-redirect"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("POST", "/index.html"),
        ("POST", "/"),
        ("DELETE", "/page.js"),
    ],
)
async def test_nothing_that_only_looks_like_a_file_of_the_page_is_open(closed, method, path):
    """A suffix opens no address of the API, and no method but those that read."""
    [reply] = (await answers(closed, [(method, path)], {})).values()
    assert reply.status_code == 401


async def test_keys_reach_no_log(closed, routes):
    """Right ones, wrong ones, and those that somebody put into an address."""
    for key in (*KEYS, WRONG):
        await answers(closed, routes, {"X-API-Key": key})
        await closed.http.get(f"/v1/jobs/{JOB}?token={key}&api_key={key}")
        await closed.http.get(f"/{key}")
    [api] = closed.apis
    written = api.log.read_text()
    assert "api.listening" in written  # the log is the right one
    assert [key for key in (*KEYS, WRONG) if key in written] == []


# --- starting ------------------------------------------------------------------------------------


async def started(tmp_path, **settings):
    """Start an API and return its exit code and what it said; it must leave by itself."""
    given = {"MILEPOST_DATA_DIR": str(tmp_path), "MILEPOST_PORT": str(free_port()), **settings}
    command = ("-m", "milepost.cli.main", "api")
    with Process.python("api", *command, log=tmp_path / "api.log", settings=given) as api:
        return await asyncio.to_thread(api.wait), api.output()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "milepost.example.org"])
async def test_an_open_address_without_keys_is_refused(tmp_path, host):
    """Exit code 2, and a sentence that says what to set."""
    code, said = await started(tmp_path, MILEPOST_HOST=host)
    assert code == 2
    assert said.startswith(f"MILEPOST_HOST is {host!r} and no API key is set")
    assert "Set MILEPOST_API_KEYS" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("nothing", ["", " , ,"])
async def test_keys_that_are_none_do_not_open_an_address(tmp_path, nothing):
    """An empty variable is no key."""
    code, said = await started(tmp_path, MILEPOST_HOST="0.0.0.0", MILEPOST_API_KEYS=nothing)
    assert (code, "no API key is set" in said) == (2, True)


async def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(tmp_path):
    """The sentence names the setting; what is in it stays a secret."""
    code, said = await started(tmp_path, MILEPOST_API_KEYS=f"{KEYS[0]} {KEYS[1]}")
    assert code == 2
    assert said.startswith("MILEPOST_API_KEYS: ")
    assert KEYS[0] not in said


async def test_another_wrong_setting_shows_no_keys(tmp_path):
    """Nor the password of the database."""
    code, said = await started(
        tmp_path,
        MILEPOST_API_KEYS=KEYS[0],
        MILEPOST_PORT="many",
        MILEPOST_DATABASE_URL="mysql://milepost:pa55word@db/milepost",
    )
    assert (code, "MILEPOST_PORT" in said) == (2, True)
    assert KEYS[0] not in said
    assert "pa55word" not in said


async def test_keys_from_a_file_open_an_address(tmp_path, redis_server):
    """A mounted secret does as well as a variable: the API starts on an open address, closed."""
    file, port = tmp_path / "keys", free_port()
    file.write_text(f"{KEYS[0]}\n{KEYS[1]}\n")
    settings = {
        "MILEPOST_REDIS_URL": redis_server.url,
        "MILEPOST_DATA_DIR": str(tmp_path),
        "MILEPOST_PORT": str(port),
        "MILEPOST_HOST": "0.0.0.0",
        "MILEPOST_API_KEYS_FILE": str(file),
    }
    with Process.python("api", "-m", "milepost_api", log=tmp_path / "api.log", settings=settings) as api:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:

            async def ready():
                api.check_alive()
                return (await http.get("/readyz")).status_code == 200

            await eventually(ready, "the API is ready", ignoring=(httpx2.HTTPError,))
            statuses = [
                (await http.get("/v1/jobs", headers={"X-API-Key": key})).status_code for key in (*KEYS, WRONG)
            ]
    assert statuses == [200, 200, 401]
