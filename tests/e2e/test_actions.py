"""The same request many times is one job, whichever API it reaches; jobs are retried and deleted by people's tools."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from milepost_api import database
from milepost_api.settings import ApiSettings

from milepost.client import AsyncClient, Client, Conflict, Invalid, NotFound
from tests.support.process import python_environment
from tests.support.stack import Stack
from tests.support.wait import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
BODY = {"task": "demo.count", "params": {"steps": 2, "delay_seconds": 0.01}}


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
async def two(database_url: str, stack: Callable[..., Awaitable[Stack]]) -> Stack:
    """Two API processes and two workers around one database of each kind."""
    if database_url:
        await database.upgrade(ApiSettings(database_url=database_url))
    return await stack(apis=2, workers=2, database_url=database_url)


async def sent(running: Stack, method: str, path: str, body: Any, **headers: str) -> list[Any]:
    """Send the same a hundred times at once, to both APIs by turns."""
    urls = [running.urls[number % 2] + path for number in range(100)]
    return await asyncio.gather(
        *(running.http.request(method, url, json=body, headers=headers) for url in urls)
    )


async def ended(running: Stack, job_id: str) -> dict[str, Any]:
    async def done() -> dict[str, Any] | None:
        job = await running.job(job_id)
        return job if job["done"] else None

    return await eventually(done, f"{job_id} has ended")


async def ran_once(running: Stack, job_id: str) -> None:
    """One job in all lists, begun once, ended once."""
    job = await ended(running, job_id)
    events = (await running.http.get(job["urls"]["events"])).json()["items"]
    kinds = [event.get("status", event["type"]) for event in events if event["type"] in ("status", "end")]
    assert kinds == ["queued", "running", "succeeded"]
    for url in running.urls:
        assert [one["id"] for one in (await running.http.get(f"{url}/v1/jobs")).json()["items"]] == [job_id]


async def test_a_hundred_posts_of_one_key_are_one_job_and_one_run(two: Stack) -> None:
    """A hundred equal answers, one of them the first; the same key with another body is refused everywhere."""
    answers = await sent(two, "POST", "/v1/jobs", BODY, **{"Idempotency-Key": "order-17"})

    assert {answer.status_code for answer in answers} == {202}
    [job_id] = {answer.json()["id"] for answer in answers}
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    await ran_once(two, job_id)
    others = await sent(two, "POST", "/v1/jobs", {**BODY, "tags": ["x"]}, **{"Idempotency-Key": "order-17"})
    assert {answer.status_code for answer in others} == {422}
    assert {answer.json()["type"] for answer in others} == {"urn:milepost:problem:idempotency-mismatch"}
    await ran_once(two, job_id)


async def test_a_hundred_puts_of_one_id_are_one_job_and_one_run(two: Stack) -> None:
    """The id is the key; another body for it is a conflict everywhere."""
    answers = await sent(two, "PUT", "/v1/jobs/order-18", BODY)

    assert {(answer.status_code, answer.json()["id"]) for answer in answers} == {(202, "order-18")}
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    await ran_once(two, "order-18")
    others = await sent(two, "PUT", "/v1/jobs/order-18", {**BODY, "tags": ["x"]})
    assert {answer.status_code for answer in others} == {409}
    await ran_once(two, "order-18")


def command(running: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "milepost.cli.main", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=python_environment({"MILEPOST_URL": running.url}),
        timeout=60,
        check=False,
    )


async def test_the_client_puts_retries_and_deletes(stack: Callable[..., Awaitable[Stack]]) -> None:
    """One by one and by filter, with and without asyncio; refusals are exceptions that say why."""
    running = await stack()
    await asyncio.to_thread(_client_does_all, running.url)
    async with AsyncClient(running.url) as client:
        job = await client.submit("demo.count", {"steps": 2, "fail_at": 1}, job_id="mine", tags=["async"])
        assert (await client.wait(job.id)).status == "failed"
        again = await client.retry(job.id)
        assert again.retry_of == "mine"
        assert (await client.wait(again.id)).status == "failed"
        assert (await client.delete_all(tag="async", dry_run=True)).matched in (1, 2)  # records are behind

        async def both() -> bool:
            return (await client.delete_all(tag="async", dry_run=True)).matched == 2

        await eventually(both, "both ends are recorded")
        outcome = await client.retry_all(tag="async", idempotency_key="once")
        assert (outcome.changed, outcome.by_status) == (2, {"failed": 2})
        assert (await client.retry_all(tag="async", idempotency_key="once")).changed >= 2  # replays
        jobs = (await client.list(tag="async")).items
        assert len(jobs) == 4
        for one in jobs:
            await client.wait(one.id)
        await client.delete("mine")
        with pytest.raises(NotFound):
            await client.get("mine")
        waiting = await client.submit("nobody.knows", allow_unknown_task=True, tags=["wait"])
        assert (await client.cancel_all(tag="wait")).changed == 1
        assert (await client.get(waiting.id)).status == "cancelled"


def _client_does_all(url: str) -> None:
    with Client(url) as client:
        job = client.submit("demo.count", {"steps": 1}, job_id="sync")
        assert client.submit("demo.count", {"steps": 1}, job_id="sync").id == job.id == "sync"
        with pytest.raises(Conflict, match="another body"):
            client.submit("demo.count", {"steps": 2}, job_id="sync")
        for wrong in ("a/b", "", "x" * 65):
            with pytest.raises(Invalid, match="can be no id"):
                client.submit("demo.count", {"steps": 2}, job_id=wrong)
        client.wait(job.id)
        again = client.retry(job.id, idempotency_key="k")
        assert client.retry(job.id, idempotency_key="k").id == again.id
        client.wait(again.id)
        client.delete(job.id)
        with pytest.raises(NotFound):
            client.delete(job.id)
        waiting = client.submit("nobody.knows", allow_unknown_task=True)
        with pytest.raises(Conflict, match="Cancel it first"):
            client.delete(waiting.id)
        with pytest.raises(Conflict, match="has ended"):
            client.retry(waiting.id)
        assert client.cancel_all(every=True).changed == 1
        with pytest.raises(Invalid, match="at least one filter"):
            client.delete_all()


async def test_the_command_line_retries_and_deletes(stack: Callable[..., Awaitable[Stack]]) -> None:
    """With ids, and with a filter after a dry run; nothing is done to many jobs without a yes."""
    running = await stack()

    async def milepost(*arguments: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(command, running, *arguments)

    submitted = await milepost("submit", "demo.count", "-p", "fail_at=1", "--id", "mine", "--tag", "x", "-q")
    assert (submitted.returncode, submitted.stdout) == (0, "mine\n"), submitted.stderr
    await ended(running, "mine")
    again = await milepost("retry", "mine", "-q")
    new = again.stdout.strip()
    assert (await ended(running, new))["retry_of"] == "mine"

    async def two_failed() -> bool:
        return (await milepost("delete", "--tag", "x", "--dry-run")).stdout == (
            "There are 2 jobs (2 failed) to delete.\n"
        )

    await eventually(two_failed, "both are found")
    refused = await milepost("delete", "--tag", "x")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    mixed = await milepost("delete", new, "never", "--json")
    assert (mixed.returncode, json.loads(mixed.stdout)) == (3, {"id": new, "outcome": "deleted"})
    assert "never: There is no job" in mixed.stderr
    deleted = await milepost("delete", "--tag", "x", "--yes")
    assert (deleted.returncode, deleted.stdout) == (0, "Deleted 1 of 1 job (1 failed).\n")
    assert (await milepost("retry", "mine")).returncode == 3
    for wrong in (
        ("delete",),
        ("delete", "mine", "--tag", "x"),
        ("cancel", "--all", "--tag", "x"),
        ("retry", "mine", "--dry-run"),
    ):
        assert (await milepost(*wrong)).returncode == 2, wrong
    waiting = await running.http.post("/v1/jobs", json={"task": "nobody.knows", "allow_unknown_task": True})
    cancelled = await milepost("cancel", "--all", "--yes", "--json")
    assert json.loads(cancelled.stdout)["changed"] == 1
    assert (await running.job(waiting.json()["id"]))["status"] == "cancelled"
