"""What the hub reads of the job log: each thing once, and what is wanted at the same time in one round trip."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from redis.exceptions import RedisError

from milepost.codec import Cursor
from milepost.errors import JobNotFound, StoreUnavailable
from milepost.job import Job
from milepost.log import JobLog, View
from milepost.redis import UNREACHABLE
from milepost_api.hub.line import Explain

PAGE_BYTES = 65_536
"""Read at once for a reader that is behind: hundreds of them that stall must not hold a megabyte each."""

AT_ONCE = 20
"""Jobs read in one round trip."""

Wanted = tuple[str, Cursor | None]


class Reads:
    """A thousand streams that ask the same at once cost one read; a thousand that ask for others, one connection.

    Nothing is read by the task of a stream, which may be cancelled in the middle of a reply.
    """

    def __init__(
        self,
        joblog: JobLog,
        explain: Explain,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        *,
        answer_seconds: float,
    ) -> None:
        self._joblog, self._explain, self._spawn, self._answer = joblog, explain, spawn, answer_seconds
        self._wanted: dict[Wanted, asyncio.Future[View]] = {}
        """Asked for, and not sent yet, in the order of asking."""
        self._reading = False

    async def read(self, job_id: str, after: Cursor | None = None) -> View:
        """Return the job and what followed `after`, as of now. Raises `JobNotFound`, `StoreUnavailable`."""
        wanted = self._wanted.get((job_id, after))
        if wanted is None:
            wanted = self._wanted[(job_id, after)] = asyncio.get_running_loop().create_future()
            if not self._reading:
                self._reading = True
                self._spawn(self._read_all())
        return await asyncio.shield(wanted)

    async def explained(self, view: View) -> View:
        """Return what was read elsewhere, its job with what it waits for. Raises `StoreUnavailable`."""
        try:
            async with asyncio.timeout(self._answer):
                [job] = await self._explain([view.job])
        except (RedisError, *UNREACHABLE) as error:
            raise _away(error) from error
        return _with(view, job)

    async def _read_all(self) -> None:
        try:
            while self._wanted:
                # Whoever asks from here on may mean something that the answer does not hold: that is another read.
                await self._answer_to({key: self._wanted.pop(key) for key in list(self._wanted)[:AT_ONCE]})
        finally:
            self._reading = False
            _drop(self._wanted)  # this process is leaving

    async def _answer_to(self, asked: dict[Wanted, asyncio.Future[View]]) -> None:
        try:
            async with asyncio.timeout(self._answer):
                views = await self._read_some(list(asked))
        except UNREACHABLE as error:  # the timeout is among them
            # Who waits behind these would wait as long for the same answer, and those behind them still longer.
            _fail({**asked, **self._wanted}, _away(error))
            self._wanted.clear()
        except Exception as error:  # noqa: BLE001 - told to who asked, whatever it is, and to nobody else
            if len(asked) == 1:
                _fail(asked, _away(error) if isinstance(error, RedisError) else error)
                return
            for key, answer in asked.items():
                await self._answer_to({key: answer})
        except BaseException:
            _drop(asked)
            raise
        else:
            for answer, view in zip(asked.values(), views, strict=True):
                if view is None:
                    _set(answer, JobNotFound())
                else:
                    answer.set_result(view)

    async def _read_some(self, asked: Sequence[Wanted]) -> list[View | None]:
        views = await self._joblog.read_all(asked, most_bytes=PAGE_BYTES)
        there = [view for view in views if view is not None]
        jobs = iter(await self._explain([view.job for view in there]))
        return [view and _with(view, next(jobs)) for view in views]


def _with(view: View, job: Job) -> View:
    return view if job is view.job else replace(view, job=job)


def _fail(asked: dict[Wanted, asyncio.Future[View]], error: Exception) -> None:
    for answer in asked.values():
        _set(answer, error)


def _set(answer: asyncio.Future[View], error: Exception) -> None:
    answer.set_exception(error)
    answer.exception()  # whoever asked may have gone meanwhile: that is no exception that nobody has seen


def _away(error: Exception) -> StoreUnavailable:
    away = StoreUnavailable("Redis cannot be reached at the moment; try again shortly.")
    away.__cause__ = error
    return away


def _drop(asked: dict[Wanted, asyncio.Future[View]]) -> None:
    for answer in asked.values():
        answer.cancel()
    asked.clear()
