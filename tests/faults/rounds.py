"""One round: jobs are submitted and followed, something happens to the house, and every story is judged."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from milepost.background import end
from milepost.client import AsyncClient, ClientError
from milepost.codec import Cursor
from milepost.errors import JobNotFound
from milepost.log import JobLog
from milepost.log.keys import GENERATION
from milepost.redis import connect
from tests.faults.house import HEARTBEAT_SECONDS, LEASE_SECONDS, House
from tests.faults.laws import breaches
from tests.faults.readers import Reader, Submitted, by_client
from tests.faults.story import Cancel, Story
from tests.faults.witness import Run
from tests.support.process import Process
from tests.support.wait import eventually

END_SECONDS = 45.0
"""So long every job has to reach its end after the last thing that was done to the house."""

SUCCEEDS = frozenset({"succeeded"})
RECORDED_SECONDS = 15.0


class Round:
    """What a scenario works with. `chance` is seeded: the same round draws the same faults and moments."""

    def __init__(self, house: House, name: str, chance: random.Random, *, long: bool = False) -> None:
        self.house, self.name, self.chance, self.long = house, name, chance, long
        self.jobs: list[Submitted] = []
        self.client = house.client()
        self.http = httpx2.AsyncClient(timeout=20, trust_env=False, verify=False)
        self._readers: list[asyncio.Task[None]] = []
        self._redis = connect(house.redis.url)
        self._log = JobLog(self._redis)
        self._losses_before = len(house.losses)

    async def depart(self) -> None:
        """Let all readers and clients go: what the APIs held for them, they have no reason to hold any more."""
        await end(*self._readers)
        await self.client.aclose()
        await self.http.aclose()

    async def aclose(self) -> None:
        await self.depart()
        await self._redis.aclose()

    # What a scenario says.

    async def submit(
        self,
        task: str = "f.work",
        *,
        allowed: Iterable[str] = SUCCEEDS,
        spared: bool = False,
        options: dict[str, Any] | None = None,
        client: AsyncClient | None = None,
        reader: Reader = by_client,
        **params: Any,
    ) -> Submitted:
        """Submit a job, repeating it until it is accepted, and follow it to its end, as `reader` does."""
        options = {"max_attempts": 4, "tags": [self.name], **(options or {})}
        name = f"{self.name}#{len(self.jobs) + 1}"
        job = Submitted("", name, frozenset(allowed), spared, None)
        self.jobs.append(job)
        if delay := options.get("delay_seconds"):
            job.not_before = time.time() + delay
        key = f"{name}-{time.time_ns()}"
        params = {"job": name, **params}

        async def accepted() -> str:
            found = await (client or self.client).submit(task, params, idempotency_key=key, **options)
            return found.id

        job.id = await eventually(accepted, f"{name} is accepted", ignoring=(ClientError,))
        self.follow(job, reader)
        return job

    def follow(self, job: Submitted, reader: Reader) -> None:
        """Let one more reader follow a job that was accepted."""
        self._readers.append(asyncio.create_task(reader(self, job)))

    async def mixed(self, count: int, shortest: float, longest: float, **options: Any) -> list[Submitted]:
        """Submit so many jobs of random length, async and in threads."""
        return [
            await self.submit(
                self.chance.choice(["f.work", "f.thread"]),
                seconds=round(self.chance.uniform(shortest, longest), 2),
                **options,
            )
            for _ in range(count)
        ]

    async def moment(self, shortest: float = 0.0, longest: float = 0.3) -> None:
        """Let a random time pass."""
        await asyncio.sleep(self.chance.uniform(shortest, longest))

    async def begun(self, job: Submitted) -> Run:
        """Wait until a run of it has begun, and return the last."""
        found = await eventually(lambda: self.house.runs().get(job.name), f"{job.name} has begun")
        return found[-1]

    async def generation(self) -> str:
        """Return the generation of Redis's memory: its scripts are known by it."""
        return str((await self._redis.get(GENERATION)).decode())

    async def holder(self, job: Submitted) -> Process:
        """Wait until it runs somewhere and return the worker."""

        async def found() -> Process | None:
            return self.house.by_pid((await self.begun(job)).pid)

        return await eventually(found, f"a worker runs {job.name}")

    async def until(self, what: Callable[[], object], message: str) -> None:
        await eventually(lambda: bool(what()), message)

    async def cancel(self, job: Submitted) -> str:
        """Cancel it, and remember the answer."""

        async def answered() -> str:
            return await self.client.cancel(job.id)

        answer = await eventually(answered, f"{job.name} is cancelled", ignoring=(ClientError,))
        job.cancels.append(Cancel(answer, time.time()))
        return answer

    # What is made of it.

    async def ended(self) -> None:
        """Wait until every reader has seen the end."""
        if self._readers:
            await asyncio.wait(self._readers, timeout=END_SECONDS)
        for reader in self._readers:
            if reader.done():
                reader.result()  # a reader that could not go on says why

    async def stories(self) -> list[Story]:
        """Wait until everything is still, and tell what was seen of each job."""
        await self._settled()
        await self._quiet()
        await self._recorded()
        records = await self._records()
        runs, hurts = self.house.runs(), self.house.hurts()
        losses = tuple(self.house.losses[self._losses_before :])
        return [
            Story(
                job_id=job.id,
                name=job.name,
                history=await self._history(job.id),
                seen=job.seen,
                job=await self._get(f"/v1/jobs/{job.id}"),
                record=records.get(job.id, {}),
                runs=tuple(runs.get(job.name, ())),
                polls=tuple(job.polls),
                cancels=tuple(job.cancels),
                hurt=hurts,
                losses=losses,
                allowed=job.allowed,
                spared=job.spared,
                not_before=job.not_before,
                lease_seconds=LEASE_SECONDS,
                heartbeat_seconds=HEARTBEAT_SECONDS,
            )
            for job in self.jobs
        ]

    async def leftovers(self) -> list[str]:
        """Return what is still held for jobs and readers that are gone, once there was time to let go of it."""
        left: list[str] = []

        async def none() -> bool:
            keys = [key async for key in self._redis.scan_iter("arq:*")]
            keys += [key async for key in self._redis.scan_iter("mp:queue:*")]
            keys += await self._redis.zrange("mp:leases", 0, -1)
            left[:] = [raw.decode() for raw in keys] + await self.house.excess()
            return not left

        try:
            # Where nothing is shortened, a killed recorder's events are taken over after 30 s, at the next look.
            await eventually(none, "nothing is left", deadline=15 if self.house.kind.doomed else 60)
        except AssertionError:
            return [f"leftovers: {key}" for key in left]
        return []

    async def _settled(self) -> None:
        """Wait for the end as GET tells it: Redis may have forgotten one that the reader saw."""

        async def all_done() -> bool:
            jobs = [await self._get(f"/v1/jobs/{job.id}") for job in self.jobs]
            return all(job["done"] for job in jobs)

        try:
            await eventually(all_done, "every job has ended", deadline=END_SECONDS)
        except AssertionError:
            return  # the law of the end says which

    async def _quiet(self) -> None:
        """Wait for the last word of every run: a zombie's, too."""
        names = {job.name for job in self.jobs}

        def silent() -> bool:
            running = [
                run
                for name, runs in self.house.runs().items()
                if name in names
                for run in runs
                if run.ended is None
            ]
            return not any((worker := self.house.by_pid(run.pid)) and worker.alive for run in running)

        await eventually(silent, "every run has ended", deadline=30)

    async def _recorded(self) -> None:
        async def all_done() -> bool:
            records = await self._records()
            if not all(records.get(job.id, {}).get("done") for job in self.jobs):
                return False
            return not self.house.losses or await self._all_agree(records)

        try:
            await eventually(
                all_done, "all ends are recorded", deadline=RECORDED_SECONDS, ignoring=(httpx2.HTTPError,)
            )
        except AssertionError:
            return  # the law of the records says which, with all that is known of the job

    async def _all_agree(self, records: dict[str, dict[str, Any]]) -> bool:
        """Whether Redis has heard of the ends that it had lost."""
        jobs = [await self._get(f"/v1/jobs/{job.id}") for job in self.jobs]
        return all(records[job["id"]].get("result") == job["result"] for job in jobs)

    async def _records(self) -> dict[str, dict[str, Any]]:
        page = await self._get("/v1/jobs", tag=self.name, limit=100)
        return {job["id"]: job for job in page["items"]}

    async def _get(self, path: str, **params: Any) -> Any:
        async def answer() -> Any:
            reply = await self.house.stack.http.get(f"{self.house.url}{path}", params=params)
            return reply.json() if reply.status_code == 200 else None

        return await eventually(answer, f"GET {path}", ignoring=(httpx2.HTTPError,))

    async def _history(self, job_id: str) -> Sequence[dict[str, Any]]:
        try:
            view = await self._log.read(job_id)
            after, events = Cursor(view.cursor.epoch, 0), list[dict[str, Any]]()
            while after.seq < view.cursor.seq:
                view = await self._log.read(job_id, after)
                if not view.entries:
                    break  # trimmed, or a hole: the laws see it
                events += [json.loads(entry.data) for entry in view.entries]
                after = Cursor(after.epoch, view.entries[-1].seq)
        except JobNotFound:
            return []
        return events


