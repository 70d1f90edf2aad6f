"""A canary among the params of real jobs: it is nowhere to be found in what anybody can read."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from redis.asyncio import Redis

from milepost.redis import connect
from tests.support.page import tab
from tests.support.redis import RedisServer
from tests.support.sse import open_stream
from tests.support.stack import BUILTIN_TASKS, Stack
from tests.support.wait import eventually

if TYPE_CHECKING:
    from playwright.async_api import Browser

TOKEN, PASSWORD, PIN = 'canary/to"ken é', "canary-password", 73194628
PARAMS = {"token": TOKEN, "db": {"user": "bob", "password": PASSWORD}, "pin": PIN}
TRACES = ("canary", str(PIN), base64.b64encode(b"user:canary").decode()[-8:], "Y2FuYXJ5")
TASKS = "tests.support.tasks.secretive"


@pytest.fixture(scope="module", params=["console", "json"])
async def vault(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    """A service that logs all it can, in either format."""
    folder = tmp_path_factory.mktemp("vault")
    settings = {"MILEPOST_LOG_LEVEL": "debug", "MILEPOST_LOG_FORMAT": request.param}
    with RedisServer(folder / "redis") as redis:
        async with Stack(folder, redis, modules=(BUILTIN_TASKS, TASKS), settings=settings) as running:
            yield running


def assert_clean(text: str, where: str) -> None:
    found = [trace for trace in TRACES if trace in text]
    at = text.find(found[0]) if found else 0
    assert not found, f"{found} in {where}: ...{text[max(0, at - 200) : at + 200]}..."


async def everything(running: Stack, job: dict[str, Any]) -> dict[str, Any]:
    """Look at a job in every way there is, to its end, and return the end. What was seen is clean."""
    async with open_stream(running.stream_url(job["id"])) as stream:
        events = await stream.rest()
        assert_clean(stream.body.decode(), "the stream")
    paths = [*job["urls"].values(), "/v1/jobs", "/v1/jobs?q=canary", "/v1/tasks", "/v1/workers"]
    for path in [one for one in paths if not one.endswith(("/cancel", "/stream"))]:
        assert_clean((await running.http.get(path)).text, path)
    return events[-1]


async def in_redis(running: Stack) -> str:
    redis: Redis = connect(running.redis.url)
    try:
        found = [repr(await _content(redis, key)) async for key in redis.scan_iter("*")]
    finally:
        await redis.aclose()
    assert len(found) > 5
    return "\n".join(found)


async def _content(redis: Redis, key: bytes) -> Any:
    kind = (await redis.type(key)).decode()
    match kind:
        case "hash":
            return await cast("Any", redis.hgetall(key.decode()))
        case "stream":
            return await redis.xrange(key)
        case "zset":
            return await redis.zrange(key, 0, -1)
        case "string":
            return await redis.get(key)
    raise AssertionError(f"{key!r} is a {kind}")


def logs(running: Stack) -> str:
    return "\n".join(process.output() for process in (*running.apis, *running.workers))


def in_sql(running: Stack) -> str:
    """Return all that the records hold besides the params, which are needed to run a job again."""
    file = next(Path(running.folder / "data").glob("*.db"))
    with sqlite3.connect(file) as database:
        database.row_factory = sqlite3.Row
        rows = [dict(row) for row in database.execute("SELECT * FROM jobs")]
    return repr([{name: value for name, value in row.items() if name != "params"} for row in rows])


@pytest.mark.parametrize("task", ["secret.tell", "secret.tell_in_a_process"])
async def test_a_job_that_tells_all_gives_nothing_away(vault: Stack, task: str) -> None:
    """Messages, logs, outputs, names of steps, results: asterisks; and Redis has forgotten the params."""
    job = await vault.submit(task, **PARAMS)
    end = await everything(vault, job)
    assert end["status"] == "succeeded", end
    assert end["result"] == {
        "token": "**********",
        "plain": ["***"],
        "db": {"user": "bob", "password": "**********"},
        "pin": "***",
    }
    history = (await vault.http.get(job["urls"]["events"])).json()["items"]
    assert {"log ***", 'log "***"', "log https://u:***@host/"} <= {
        event["message"] for event in history if event["type"] == "log"
    }
    assert_clean(await in_redis(vault), "Redis")
    await eventually(lambda: "succeeded" in in_sql(vault), "the end is recorded")
    assert_clean(in_sql(vault), "the records")
    assert_clean(logs(vault), "the logs")
    assert "standard ***" in logs(vault)


async def test_a_job_that_fails_gives_nothing_away(vault: Stack) -> None:
    """The error, its notes, its cause, the traceback for operators, the attempt before the last one."""
    job = await vault.submit("secret.raise", **PARAMS)
    end = await everything(vault, job)
    assert (end["status"], end["attempt"], end["error"]["type"]) == ("failed", 2, "RuntimeError")
    assert "***" in end["error"]["message"]
    assert_clean(await in_redis(vault), "Redis")
    await eventually(lambda: "while reading ***" in in_sql(vault), "the traceback is recorded")
    assert_clean(in_sql(vault), "the records")
    assert "while reading ***" in logs(vault)
    assert_clean(logs(vault), "the logs")


async def test_params_that_only_the_worker_refuses_give_nothing_away(vault: Stack) -> None:
    """A validator of the task's own quotes what it was given."""
    job = await vault.submit("secret.tell", **{**PARAMS, "token": "canary is refused"})
    end = await everything(vault, job)
    assert end["status"] == "failed"
    assert "*** is not good enough" in end["error"]["message"]
    assert_clean(logs(vault), "the logs")


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": ["canary"]},
        {"token": {"value": "canary"}},
        {"db": "canary"},
        {"db": {"user": "bob", "password": ["canary"]}},
        {"db": {"user": 1, "password": "canary"}},
        {"db": {"password": "canary"}},
        {"pin": "canary"},
        {"pin": {"canary": PIN}},
    ],
)
async def test_params_that_the_api_refuses_are_not_quoted(vault: Stack, wrong: dict[str, Any]) -> None:
    """The refusal names the place and what was wanted, not what was given."""
    answer = await vault.http.post("/v1/jobs", json={"task": "secret.tell", "params": PARAMS | wrong})
    assert answer.json()["type"] == "urn:milepost:problem:invalid-params"
    assert_clean(answer.text, "the refusal")
    assert_clean(logs(vault), "the logs")


