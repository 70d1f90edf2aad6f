"""Opening a subscription: what its reader is sent first, whether Redis has the job, or the records, or nobody."""

from __future__ import annotations

import asyncio

from milepost.codec import Cursor
from milepost.errors import JobNotFound, StoreUnavailable
from milepost.ids import new_job_id
from milepost.job import WAITING
from milepost_api.hub.frames import Frame, gap
from milepost_api.hub.hub import Hub
from milepost_api.hub.memory import Recalled
from milepost_api.hub.subscription import Subscription, Wishes
from milepost_api.hub.topic import Beginning, Topic
from milepost_api.hub.views import followed, framed, from_record, from_view

FOLLOW_MOST = 16
"""To read so many events that were heard takes less than to ask Redis for what they have made of the job."""


class AlreadyEnded(Exception):
    """The reader's cursor has reached the end: there is nothing more to say, now or ever (204)."""


async def subscribe(
    hub: Hub, job_id: str, cursor_text: str | None, wishes: Wishes | None = None, *, tenant: str
) -> Subscription:
    """Return the reader's subscription, with what it must be sent first already decided.

    `cursor_text` is what the client sent as its last event id, whatever that is. Raises `AlreadyEnded` when
    it has the end, `JobNotFound` when neither Redis nor SQL has the job for this `tenant`, `StoreUnavailable`,
    `Crowded` when this process has as many streams as it may.
    """
    wishes = wishes or Wishes()
    if wishes.is_part:
        return await _subscribe(hub, job_id, cursor_text, wishes, tenant)
    seat = hub.seats.take()
    try:
        subscription = await _subscribe(hub, job_id, cursor_text, wishes, tenant)
    except BaseException:
        seat.leave()
        raise
    subscription.seat = seat
    return subscription


def subscribe_at_once(
    hub: Hub, job_id: str, cursor_text: str | None, wishes: Wishes, *, tenant: str
) -> Subscription | None:
    """Return what `subscribe` would, if all of it is in this process; None: ask `subscribe`, which asks others."""
    topic = hub.live(job_id)
    if topic is None or topic.tenant != tenant or hub.seats.full or hub.draining.is_set():
        return None
    cursor = Cursor.parse(cursor_text) if cursor_text else None
    if not cursor_text:
        held = _held(hub, topic, asyncio.get_running_loop().time())
        first = None if held is None else list(held.frames)
    elif cursor is None or (topic.done and cursor.seq == topic.last):
        return None
    else:
        first = _since(topic, cursor)
    if first is None:
        return None
    seat = hub.seats.take()
    hub.join(topic)
    subscription = _subscription(hub, topic, first, cursor, wishes)
    subscription.seat = seat
    return subscription


async def _subscribe(
    hub: Hub, job_id: str, cursor_text: str | None, wishes: Wishes, tenant: str
) -> Subscription:
    cursor = Cursor.parse(cursor_text) if cursor_text else None
    try:
        return await _in_log(hub, job_id, cursor_text, wishes, tenant)
    except JobNotFound:  # also of a job that is watched: Redis may have lost it this moment
        recalled = await hub.memory.recall(job_id, tenant)
        if recalled is None:
            raise
        if recalled.job.done:
            return _remembered(hub, recalled, cursor, cursor_text, wishes)
    try:
        # Recalling an accepted job that has not run brings it to Redis; one that was running takes a moment more.
        return await _in_log(hub, job_id, cursor_text, wishes, tenant)
    except JobNotFound:
        raise StoreUnavailable(
            "Redis has lost this job and it is being brought back; try again shortly."
        ) from None


async def _in_log(hub: Hub, job_id: str, text: str | None, wishes: Wishes, tenant: str) -> Subscription:
    """Return the subscription to a job that is in the log. Raises `JobNotFound` when it is not."""
    cursor = Cursor.parse(text) if text else None
    topic = await _watched(hub, job_id, tenant)
    try:
        first = await _opening(hub, topic, cursor, text)
    except BaseException:
        hub.leave(topic)
        raise
    return _subscription(hub, topic, first, cursor, wishes)