@dataclass
class Verdict:
    """What one round came to."""

    scenario: str
    number: int
    seconds: float = 0.0
    stories: list[Story] = field(default_factory=list)
    breaches: dict[str, list[str]] = field(default_factory=dict)
    """By the job's name; `house` for what concerns all."""
    lag_seconds: float = 0.0
    """The longest time for which this very process did not get the processor when it was due."""

    @property
    def disturbed(self) -> bool:
        """The machine stood still for so long that healthy leases may have been lost to it."""
        return self.lag_seconds > LEASE_SECONDS / 3


@asynccontextmanager
async def lag_measured(verdict: Verdict) -> AsyncIterator[None]:
    """Watch how late this process is woken."""

    async def watch() -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.05)
            verdict.lag_seconds = max(verdict.lag_seconds, time.monotonic() - began - 0.05)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        await end(watching)


async def play(
    house: House,
    scenario: str,
    number: int,
    fault: Callable[[Round], Awaitable[None]],
    seed: int,
    *,
    long: bool = False,
) -> Verdict:
    """Play one round and judge it. The house is whole again afterwards. `long`: outages may last as in life."""
    verdict = Verdict(scenario, number)
    began = time.monotonic()
    chance = random.Random(f"{seed}/{scenario}/{number}")
    playing = Round(house, f"{scenario}-{number}", chance, long=long)
    try:
        async with lag_measured(verdict):
            try:
                await fault(playing)
            finally:
                await house.repair()
            await playing.ended()
            verdict.stories = await playing.stories()
            await playing.depart()
            left = await playing.leftovers()
    finally:
        await playing.aclose()
        house.witness.forget(job.name for job in playing.jobs)
    verdict.seconds = time.monotonic() - began
    found = {story.name: breaches(story) for story in verdict.stories}
    found["house"] = left + house.fallen() + house.bugs()
    verdict.breaches = {name: broken for name, broken in found.items() if broken}
    return verdict
