"""Readers of streams of many jobs, and what must hold of all that they were told."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from redis.asyncio import Redis

from tests.support.api import Api
from tests.support.schemas import check_event
from tests.support.sse import RawStream, open_stream
from tests.support.wait import DEADLINE_SECONDS, eventually

Query = Sequence[tuple[str, str]]


def url_of(base: object, *, jobs: Iterable[str] = (), **query: str) -> str:
    """Return the address of a stream: of these jobs, or as the query says."""
    words = [*(("job", job_id) for job_id in jobs), *query.items()]
    return f"{str(base).rstrip('/')}/v1/status/stream" + (f"?{urlencode(words)}" if words else "")


@dataclass
class Told:
    """What a reader was told, over however many connections; `last_id` is what it sends when it comes back.

    `reached`: of each job the number of the last event.
    """

    events: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    last_id: str = ""
    reached: dict[str, int] = field(default_factory=dict)

    def take(self, event: dict[str, Any], event_id: str) -> None:
        self.events.append(event)
        self.ids.append(event_id)
        if "seq" in event:
            self.reached[event["job_id"]] = event["seq"]
        self.last_id = event_id or self.last_id

    def of(self, job_id: str, *kinds: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e.get("job_id") == job_id and (not kinds or e["type"] in kinds)]

    def types(self, job_id: str | None = None) -> list[str]:
        return [e["type"] for e in self.events if job_id is None or e.get("job_id") == job_id]

    def counts(self) -> Counter[str]:
        return Counter(e["type"] for e in self.events)

    @property
    def is_over(self) -> bool:
        return bool(self.events) and self.events[-1]["type"] == "end"


async def read_on(stream: RawStream, told: Told | None = None, *, until: str = "") -> Told:
    """Read a stream to its end, or up to and with an event of that type."""
    told = told or Told()
    async for frame in stream.frames():
        event = json.loads(frame.data)
        assert event["type"] == frame.event
        check_event(event)
        told.take(event, frame.id if frame.id != told.last_id else "")
        if event["type"] == until:
            return told
    assert not until, f"the stream ended without {until!r}: {told.types()[-20:]}"
    return told


async def read_up_to(stream: RawStream, told: Told, number: int, kind: str) -> None:
    """Read on until the reader has been told so many events of that type."""
    while told.counts()[kind] < number:
        await read_on(stream, told, until=kind)


@asynccontextmanager
async def opened(base: object, told: Told | None = None, **query: Any) -> AsyncIterator[RawStream]:
    """Open a stream; as somebody who has been told something, if that is given."""
    headers = query.pop("headers", None)
    deadline = query.pop("deadline", DEADLINE_SECONDS)
    last = (told.last_id if told else "") or None
    async with open_stream(
        url_of(base, **query), last_event_id=last, headers=headers, deadline=deadline
    ) as stream:
        yield stream


async def read(base: object, told: Told | None = None, **query: Any) -> Told:
    """Read a whole stream, which must end the way HTTP says."""
    async with opened(base, told, **query) as stream:
        assert stream.status == 200, stream.status
        found = await read_on(stream, told)
    assert stream.ended_clean, found.types()[-20:]
    return found


def assert_exact(told: Told, last: Mapping[str, int]) -> None:
    """Each job: one snapshot, then every later event once and in order, up to its job_end, which has that number."""
    seqs: dict[str, list[int]] = defaultdict(list)
    for event in told.events:
        if "seq" in event:
            seqs[event["job_id"]].append(event["seq"])
    assert seqs.keys() == last.keys()
    for job_id, end in last.items():
        assert told.types(job_id).count("snapshot") == 1, told.types(job_id)
        assert told.types(job_id).count("job_end") == 1
        assert seqs[job_id] == list(range(seqs[job_id][0], end + 1)), job_id


async def nothing_is_left(api: Api, redis: Redis) -> None:
    """Wait until no stream is open, and no channel is listened to but the process's own."""

    async def quiet() -> bool:
        channels = [name for name in await redis.pubsub_channels("mp:*") if not name.startswith(b"mp:hub")]
        open_streams = api.services.many.streams, api.services.hub.streams, api.services.hub.seats.taken
        return not channels and not any(open_streams)

    await eventually(quiet, "no channel and no stream is left")
