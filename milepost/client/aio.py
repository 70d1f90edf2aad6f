"""The client for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx2

from milepost.client import calls
from milepost.client.address import Address
from milepost.client.answers import BulkOutcome, EventPage, JobCounts, JobPage, StreamToken, TaskEntry
from milepost.client.backoff import Backoff
from milepost.client.calls import Bulk, Call, ListFilter, SubmitOptions
from milepost.client.errors import ClientError, refusal
from milepost.client.follower import Connection, Follower, Jobs, ManyFollower, closed, folded
from milepost.client.transport import FAILURES, SILENCE_SECONDS, Tries, options, stream_timeout, unreachable
from milepost.events import AnyEvent
from milepost.ids import new_job_id
from milepost.job import Job, Json

T = TypeVar("T")
Tell = Callable[[Connection], None]


class AsyncClient:
    """A client of one Milepost server, for use with `async with`; safe to share between tasks.

    `url` and `api_key` default to MILEPOST_URL and MILEPOST_API_KEY. Plain calls are tried three times;
    every method raises a `milepost.client.ClientError` when the server refuses or cannot be reached.
    `timeout_seconds` limits a call, `silence_seconds` how long a stream may say nothing before it is
    taken for dead. `sleep` and `backoff` are there for tests.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_seconds: float = 30.0,
        silence_seconds: float = SILENCE_SECONDS,
        backoff: Callable[[], Backoff] = Backoff,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.address = Address.find(url, api_key)
        self._http = httpx2.AsyncClient(**options(self.address, timeout_seconds))
        self._stream_timeout = stream_timeout(timeout_seconds, silence_seconds)
        self._backoff, self._sleep = backoff, sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. Jobs go on."""
        await self._http.aclose()

    async def submit(
        self,
        task: str,
        params: Mapping[str, Json] | None = None,
        *,
        idempotency_key: str | None = None,
        job_id: str | None = None,
        **how: Unpack[SubmitOptions],
    ) -> Job:
        """Submit a job and return it as accepted.

        With your own `idempotency_key`, or with a `job_id` (1 to 64 of letters, digits, `_` and `-`), even another
        process may repeat it and gets the same job. Raises `Conflict` when another job has that id, and `Invalid` for
        params that do not fit the task, and for a task that no worker has ever offered unless `allow_unknown_task` is
        true: then the job waits for one that does.
        """
        return await self._send(calls.submit(task, params or {}, how, idempotency_key, job_id))

    async def get(self, job_id: str) -> Job:
        """Return the job as it is now. Raises `JobNotFound`."""
        return await self._send(calls.get(job_id))

    async def list(
        self,
        *,
        oldest_first: bool = False,
        limit: int = 50,
        cursor: str | None = None,
        **wanted: Unpack[ListFilter],
    ) -> JobPage:
        """Return one page of jobs, newest first; `cursor` is the `next_cursor` of the page before.

        Raises `Invalid` for a filter that makes no sense.
        """
        return await self._send(calls.jobs(wanted, oldest_first=oldest_first, limit=limit, cursor=cursor))

    async def counts(self, **wanted: Unpack[ListFilter]) -> JobCounts:
        """Return how many jobs there are of each status, counted to 10,000; the filters are those of `list`."""
        return await self._send(calls.counts(wanted))

    async def cancel(self, job_id: str) -> str:
        """Ask a job to stop; returns `cancelled`, `requested` or `already_done`. Raises `JobNotFound`."""
        return await self._send(calls.cancel(job_id))

    async def retry(
        self, job_id: str, *, idempotency_key: str | None = None, allow_unknown_task: bool = False
    ) -> Job:
        """Do a finished job again and return the new job, whose `retry_of` is this id.

        Raises `JobNotFound`, `Conflict` when the job has not ended, and what `submit` raises.
        """
        return await self._send(calls.retry(job_id, idempotency_key, allow_unknown_task=allow_unknown_task))

    async def delete(self, job_id: str) -> None:
        """Forget a finished job, its history and its result. Raises `JobNotFound`, `Conflict` when it has not ended.

        `JobNotFound` may mean, too, that the answer to the first try of this very call was lost.
        """
        await self._send(calls.delete(job_id))

    async def cancel_all(
        self, *, every: bool = False, dry_run: bool = False, **wanted: Unpack[ListFilter]
    ) -> BulkOutcome:
        """Cancel all jobs that a filter finds and that have not ended; the filters are those of `list`.

        Without a filter say `every=True`. `dry_run` says how many there are, and changes nothing.
        """
        return await self._bulk("cancel", wanted, every, dry_run)

    async def retry_all(
        self,
        *,
        every: bool = False,
        dry_run: bool = False,
        idempotency_key: str | None = None,
        **wanted: Unpack[ListFilter],
    ) -> BulkOutcome:
        """Do all jobs again that a filter finds and that did not succeed; those that did, too, if `status` says so.

        With the same `idempotency_key` no job is done again twice. Otherwise as `cancel_all`.
        """
        return await self._bulk("retry", wanted, every, dry_run, idempotency_key)

    async def delete_all(
        self, *, every: bool = False, dry_run: bool = False, **wanted: Unpack[ListFilter]
    ) -> BulkOutcome:
        """Forget all jobs that a filter finds and that have ended. Otherwise as `cancel_all`."""
        return await self._bulk("delete", wanted, every, dry_run)

    async def result(self, job_id: str) -> Json:
        """Return what the task returned. Raises `Conflict` (not ready, or ended without) and `Gone`."""
        return await self._send(calls.result(job_id))

    async def tasks(self) -> tuple[TaskEntry, ...]:
        """Return the tasks that can be submitted."""
        return await self._send(calls.tasks())

    async def events(self, job_id: str, *, after: str | None = None, limit: int = 100) -> EventPage:
        """Return a page of the job's history, from its beginning or after a cursor."""
        return await self._send(calls.events(job_id, after, limit))

    async def stream_token(
        self,
        jobs: Sequence[str] = (),
        *,
        tag: str | None = None,
        batch: str | None = None,
        every: bool = False,
        ttl_seconds: int | None = None,
    ) -> StreamToken:
        """Return a token for a browser: it reads some jobs, for some time (15 minutes by default), and does no more.

        Name what it reads: up to 100 `jobs` by their ids, all with a `tag`, all of a `batch`, or `every` job. A client
        takes it in the place of an API key. Raises `Invalid`.
        """
        return await self._send(calls.stream_token(jobs, tag, batch, every=every, ttl_seconds=ttl_seconds))

    async def watch(
        self, job_id: str, *, on_connection: Tell | None = None, give_up_seconds: float | None = None
    ) -> AsyncGenerator[Job, None]:
        """Yield the job as it is, then anew after every event, up to its end.

        Connections that are lost are made again: nothing is missed, nothing seen twice. `on_connection` is
        told of each loss and return. Nothing heard for `give_up_seconds` (None: wait for ever) raises what
        was the matter; what waiting cannot mend (no such job, no key) is raised at once.
        """
        job, follower = None, self._follower(job_id, None, give_up_seconds)
        async with aclosing(self._follow(follower, on_connection)) as events:
            async for event in events:
                job = folded(job, event)
                if job is not None:
                    yield job

    async def follow(
        self,
        job_id: str,
        *,
        after: str | None = None,
        on_connection: Tell | None = None,
        give_up_seconds: float | None = None,
    ) -> AsyncGenerator[AnyEvent, None]:
        """Yield the events of a job up to its `end`; from a snapshot on, or after a cursor.

        A job whose end is at or before `after` yields one snapshot. Otherwise as `watch`.
        """
        follower = self._follower(job_id, after, give_up_seconds)
        async with aclosing(self._follow(follower, on_connection)) as events:
            async for event in events:
                yield event

    async def watch_many(
        self,
        job_ids: Iterable[str] | None = None,
        *,
        tag: str | None = None,
        batch: str | None = None,
        on_connection: Tell | None = None,
        give_up_seconds: float | None = None,
    ) -> AsyncGenerator[Job, None]:
        """Yield each of these jobs as it is, then whichever has changed, until all have ended: over one connection.

        Up to 500 jobs by their ids, or those of a tag or a batch, also those that come to be of it later; without any
        of these all jobs there are, for ever. A job that is not there is passed over; `follow_many` says so. Otherwise
        as `watch`.
        """
        jobs = Jobs()
        following = self.follow_many(
            job_ids, tag=tag, batch=batch, on_connection=on_connection, give_up_seconds=give_up_seconds
        )
        async with aclosing(following) as events:
            async for event in events:
                job = jobs.after(event)
                if job is not None:
                    yield job

    async def follow_many(
        self,
        job_ids: Iterable[str] | None = None,
        *,
        tag: str | None = None,
        batch: str | None = None,
        on_connection: Tell | None = None,
        give_up_seconds: float | None = None,
    ) -> AsyncGenerator[AnyEvent, None]:
        """Yield the events of many jobs: `Selection`, a `Snapshot` of each, what happens, `JobEnded`, `AllEnded`.

        Otherwise as `watch_many`.
        """
        follower = ManyFollower(
            job_ids,
            tag,
            batch,
            backoff=self._backoff(),
            clock=time.monotonic,
            give_up_seconds=give_up_seconds,
        )
        async with aclosing(self._follow(follower, on_connection)) as events:
            async for event in events:
                yield event

    async def wait(self, job_id: str, *, give_up_seconds: float | None = None) -> Job:
        """Wait for the end of a job and return it, whatever its outcome."""
        last = None
        async with aclosing(self.watch(job_id, give_up_seconds=give_up_seconds)) as states:
            async for job in states:
                last = job
        return last or await self.get(job_id)

    def _follower(self, job_id: str, after: str | None, give_up_seconds: float | None) -> Follower:
        return Follower(
            job_id, after, backoff=self._backoff(), clock=time.monotonic, give_up_seconds=give_up_seconds
        )

    async def _follow(self, follower: Follower, tell: Tell | None) -> AsyncGenerator[AnyEvent, None]:
        while not follower.ended:
            try:
                async with aclosing(self._connection(follower, tell)) as events:
                    async for event in events:
                        yield event
                error: ClientError = closed()
            except FAILURES as failure:
                error = unreachable(failure, self.address)
            except ClientError as refused:
                error = refused
            if not follower.ended:
                seconds = follower.lost(error)
                if tell:
                    tell(Connection(error, seconds))
                await self._sleep(seconds)

    async def _connection(self, follower: Follower, tell: Tell | None) -> AsyncGenerator[AnyEvent, None]:
        """Yield what one connection brings."""
        request = self._http.build_request(
            "GET", follower.path, headers=follower.headers(), timeout=self._stream_timeout
        )
        response = await self._http.send(request, stream=True)
        async with aclosing(response):
            if response.status_code == 204:
                if follower.job_id is not None:
                    yield follower.already_ended(await self.get(follower.job_id))
                follower.ended = True
                return
            if response.status_code != 200:
                raise refusal(response.status_code, response.headers, await response.aread())
            follower.opened(response.headers.get("content-type", ""))
            if tell:
                tell(Connection())
            async for chunk in response.aiter_bytes():
                for event in follower.feed(chunk):
                    yield event
                if follower.ended:
                    return

    async def _bulk(
        self, what: Bulk, wanted: ListFilter, every: bool, dry_run: bool, key: str | None = None
    ) -> BulkOutcome:
        key, done, cursor = key or new_job_id(), BulkOutcome(), None
        while True:
            call = calls.bulk(what, wanted, every=every, dry_run=dry_run, key=key, cursor=cursor)
            done += await self._send(call)
            if (cursor := done.next_cursor) is None:
                return done

    async def _send(self, call: Call[T]) -> T:
        tries = Tries(self._backoff())
        while True:
            try:
                return await self._try(call)
            except FAILURES as failure:
                seconds = tries.after(unreachable(failure, self.address))
            except ClientError as error:
                seconds = tries.after(error)
            await self._sleep(seconds)

    async def _try(self, call: Call[T]) -> T:
        response = await self._http.request(
            call.method, call.path, params=list(call.query), content=call.body, headers=call.headers
        )
        if not response.is_success:
            raise refusal(response.status_code, response.headers, response.content)
        return call.answer(response.content)
