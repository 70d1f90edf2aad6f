"""Readers that are slow, or gone without a word: what they cost, and for how long."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

import pytest
from milepost_api.hub.topic import RING_BYTES
from milepost_api.listening import SEND_BUFFER_BYTES
from milepost_api.settings import ApiSettings

from tests.support.alone import Alone, alone, said
from tests.support.network import Wire
from tests.support.sse import RawStream, open_stream
from tests.support.wait import eventually

SLOW, FAST = 500, 5
AHEAD = 100
"""So many events the job may be ahead of those who read."""
IDLE_STREAM_BYTES = 100_000
BOUND_BYTES = IDLE_STREAM_BYTES + 2 * SEND_BUFFER_BYTES + 2 * RING_BYTES
"""What one reader that never reads may cost: a stream, what the kernel holds, a piece of its body, and the piece as

asyncio keeps what the kernel did not take.
"""


def spoken_to(reader: socket.socket) -> bool:
    return bool(reader.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))


async def test_500_readers_that_never_read_are_cut_and_cost_bounded_memory(lone: Alone) -> None:
    """Of process and kernel together; those who read lose no event meanwhile, and the rest is given back."""
    job = await lone.job()
    with ExitStack() as closing:
        async with asyncio.TaskGroup() as reading:
            fast: list[list[str]] = [[] for _ in range(FAST)]
            for heard in fast:
                reading.create_task(_read(lone.url(job), heard))
            await eventually(lambda: len(lone.connections()) >= FAST, "those who read are there")
            before, most, sent = lone.resident_bytes(), 0, 0
            slow = [closing.enter_context(lone.reader(job)) for _ in range(SLOW)]
            await eventually(lambda: all(map(spoken_to, slow)), "all are there", ignoring=(BlockingIOError,))

            def keep_up() -> bool:
                return sent - min(map(len, fast)) < AHEAD

            while said(lone.process, "stream.cut") < SLOW:
                await job.log(f"{sent}:" + "x" * 16_000)
                sent += 1
                assert sent < 3000, "some that never read are still there"
                # No faster than this machine delivers it: the count above is one of what was written to them, too.
                await eventually(keep_up, "those who read keep up")
                if sent % 5 == 0:
                    held = sum(one.held_bytes for one in lone.connections())
                    most = max(most, lone.resident_bytes() - before + held)
            await job.end()
    print(
        f"{SLOW} readers that never read cost {most / SLOW / 1000:.0f} kB each (bound {BOUND_BYTES / 1000:.0f})"
    )
    assert 2 * SEND_BUFFER_BYTES / 4 < most / SLOW <= BOUND_BYTES  # less would mean that nothing was written
    for heard in fast:
        assert heard == [str(number) for number in range(sent)]
    await eventually(lambda: not lone.connections(), "the kernel holds nothing for those that were cut")


async def _read(url: str, heard: list[str]) -> None:
    async with open_stream(url) as stream:
        async for event in stream.events():
            if event["type"] == "log":
                heard.append(event["message"].partition(":")[0])  # noqa: PERF401 - it is looked at meanwhile
    assert stream.ended_clean


async def test_a_reader_whose_network_is_gone_is_let_go(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No FIN, no RST, no answer: TCP alone would write pings into its buffer for a quarter of an hour."""
    with Wire() as wire:
        settings = {
            "MILEPOST_HOST": wire.near,
            "MILEPOST_API_KEYS": "a-key-of-the-test",
            "MILEPOST_PING_SECONDS": "1",
            "MILEPOST_LOST_READER_SECONDS": "2",
        }
        async with alone(tmp_path_factory.mktemp("wire"), settings) as there:
            job = await there.job()
            url = there.url(job)
            async with open_stream(url, headers={"Authorization": "Bearer a-key-of-the-test"}) as near:
                await near.until("snapshot")
                before = there.files()
                with wire.socket() as far:
                    far.connect((wire.near, there.port))
                    far.sendall(there.request(job, "Authorization: Bearer a-key-of-the-test\r\n"))
                    await eventually(lambda: spoken_to(far), "it is there", ignoring=(BlockingIOError,))
                    assert there.files() == before + 1
                    wire.cut()
                    await eventually(lambda: there.files() == before, "its connection is closed")
                    assert wire.far not in {one.peer.rpartition(":")[0] for one in there.connections()}
                await _still_served(near)


async def _still_served(stream: RawStream) -> None:
    assert [event["type"] for event in await stream.until("ping")]


def test_by_default_a_reader_that_vanished_is_gone_within_a_minute() -> None:
    """A ping is written, and is not acknowledged for so long."""
    defaults = ApiSettings()
    assert defaults.ping_seconds + defaults.lost_reader_seconds < 60
