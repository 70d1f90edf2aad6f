"""What was read of a job, as a reader gets it: events, or a snapshot and the end if it has come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from milepost import times
from milepost.codec import Cursor
from milepost.events import Event, end_of, from_wire
from milepost.fold import fold
from milepost.job import Job
from milepost.log import View
from milepost_api.hub.frames import Frame, durable, ended, snapshot_of
from milepost_api.hub.hub import Hub
from milepost_api.hub.memory import Recalled
from milepost_api.hub.topic import Beginning


def framed(view: View) -> list[Frame]:
    return [durable(entry.cursor, entry.kind, entry.data) for entry in view.entries]


async def from_view(hub: Hub, view: View) -> list[Frame]:
    """Return a snapshot, and the end if it has come."""
    frames = [hub.snapshot(view)]
    if view.job.done:
        last = await hub.read(view.job.id, Cursor(view.cursor.epoch, view.cursor.seq - 1))
        frames += [frame for frame in framed(last) if frame.is_end] or [_end(view.job, view.cursor, view.at)]
    return frames


def followed(hub: Hub, held: Beginning, since: Sequence[Frame]) -> Beginning:
    """Return the beginning after these frames, which followed it and did not end the job: as a read would find it."""
    job, cursor, at = held.job, Cursor(held.cursor.epoch, since[-1].seq), ""
    for frame in since:
        wire = json.loads(frame.data)
        event, at, attempt = from_wire(wire), wire["at"], job.attempt
        job = fold(job, event) if isinstance(event, Event) else job
        if job.attempt > attempt:
            job = replace(job, heartbeat_at=at)  # its first; no event tells of those that follow
    return Beginning(held.at, job, cursor, [snapshot_of(job, cursor, at, hub.present)])


def from_record(hub: Hub, recalled: Recalled) -> list[Frame]:
    """Return snapshot and end of a finished job that only SQL remembers."""
    job, cursor = recalled.job, recalled.cursor
    at = job.finished_at or job.created_at or times.now()
    before = Cursor(cursor.epoch, max(0, cursor.seq - 1))
    return [snapshot_of(job, before, at, hub.present), _end(job, cursor, at)]


def _end(job: Job, cursor: Cursor, at: str) -> Frame:
    """Frame the end of a job whose history is gone."""
    end = end_of(job, seq=cursor.seq, cursor=str(cursor), at=at)
    return ended(cursor, end)
