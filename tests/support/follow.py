"""What an EventSource does: follow a job, come back with the last id, stop at the end."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.sse import open_stream


async def follow(
    urls: list[str], job_id: str, *, cursor: str | None = None, deadline: float = 40
) -> list[dict[str, Any]]:
    """Return the events of a job from `cursor` on, from one server after the other, down to the end.

    What is said of the connection is among them as `reconnect`, with `frames`: what came on that connection.
    """
    events: list[dict[str, Any]] = []
    connections = 0
    async with asyncio.timeout(deadline):
        while True:
            url = urls[connections % len(urls)] + f"/v1/jobs/{job_id}/status/stream"
            connections += 1
            frames = 0
            try:
                async with open_stream(url, last_event_id=cursor, deadline=deadline) as stream:
                    async for event in stream.events():
                        frames += 1
                        cursor = event.get("cursor", cursor)
                        if event["type"] == "reconnect":
                            events.append(event | {"frames": frames})
                        elif event["type"] not in ("ping", "waiting"):
                            events.append(event)
                        if event["type"] == "end":
                            return events
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.1)


def of_the_job(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the events without what was said of connections."""
    return [event for event in events if event["type"] != "reconnect"]


def assert_one_history(events: list[dict[str, Any]], *, epochs: int = 1) -> None:
    """A snapshot and everything after it, once and in order, with one end; so many times Redis was a new one."""
    assert [event["type"] for event in events].count("snapshot") == 1
    assert events[0]["type"] == "snapshot"
    seqs = [event["seq"] for event in events]
    assert seqs == list(range(seqs[0], seqs[-1] + 1))
    assert [event["type"] for event in events].count("end") == 1
    assert len({event["cursor"].split("-")[0] for event in events}) == epochs
