"""One reader of a job's events, by whichever transport: SSE, NDJSON, or long-poll."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

import httpx2

from tests.support.sse import RawStream, open_stream
from tests.support.wait import DEADLINE_SECONDS

WAIT_SECONDS = 20
LAST = frozenset({"end", "reconnect"})
"""What a transport says last: a reader that got one of these asks no more on this connection."""


class Reader(Protocol):
    """`status` is that of the answer; `cursor` what to come back with; `clean` whether it ended as it should."""

    cursor: str

    @property
    def status(self) -> int: ...

    @property
    def clean(self) -> bool | None: ...

    def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what comes, pings left out, until the server ends it. May be called again to go on."""


async def until(reader: Reader, kind: str) -> list[dict[str, Any]]:
    """Read up to and with the first event of that type; fails if there is none."""
    seen = []
    async for event in reader.events():
        seen.append(event)
        if event["type"] == kind:
            return seen
    raise AssertionError(f"it ended (cleanly: {reader.clean}) without {kind!r}: {[e['type'] for e in seen]}")


async def rest(reader: Reader) -> list[dict[str, Any]]:
    """Read to the end, which must be a clean one."""
    seen = [event async for event in reader.events()]
    assert reader.clean, [event["type"] for event in seen]
    return seen


@dataclass
class _Stream:
    raw: RawStream
    cursor: str
    ready: deque[dict[str, Any]] = field(default_factory=deque)
    partial: bytes = b""

    @property
    def status(self) -> int:
        return self.raw.status

    @property
    def clean(self) -> bool | None:
        return self.raw.ended_clean

    def take(self, event: dict[str, Any]) -> dict[str, Any] | None:
        self.cursor = event.get("cursor", self.cursor)
        return None if event["type"] == "ping" else event


class _Sse(_Stream):
    async def events(self) -> AsyncIterator[dict[str, Any]]:
        async for frame in self.raw.frames():
            event = json.loads(frame.data)
            assert frame.event == event["type"]
            if "cursor" in event:
                assert frame.id == event["cursor"]
            if (taken := self.take(event)) is not None:
                yield taken


class _Lines(_Stream):
    async def events(self) -> AsyncIterator[dict[str, Any]]:
        while self.ready:
            yield self.ready.popleft()
        async for piece in self.raw.chunks():
            *lines, self.partial = (self.partial + piece).split(b"\n")
            self.ready.extend(event for line in lines if (event := self.take(json.loads(line))))
            while self.ready:
                yield self.ready.popleft()


@dataclass
class _Poll:
    http: httpx2.AsyncClient
    url: str
    query: dict[str, Any]
    cursor: str
    status: int = 0
    clean: bool | None = None
    ready: deque[dict[str, Any]] = field(default_factory=deque)

    async def ask(self, wait: float = WAIT_SECONDS) -> None:
        after = {"after": self.cursor} if self.cursor else {}
        reply = await self.http.get(self.url, params={"wait": wait, **self.query, **after})
        self.status = reply.status_code
        if reply.status_code != 200:
            self.clean = True
            return
        answer = reply.json()
        self.ready.extend(answer["items"])
        self.cursor = answer["next"] or ""
        ended = [event["type"] for event in answer["items"] if event["type"] in LAST]
        assert answer["done"] == ("end" in ended)
        assert answer["gap"] == next((e["reason"] for e in answer["items"] if e["type"] == "gap"), None)
        self.clean = True if ended else None

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            while self.ready:
                yield self.ready.popleft()
            if self.clean:
                return
            await self.ask()


@dataclass(frozen=True)
class Transport:
    """`sse`, `ndjson` or `poll`."""

    name: str

    @asynccontextmanager
    async def open(
        self, base: str, job_id: str, cursor: str | None = None, **query: Any
    ) -> AsyncIterator[Reader]:
        """Connect, and yield a reader whose `status` is known."""
        job = f"{base.rstrip('/')}/v1/jobs/{job_id}"
        if self.name == "poll":
            async with httpx2.AsyncClient(timeout=DEADLINE_SECONDS, trust_env=False, verify=False) as http:
                poll = _Poll(http, f"{job}/events", query, cursor or "")
                await poll.ask(wait=0)
                yield poll
            return
        accept = {"sse": "text/event-stream", "ndjson": "application/x-ndjson"}[self.name]
        url = f"{job}/status/stream" + (f"?{urlencode(query)}" if query else "")
        async with open_stream(url, last_event_id=cursor, headers={"Accept": accept}) as raw:
            yield (_Sse if self.name == "sse" else _Lines)(raw, cursor or "")

    async def read(
        self, base: str, job_id: str, cursor: str | None = None, **query: Any
    ) -> list[dict[str, Any]]:
        """Connect and read to the end."""
        async with self.open(base, job_id, cursor, **query) as reader:
            assert reader.status == 200
            return await rest(reader)


TRANSPORTS = [Transport(name) for name in ("sse", "ndjson", "poll")]
