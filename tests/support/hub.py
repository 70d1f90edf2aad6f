"""A hub in the test's own process, and readers of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any

from milepost_api.hub import Frame, Hub, Recalled, Subscription, Times, Wishes, open_hub
from milepost_api.hub import subscribe as subscribe_for
from redis.asyncio import Redis

from milepost.codec import dumps
from milepost.job import Job
from milepost.log import JobLog
from milepost.log.keys import events_key, state_key
from milepost.redis import connect_subscriber
from milepost.tenants import DEFAULT_TENANT
from tests.support.jobs import PlayedJob
from tests.support.wait import DEADLINE_SECONDS, eventually

PATIENT = Times(reconcile=3600, line=3600, linger=3600, share=0, answer=DEADLINE_SECONDS)
"""Nothing is found by looking again: what comes in time came by itself."""


class Records:
    """What SQL would say."""

    def __init__(self, *known: Recalled) -> None:
        self.known = {recalled.job.id: recalled for recalled in known}

    async def recall(self, job_id: str, tenant: str | None = None) -> Recalled | None:
        return self.known.get(job_id)


@asynccontextmanager
async def hub_on(
    url: str, joblog: JobLog, records: Records | None = None, times: Times = PATIENT
) -> AsyncIterator[Hub]:
    """Open a hub that listens at `url` and reads by `joblog`."""
    async with (
        connect_subscriber(url) as subscriber,
        open_hub(joblog, subscriber, records or Records(), Job.to_wire, times) as hub,
    ):
        await eventually(lambda: hub.connected, "the hub listens")
        yield hub


async def subscribe(
    hub: Hub, job_id: str, cursor: str | None = None, wishes: Wishes | None = None
) -> Subscription:
    """Open a stream of a job of the default tenant."""
    return await subscribe_for(hub, job_id, cursor, wishes, tenant=DEFAULT_TENANT)


async def all_frames(subscription: Subscription) -> list[Frame]:
    """Read a subscription to its end, which has to come."""
    frames: list[Frame] = []
    with closing(subscription):
        while not subscription.finished:
            frames += (new := await subscription.next(DEADLINE_SECONDS))
            assert new, f"nothing came for {DEADLINE_SECONDS:g} s after {kinds(frames)[-9:]}"
    return frames


async def frames_of(
    hub: Hub, job_id: str, cursor: str | None = None, wishes: Wishes | None = None
) -> list[Frame]:
    """Open a stream and read it to its end."""
    return await all_frames(await subscribe(hub, job_id, cursor, wishes))


async def next_frames(subscription: Subscription) -> list[Frame]:
    """Return one delivery, which has to come."""
    frames = await subscription.next(DEADLINE_SECONDS)
    assert frames, f"nothing came for {DEADLINE_SECONDS:g} s"
    return frames


def kinds(frames: Sequence[Frame]) -> list[str]:
    return [frame.kind for frame in frames]


def seqs(frames: Sequence[Frame]) -> list[int]:
    return [frame.seq for frame in frames]


def value(frame: Frame) -> Any:
    return json.loads(frame.data)


def assert_whole(frames: Sequence[Frame]) -> None:
    """A fresh stream: the snapshot, then every later event once and in order, then the end."""
    assert frames[0].kind == "snapshot"
    assert frames[-1].is_end
    assert kinds(frames).count("end") == 1
    assert seqs(frames) == list(range(frames[0].seq, frames[-1].seq + 1))


async def happen_unheard(redis: Redis, job: PlayedJob, seq: int, kind: str, **state: str) -> None:
    """Do what the script does without its last step: append an event that is not published."""
    epoch = (await JobLog(redis).read(job.id)).cursor.epoch
    event = {"type": kind, "job_id": job.id, "seq": seq, "cursor": f"{epoch}-{seq}", **state}
    async with redis.pipeline() as pipe:
        pipe.hset(state_key(job.id), mapping={"seq": seq, **state})
        pipe.xadd(events_key(job.id), {"t": kind, "e": dumps(event)}, id=f"{seq}-0")
        await pipe.execute()
