"""Doing something to all jobs that a filter finds: in portions, for a few seconds, and then on from a cursor."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from milepost.errors import JobNotFound
from milepost.job import TERMINAL, Status
from milepost.log import many
from milepost.times import utc_now
from milepost_api import actions
from milepost_api.lookup import redis_answers
from milepost_api.problems import Problem
from milepost_api.records import JobFilter, Outline
from milepost_api.records.order import cursor_of, key_of
from milepost_api.services import Services

SECONDS = 5.0
"""One request works for so long, and then says where to go on: no proxy cuts it, and nobody waits in vain."""
REFUSALS_TOLD = 20
RETRIES_AT_ONCE = 4
"""Each is a transaction of its own, and requests of other clients want connections, too."""

Fate = bool | Problem
"""What became of one job: changed, left as it was because it stands elsewhere by now, or refused."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far an operation has come. Its name makes sure that no job is done again twice by it."""

    operation: str
    after: int | None = None

    def __str__(self) -> str:
        return f"{cursor_of(self.after or 0)}-{self.operation}"

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """Read what `str` has written, None if it is nothing of that kind."""
        place, _, operation = text.partition("-")
        after = key_of(place)
        return cls(operation, after) if after is not None and _is_name(operation) else None

    @classmethod
    def begin(cls, key: str) -> Place:
        """Return the beginning of the operation that a client calls `key`."""
        return cls(hashlib.sha256(key.encode()).hexdigest()[:16])


def _is_name(text: str) -> bool:
    return len(text) == 16 and set(text) <= set("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Kind:
    """Something that can be done to many jobs: to those of `usually`, unless statuses among `ever` are asked for."""

    name: str
    usually: frozenset[Status]
    ever: frozenset[Status]
    at_once: int
    run: Callable[[Services, JobFilter, Sequence[Outline], str], Awaitable[Sequence[Fate]]]

    def narrowed(self, wanted: JobFilter) -> JobFilter:
        """Return the filter for those jobs that this can be done to. Raises `Problem` when there can be none."""
        statuses = [status for status in Status if status in (wanted.statuses or self.usually)]
        possible = tuple(status.value for status in statuses if status in self.ever)
        if not possible:
            detail = f"Jobs of these statuses are not there to {self.name}: {', '.join(statuses)}."
            raise Problem(
                "invalid-request", detail, errors=[{"in": "query", "path": "status", "detail": detail}]
            )
        return replace(wanted, statuses=possible)


@dataclass(slots=True)
class Progress:
    """What one request has done. `statuses`: how many jobs of each it has looked at."""

    place: Place | None
    statuses: Counter[str] = field(default_factory=Counter)
    changed: int = 0
    skipped: int = 0
    refusals: list[tuple[str, Problem]] = field(default_factory=list)

    def take(self, outlines: Sequence[Outline], fates: Sequence[Fate]) -> None:
        for outline, fate in zip(outlines, fates, strict=True):
            self.statuses[outline.status] += 1
            self.changed += fate is True
            self.skipped += fate is not True
            if isinstance(fate, Problem) and len(self.refusals) < REFUSALS_TOLD:
                self.refusals.append((outline.id, fate))


async def work(
    services: Services,
    kind: Kind,
    wanted: JobFilter,
    place: Place,
    *,
    limit: int,
    seconds: float = SECONDS,
) -> Progress:
    """Do it to the jobs of the filter, newest first, from `place` on: to so many, or for so long.

    Jobs that come meanwhile are newer than those, and not touched.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    progress = Progress(place)
    while progress.place is not None:
        most = min(kind.at_once, limit - progress.statuses.total())
        outlines = await services.store.outlined(replace(wanted, after=progress.place.after), limit=most + 1)
        here = outlines[:most]
        progress.take(here, await kind.run(services, wanted, here, place.operation) if here else ())
        more = len(outlines) > most
        progress.place = Place(place.operation, here[-1].sort_key) if more else None
        if progress.statuses.total() >= limit or clock() >= deadline:
            break
    return progress


async def _cancel(
    services: Services, wanted: JobFilter, outlines: Sequence[Outline], _operation: str
) -> list[Fate]:
    ids = [outline.id for outline in outlines]
    async with redis_answers(services.settings.redis_answer_seconds):
        # The records are a moment behind: a job that was begun since is not one that waits.
        now = dict(zip(ids, await many.statuses(services.redis, ids), strict=True))
        there = [job_id for job_id, status in now.items() if status is not None and status in wanted.statuses]
        outcomes: dict[str, str | None] = dict(
            zip(there, await many.cancel(services.log, there, wanted.tenant), strict=True)
        )
    absent = {
        job_id: await _cancel_absent(services, job_id, wanted.tenant) for job_id in ids if now[job_id] is None
    }
    return [(outcomes | absent).get(job_id) in ("cancelled", "requested") for job_id in ids]


async def _cancel_absent(services: Services, job_id: str, tenant: str) -> str | None:
    """A job that was accepted and has not reached the log, or that Redis has lost."""
    try:
        return await actions.cancel(services, job_id, tenant)
    except JobNotFound:
        return None


async def _delete(
    services: Services, wanted: JobFilter, outlines: Sequence[Outline], _operation: str
) -> list[Fate]:
    outcomes = await actions.delete_all(services, [outline.id for outline in outlines], wanted.tenant)
    return [outcome == "deleted" for outcome in outcomes]


async def _retry(
    services: Services, wanted: JobFilter, outlines: Sequence[Outline], operation: str
) -> Sequence[Fate]:
    room = asyncio.Semaphore(RETRIES_AT_ONCE)
    # No client can choose such a key: a space is none of its characters.
    ours = f"retry {operation} "

    async def again(outline: Outline) -> Fate:
        if (outline.idempotency_key or "").startswith(ours):
            return False  # has come of this operation itself
        async with room:
            try:
                await services.desk.again(
                    outline.id,
                    lambda: actions.finished(services, outline.id, wanted.tenant),
                    utc_now(),
                    tenant=wanted.tenant,
                    key=ours + outline.id,
                )
            except JobNotFound:
                return False
            except Problem as problem:
                return problem
            return True

    return await asyncio.gather(*(again(outline) for outline in outlines))


_LIVING = frozenset(Status) - TERMINAL
KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("cancel", _LIVING, _LIVING, 100, _cancel),
        # What succeeded is done again only by who says so.
        Kind("retry", TERMINAL - {Status.SUCCEEDED}, TERMINAL, 20, _retry),
        Kind("delete", TERMINAL, TERMINAL, 100, _delete),
    )
}
