"""Asking for a bookmark while its process writes it down, has none, or is not there."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from milepost.log import Bookmark, Bookmarks, bookmarks_channel
from tests.support.wait import DEADLINE_SECONDS

pytestmark = pytest.mark.anyio

PROCESS = "0123456789ab"
NAME = f"{PROCESS}1"
KEPT = Bookmark("default", "named", 2, {"a": "e-2"}, {}, {}, [("a", ""), ("a", "e-1")])


async def test_one_that_is_written_just_before_its_process_is_asked_is_found(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first look its process writes all it knew and listens no more: that nobody hears is no answer."""
    bookmarks, publish = Bookmarks(redis), redis.publish

    async def too_late(channel: str, name: str) -> object:
        await bookmarks.save({NAME: KEPT})
        return await publish(channel, name)

    monkeypatch.setattr(redis, "publish", too_late)
    assert await bookmarks.fetch(PROCESS, NAME) == KEPT


@pytest.mark.parametrize("known", [True, False])
async def test_a_process_that_listens_is_asked(redis: Redis, known: bool) -> None:
    """It writes the bookmark, or that it has none: both are found."""
    bookmarks = Bookmarks(redis)
    async with redis.pubsub() as listener:
        await listener.subscribe(bookmarks_channel(PROCESS))
        assert await listener.get_message(timeout=DEADLINE_SECONDS)
        asked = asyncio.create_task(bookmarks.fetch(PROCESS, NAME))
        question = await listener.get_message(timeout=DEADLINE_SECONDS)
        assert question["data"] == NAME.encode()
        await (bookmarks.save({NAME: KEPT}) if known else bookmarks.deny([NAME]))
        assert await asked == (KEPT if known else None)


async def test_of_a_dead_process_there_is_none(redis: Redis) -> None:
    """Nobody hears the question, and nothing was written."""
    assert await Bookmarks(redis).fetch(PROCESS, NAME) is None


async def test_a_denial_never_replaces_a_bookmark(redis: Redis) -> None:
    """Who was asked may hear of it only after it has written the bookmark and forgotten the stream."""
    bookmarks = Bookmarks(redis)
    await bookmarks.save({NAME: KEPT})
    await bookmarks.deny([NAME])
    assert await bookmarks.fetch(PROCESS, NAME) == KEPT
