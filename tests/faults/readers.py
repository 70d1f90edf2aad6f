"""Those who follow a job to its end, each in another way. What they were sent is for the laws to judge."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2

from milepost.events import Event, Gap, to_wire
from tests.faults.story import Cancel

if TYPE_CHECKING:
    from tests.faults.rounds import Round

AGAIN_SECONDS = 0.2
POLL_SECONDS = 5


@dataclass
class Submitted:
    """A job of this round, and what its reader was sent so far."""

    id: str
    name: str
    allowed: frozenset[str]
    spared: bool
    not_before: float | None
    seen: list[dict[str, Any]] = field(default_factory=list)
    polls: list[dict[str, Any]] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)

    @property
    def status(self) -> str:
        """The latest status that the reader knows."""
        for event in reversed(self.seen):
            if event["type"] == "snapshot":
                return str(event["job"]["status"])
            if event["type"] in {"status", "end"}:
                return str(event["status"])
        return ""

    def was(self, status: str) -> bool:
        """Whether the reader was told so, be it by a snapshot."""
        return any(status in {event.get("status"), event.get("job", {}).get("status")} for event in self.seen)


Reader = Callable[["Round", Submitted], Coroutine[Any, Any, None]]


async def by_client(r: Round, job: Submitted) -> None:
    """Follow by the Python client, over server-sent events."""
    await _follow(r, job, None)


async def late(r: Round, job: Submitted) -> None:
    """Come when the job is half done, or has ended."""
    await r.begun(job)
    await r.moment(0, 1.5)
    await by_client(r, job)


async def in_pieces(r: Round, job: Submitted) -> None:
    """Leave in the middle and come back with the cursor, again and again: each time to another API, perhaps."""
    after: str | None = None
    while not (job.seen and job.seen[-1]["type"] == "end"):
        after = await _follow(r, job, after, most=r.chance.randint(1, 4))
        await asyncio.sleep(0)


async def _follow(r: Round, job: Submitted, after: str | None, most: int | None = None) -> str | None:
    """Take so many events, or all, and return the cursor of the last one."""
    heard = 0
    async with aclosing(r.client.follow(job.id, after=after)) as events:
        async for event in events:
            if not isinstance(event, Event | Gap):
                continue
            job.seen.append(json.loads(json.dumps(to_wire(event))))
            after, heard = getattr(event, "cursor", after), heard + 1
            if heard == most and isinstance(event, Event):
                break
    return after


async def by_line(r: Round, job: Submitted) -> None:
    """Read NDJSON by hand. Nothing is put right here: what comes twice after a reconnect has come twice."""
    cursor = ""
    while not (job.seen and job.seen[-1]["type"] == "end"):
        headers = {"Accept": "application/x-ndjson"} | ({"Last-Event-ID": cursor} if cursor else {})
        try:
            async for event in _lines(r, f"/v1/jobs/{job.id}/status/stream", headers):
                if "seq" in event or event["type"] == "gap":
                    job.seen.append(event)
                    cursor = event.get("cursor", cursor)
        except httpx2.HTTPError:
            pass  # the API has died, or is on its way
        await asyncio.sleep(AGAIN_SECONDS)


async def _lines(r: Round, path: str, headers: dict[str, str]) -> AsyncIterator[dict[str, Any]]:
    async with r.http.stream("GET", f"{r.house.url}{path}", headers=headers) as reply:
        if reply.status_code == 200:
            async for line in reply.aiter_lines():
                yield json.loads(line)
        elif reply.status_code != 503:
            raise AssertionError(f"GET {path}: {reply.status_code} {await reply.aread()!r}")


async def by_polling(r: Round, job: Submitted) -> None:
    """Ask for the status, and wait for news each time."""
    cursor: str | None = None
    while not (job.polls and job.polls[-1]["done"]):
        params: dict[str, Any] = {"wait": POLL_SECONDS} | ({"after": cursor} if cursor else {})
        try:
            reply = await r.http.get(f"{r.house.url}/v1/jobs/{job.id}/status", params=params)
        except httpx2.HTTPError:
            await asyncio.sleep(AGAIN_SECONDS)
            continue
        if reply.status_code == 200:
            job.polls.append(answer := reply.json())
            cursor = answer["cursor"]
        elif reply.status_code == 503:
            await asyncio.sleep(AGAIN_SECONDS)
        else:
            raise AssertionError(f"the status of {job.name}: {reply.status_code} {reply.text}")
