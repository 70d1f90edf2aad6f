"""Lists and counts as the Python client and the command line give them, from a real API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from milepost_api.records.order import key_of

from milepost.cli.main import main
from milepost.client import AsyncClient, Invalid, ListFilter
from tests.support.api import Api

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(api: Api) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(str(api.http.base_url)) as opened:
        yield opened


async def test_the_client_has_every_filter(client: AsyncClient) -> None:
    """What was submitted with all options is found by each, alone and together, and counted."""
    first = await client.submit("demo.count", {"steps": 1}, tags=["red"], batch_id="b:1", queue="night")
    second = await client.submit("demo.count", {"steps": 1})
    assert (first.batch_id, second.batch_id) == ("b:1", None)
    filters: ListFilter = {
        "status": ["queued", "failed"],
        "task": "demo.count",
        "queue": "night",
        "tag": "red",
        "batch": "b:1",
        "created_after": first.created_at or "",
        "created_before": "2100-01-01T00:00:00Z",
        "text": "COUNT",
    }
    assert [job.id for job in (await client.list(**filters)).items] == [first.id]
    for only in ("queue", "tag", "batch"):
        alone: ListFilter = {only: filters[only]}  # type: ignore[misc]
        assert [job.id for job in (await client.list(**alone)).items] == [first.id]
    counts = await client.counts(**filters)
    assert (counts.by_status, counts.total, counts.capped) == ({"queued": 1, "failed": 0}, 1, frozenset())
    assert (await client.counts()).by_status["queued"] == 2
    assert (await client.counts(created_before=first.created_at or "")).total == 0


async def test_pages_are_followed_by_their_cursor_in_both_orders(client: AsyncClient) -> None:
    """And a cursor that is none is refused with a sentence."""
    jobs = [(await client.submit("demo.count", {"steps": 1})).id for _ in range(3)]
    newest = await client.list(limit=2)
    oldest = await client.list(limit=2, oldest_first=True)
    assert [job.id for job in newest.items] == jobs[:0:-1]
    assert [job.id for job in oldest.items] == jobs[:2]
    assert newest.next_cursor is not None
    assert key_of(newest.next_cursor) is not None
    rest = await client.list(limit=2, cursor=newest.next_cursor)
    assert ([job.id for job in rest.items], rest.next_cursor) == ([jobs[0]], None)
    with pytest.raises(Invalid, match="no cursor of a list"):
        await client.list(cursor=jobs[0])
    with pytest.raises(Invalid, match="3 characters"):
        await client.list(text="ab")


async def test_the_command_line_lists_and_counts(
    api: Api, client: AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the filters of the client."""
    job = await client.submit("demo.count", {"steps": 1}, batch_id="b1", tags=["red"])
    await client.submit("demo.count", {"steps": 1})
    url = ["--url", str(api.http.base_url)]

    async def run(*words: str) -> str:
        assert await asyncio.to_thread(main, [*words, *url]) == 0
        # The API of the test logs to the same place.
        lines = capsys.readouterr().out.splitlines()
        return "\n".join(line for line in lines if line.startswith(("{", "STATUS", "queued", "total")))

    listed = json.loads(await run("list", "--json", "--batch", "b1", "--text", "RED", "--oldest-first"))
    assert [item["id"] for item in listed["items"]] == [job.id]
    counted = await run(
        "count", "--task", "demo.count", "--status", "queued", "--created-after", "2020-01-01T00:00:00Z"
    )
    assert counted.split() == ["STATUS", "JOBS", "queued", "2", "total", "2"]
    assert json.loads(await run("count", "--json", "--tag", "red"))["total"] == 1