def _subscription(
    hub: Hub, topic: Topic, first: list[Frame], cursor: Cursor | None, wishes: Wishes
) -> Subscription:
    seq = first[-1].seq if first else (cursor.seq if cursor else 0)
    return Subscription(hub, topic, first, seq, wishes)


async def _watched(hub: Hub, job_id: str, tenant: str) -> Topic:
    """Watch the job. A topic is shared by all its readers, so each is looked at when it comes."""
    # Where somebody else's job is watched already, one that is not there is asked for: neither how soon the answer
    # comes, nor what it is while Redis is away, may tell.
    known = hub.owner(job_id) in (None, tenant)
    topic = await hub.watch(job_id if known else new_job_id())
    if topic.tenant == tenant:
        return topic
    hub.leave(topic)
    raise JobNotFound


async def _opening(hub: Hub, topic: Topic, cursor: Cursor | None, text: str | None) -> list[Frame]:
    reason = "invalid"
    if cursor is not None:
        if (since := _since(topic, cursor)) is not None:
            if topic.done and cursor.seq == topic.last:
                raise AlreadyEnded
            return since  # no read
        generation = topic.generation
        view = await hub.read(topic.job_id, cursor)
        if view.gap is None and view.cursor.epoch != topic.epoch:
            await hub.compare(topic)  # the history has branched, which the topic has not heard of yet
            generation = topic.generation
            view = await hub.read(topic.job_id, cursor)
        if view.gap is None and view.cursor.epoch == topic.epoch and topic.generation == generation:
            if view.job.done and cursor.seq == view.cursor.seq:
                raise AlreadyEnded
            return framed(view)
        reason = view.gap or topic.reason
    first = await _from_start(hub, topic)
    return [gap(topic.job_id, text, reason), *first] if text else first


def _since(topic: Topic, cursor: Cursor) -> list[Frame] | None:
    """Return what followed the cursor if the ring has all of it."""
    if cursor.epoch != topic.epoch or not topic.floor <= cursor.seq <= topic.last:
        return None
    return topic.after(cursor.seq) or []


async def _from_start(hub: Hub, topic: Topic) -> list[Frame]:
    """Return what a fresh reader gets first. All who come within a moment share it, and what follows is not read."""
    now = asyncio.get_running_loop().time()
    if (held := _held(hub, topic, now)) is not None:
        return list(held.frames)
    view, generation = await hub.view_in_step(topic), topic.generation
    first = await from_view(hub, view)  # which may read once more
    if topic.generation == generation:  # else it has begun anew meanwhile
        topic.beginning = Beginning(now, view.job, view.cursor, first)
    return list(first)


def _held(hub: Hub, topic: Topic, now: float) -> Beginning | None:
    """Return the topic's beginning as it is now, None if it has to be read."""
    held = topic.beginning
    if held is None or held.cursor.epoch != topic.epoch:
        return None
    if now - held.at >= hub.times.share or not hub.connected:
        return None
    if topic.last <= held.cursor.seq:
        return held
    since = topic.after(held.cursor.seq)
    if topic.done or since is None or len(since) > FOLLOW_MOST:
        return None
    held = followed(hub, held, since)
    if held.job.status in WAITING:
        return None  # where it stands in its queue was not heard
    topic.beginning = held
    return held


def _remembered(
    hub: Hub, recalled: Recalled, cursor: Cursor | None, text: str | None, wishes: Wishes
) -> Subscription:
    if cursor == recalled.cursor:
        raise AlreadyEnded
    first = from_record(hub, recalled)
    lost = [gap(recalled.job.id, text, "trimmed" if cursor else "invalid")] if text else []
    return Subscription(hub, None, [*lost, *first], first[-1].seq, wishes)
