"""Streams that were open for long enough are asked to come back, each at its own moment, and lose nothing."""

from __future__ import annotations

import asyncio
import math
from contextlib import closing
from dataclasses import replace

import pytest
from milepost_api.hub import Crowded, Frame, Hub, Wishes

from milepost.background import end
from milepost.codec import Cursor
from milepost.errors import JobNotFound
from milepost.ids import new_job_id
from milepost.log import JobLog
from tests.support.hub import PATIENT, all_frames, hub_on, kinds, next_frames, subscribe, value
from tests.support.jobs import PlayedJob
from tests.support.redis import RedisServer

BRIEF = replace(PATIENT, rotate=0.4)


def retry_ms(frame: Frame) -> int:
    assert frame.sse.startswith(b"retry: %d\n" % value(frame)["retry_ms"])
    return int(value(frame)["retry_ms"])


async def test_a_stream_is_rotated_and_goes_on_where_it_was(
    redis_server: RedisServer, joblog: JobLog
) -> None:
    """Again and again, while its job reports: each event once, each connection ended by a goodbye but the last."""
    async with hub_on(redis_server.url, joblog, times=BRIEF) as hub:
        job = await PlayedJob.running(joblog)

        async def play() -> None:
            for i in range(150):
                await job.log(str(i))
                await asyncio.sleep(0.01)
            await job.end()

        playing = asyncio.create_task(play())
        epoch = (await joblog.read(job.id)).cursor.epoch
        seen: list[int] = []
        goodbyes: list[Frame] = []
        frames: list[Frame] = []
        while not frames or not frames[-1].is_end:
            cursor = str(Cursor(epoch, seen[-1] if seen else 0))
            frames = await all_frames(await subscribe(hub, job.id, cursor))
            seen += [frame.seq for frame in frames if frame.seq]
            goodbyes += [frame for frame in frames if not frame.seq]
        await playing
        assert seen == list(range(1, 154))
        assert len(goodbyes) >= 2
        assert {value(frame)["reason"] for frame in goodbyes} == {"rotation"}
        assert all(100 <= retry_ms(frame) <= 1000 for frame in goodbyes)


async def test_streams_are_rotated_each_at_its_own_moment(redis_server: RedisServer, joblog: JobLog) -> None:
    """Between half of the time and all of it; silence does not hold it back, nor does a wish for few deliveries."""
    async with hub_on(redis_server.url, joblog, times=BRIEF) as hub:
        job = await PlayedJob.running(joblog)
        clock = asyncio.get_running_loop().time
        wishes = Wishes(min_interval_seconds=3600)
        opened = [await subscribe(hub, job.id, None, wishes) for _ in range(50)]
        left = [one.rotates_at - clock() for one in opened]
        assert max(left) - min(left) > 0.1
        assert all(left_seconds <= 0.4 for left_seconds in left)
        for frames in await asyncio.gather(*map(all_frames, opened)):
            assert kinds(frames) == ["snapshot", "reconnect"]


async def test_what_has_ended_is_not_rotated(redis_server: RedisServer, joblog: JobLog) -> None:
    """A reader that comes late for the end gets it, however long its stream was open; and 0 rotates nothing."""
    async with hub_on(redis_server.url, joblog, times=BRIEF) as hub:
        job = await PlayedJob.running(joblog)
        late = await subscribe(hub, job.id)
        await next_frames(late)
        await job.end()
        await next_frames_of_another(hub, job)
        late.rotates_at = 0.0
        assert kinds(await all_frames(late)) == ["end"]
    async with hub_on(redis_server.url, joblog, times=PATIENT) as hub:
        assert hub.rotation() == math.inf


async def next_frames_of_another(hub: Hub, job: PlayedJob) -> None:
    """Return when the hub has heard the end."""
    assert (await all_frames(await subscribe(hub, job.id)))[-1].is_end


async def test_a_seat_is_given_back_however_a_stream_is_left(
    redis_server: RedisServer, joblog: JobLog
) -> None:
    """Closed twice, cancelled while it opens, of a job that is not there: none is lost, and none is made."""
    async with hub_on(redis_server.url, joblog) as hub:
        hub.seats.limit = 2
        job = await PlayedJob.running(joblog)
        first, second = await subscribe(hub, job.id), await subscribe(hub, job.id)
        with pytest.raises(Crowded):
            await subscribe(hub, job.id)
        first.close()
        first.close()
        assert hub.seats.taken == 1
        with pytest.raises(JobNotFound):
            await subscribe(hub, new_job_id())
        opening = asyncio.create_task(subscribe(hub, (await PlayedJob.running(joblog)).id))
        await asyncio.sleep(0)
        assert hub.seats.full
        await end(opening)
        assert hub.seats.taken == 1
        with closing(second):
            pass
        assert hub.seats.taken == 0
