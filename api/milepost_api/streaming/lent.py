"""A stream that has borrowed its connection: no task of its own while it is level with its job."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Protocol

import structlog

from milepost import times
from milepost_api.hub import Frame, Subscription, ping
from milepost_api.protocol import Loan, framed
from milepost_api.streaming.lanes import Lane, Lanes, encoded

if TYPE_CHECKING:
    from collections.abc import Sequence

log = structlog.get_logger("milepost.stream")


class Source(Protocol):
    """Where the events of a stream come from: a job, or a selection of them."""

    finished: bool

    async def next(self, timeout_seconds: float) -> Sequence[Frame]:
        """Return what is new, at least one frame; nothing after so much silence, or when it is finished."""

    def close(self) -> None:
        """Give back what it holds. Idempotent."""


class LentStream:
    """Rides in a lane, or catches up with it in a task: then it waits for its reader, who may be slow."""

    __slots__ = ("_lane", "_lanes", "_source", "_stalled_seconds", "_task", "loan", "ndjson")

    def __init__(
        self, lanes: Lanes, loan: Loan, source: Source, *, ndjson: bool, stalled_seconds: float
    ) -> None:
        self._lanes, self.loan, self._source, self.ndjson = lanes, loan, source, ndjson
        self._stalled_seconds = stalled_seconds
        self._lane: Lane | None = None
        self._task: asyncio.Task[None] | None = None
        loan.on_lost = self._lost

    @property
    def subscription(self) -> Subscription:
        assert isinstance(self._source, Subscription)
        return self._source

    def begin(self) -> None:
        """Go on with a connection to which the head of the answer was written."""
        if isinstance(self._source, Subscription) and self._source.leaves_at < math.inf:
            self._lanes.wheel.at(self._source.leaves_at, self)
        if self.loan.is_lost:
            self._close()
        elif not self._joined():
            self.go_on_alone()

    def go_on_alone(self) -> None:
        """Leave the lane: there is more to say to this reader than to the others, or it has not read all of it."""
        self._lane = None
        if self._source.finished and not self.loan.is_clogged:
            self._finish()
        elif self._task is None:
            self._task = self._lanes.spawn(self._catch_up())

    def turned(self, now: float) -> None:
        """The reader is to come back to another connection; in its own task it finds out by itself."""
        if self._lane is not None:
            self._lane.part_with(self)

    def _joined(self) -> bool:
        if isinstance(self._source, Subscription) and not self.loan.is_clogged:
            self._lane = self._lanes.join(self)
        return self._lane is not None

    async def _catch_up(self) -> None:
        try:
            await self._drained()
            while not self._source.finished and not self.loan.is_lost:
                if self._joined():
                    return
                frames = await self._source.next(self._lanes.ping_seconds)
                if not frames and not self._source.finished:
                    frames = (ping(times.now()),)
                if chunk := encoded(frames, ndjson=self.ndjson):  # an empty one would be the end of the body
                    self.loan.write(framed(chunk))
                await self._drained()
            self._finish()
        except TimeoutError:
            log.info("stream.cut", reason=f"nothing was read for {self._stalled_seconds:g} s")
            self._abort()
        except Exception:
            log.exception("stream.bug")
            self._abort()
        finally:
            self._task = None

    async def _drained(self) -> None:
        """Wait for the reader, as long as it reads. Raises `TimeoutError` when it does not."""
        while self.loan.is_clogged:
            unsent = self.loan.unsent_bytes
            try:
                async with asyncio.timeout(self._stalled_seconds):
                    await self.loan.drained()
            except TimeoutError:
                if self.loan.unsent_bytes >= unsent:
                    raise

    def _lost(self) -> None:
        """The reader has gone."""
        if self._lane is not None:
            self._lane.remove(self)
        if self._task is not None:
            self._task.cancel()
        self._close()

    def _finish(self) -> None:
        self._close()
        self.loan.finish()

    def _abort(self) -> None:
        self._close()
        self.loan.abort()

    def _close(self) -> None:
        self._lane = None
        if isinstance(self._source, Subscription):
            self._lanes.wheel.forget(self._source.leaves_at, self)
        self._source.close()
