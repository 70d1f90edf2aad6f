"""Which jobs a filter finds at this moment, as the records know it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from milepost.job import NEXT, Status
from milepost_api.many.wanted import LIVE_DONE_MOST, LIVE_OPEN_MOST, NAMED_MOST, Filter
from milepost_api.records import JobFilter, JobStore

_OPEN = tuple(status.value for status in Status if NEXT[status])
_DONE = tuple(status.value for status in Status if not NEXT[status])


@dataclass(frozen=True, slots=True)
class Found:
    """Jobs that are not done, and those that are, newest first; of the latter each with its key in the order of lists.

    `more_open`: there are more of the first kind. `left_out`: the first of the others that found no place.
    """

    open: tuple[str, ...]
    done: tuple[tuple[str, int], ...]
    more_open: bool = False
    left_out: tuple[str, int] | None = None


async def look(store: JobStore, wanted: Filter) -> Found:
    """Look once. Raises `StoreUnavailable`."""
    everything = JobFilter(tenant=wanted.tenant, tag=wanted.tag, batch=wanted.batch)
    most = LIVE_OPEN_MOST if wanted.is_live else NAMED_MOST
    living = await _some(store, everything, _OPEN, most + 1)
    room = LIVE_DONE_MOST if wanted.is_live else most - min(len(living), most)
    ended = await _some(store, everything, _DONE, room + 1)
    return Found(
        open=tuple(job_id for job_id, _ in living[:most]),
        done=tuple(ended[:room]),
        more_open=len(living) > most,
        left_out=ended[room] if len(ended) > room else None,
    )


async def _some(
    store: JobStore, everything: JobFilter, statuses: tuple[str, ...], limit: int
) -> list[tuple[str, int]]:
    found = await store.outlined(replace(everything, statuses=statuses), limit=limit)
    return [(one.id, one.sort_key) for one in found]