async def test_a_key_that_came_with_other_params_does_not_tell_them(vault: Stack) -> None:
    """Neither those of before nor those of now."""
    headers = {"Idempotency-Key": "vault"}
    for token, status in (("canary-one", 202), ("canary-two", 422)):
        body = {"task": "secret.tell", "params": PARAMS | {"token": token}}
        answer = await vault.http.post("/v1/jobs", json=body, headers=headers)
        assert answer.status_code == status
        assert_clean(answer.text, "the answer")


async def test_the_catalogue_says_which_params_are_secret(vault: Stack) -> None:
    """For forms, and for whoever keeps params in a file."""
    tasks = {one["name"]: one for one in (await vault.http.get("/v1/tasks")).json()["items"]}
    schema = tasks["secret.tell"]["params_schema"]
    assert [schema["properties"][name].get("writeOnly") for name in ("token", "db", "pin")] == [
        True,
        None,
        True,
    ]
    assert schema["$defs"]["Database"]["properties"]["password"]["writeOnly"] is True


# Everything in the page that could be read by somebody else: text and attributes, in shadow roots too, and what stays.
_READ = """() => {
  const inside = (node) => [node.outerHTML ?? "", ...[...node.querySelectorAll("*")]
    .filter((element) => element.shadowRoot).map((element) => inside2(element.shadowRoot))].join("\\n")
  const inside2 = (root) => root.innerHTML
  return [inside(document.documentElement), location.href, document.title,
    JSON.stringify({ ...localStorage }), JSON.stringify({ ...sessionStorage })].join("\\n")
}"""


@pytest.mark.browser
async def test_the_page_shows_no_secret(vault: Stack, chromium: Browser) -> None:
    """Typed unseen, left out of the commands to copy, and nowhere after the job has run."""
    async with tab(chromium, viewport={"width": 1180, "height": 900}) as page:
        await page.goto(vault.url)
        await page.compose("secret.tell", token=TOKEN, db=json.dumps(PARAMS["db"]), pin=PIN)
        assert await page.page.locator("#param-token").get_attribute("type") == "password"
        assert await page.page.locator("#param-pin").get_attribute("type") == "password"
        command = await page.page.locator("#curl").text_content() or ""
        assert '"token":"***","db":{"user":"bob","password":"***"},"pin":"***"' in command
        await page.page.locator("#submit").click()
        job = await page.new_job()
        await page.until(job, "Succeeded")
        await page.card(job).locator('[aria-label="Params"]', has_text='"pin": "***"').wait_for()
        assert_clean(await page.page.evaluate(_READ), "the page")
        await page.shoot("secrets")
