"""What the server answers, read: pure functions from JSON to values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from milepost.client.errors import BadAnswer
from milepost.events import AnyEvent, from_wire
from milepost.job import Job, Json

T = TypeVar("T")

REFUSALS_TOLD = 20
"""Of more it is known how many they are."""


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of a list of jobs; `next_cursor` asks for the next one, None on the last."""

    items: tuple[Job, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class JobCounts:
    """How many jobs there are of each status. Of those in `capped`, and then in `total`, there are at least so many."""

    by_status: Mapping[str, int]
    total: int
    capped: frozenset[str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one job of many was not done again: `type` and `detail` of its problem."""

    id: str
    type: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkOutcome:
    """What a bulk operation did, or with `dry_run` would do.

    `by_status` is how many jobs matched, by the status that they had; of those in `capped` at least so many. `changed`
    of them were cancelled, done again or deleted; `skipped` were left as they are, because they had changed meanwhile
    or were refused: `refusals` are the first of those. With a `next_cursor` there is more to do.
    """

    dry_run: bool = False
    matched: int = 0
    changed: int = 0
    skipped: int = 0
    by_status: Mapping[str, int] = field(default_factory=dict)
    capped: frozenset[str] = frozenset()
    refusals: tuple[Refusal, ...] = ()
    next_cursor: str | None = None

    def __add__(self, more: BulkOutcome) -> BulkOutcome:
        """Return what this request and the one that went on from it have done together."""
        return BulkOutcome(
            dry_run=more.dry_run,
            matched=self.matched + more.matched,
            changed=self.changed + more.changed,
            skipped=self.skipped + more.skipped,
            by_status=dict(Counter(self.by_status) + Counter(more.by_status)),
            capped=self.capped | more.capped,
            refusals=(self.refusals + more.refusals)[:REFUSALS_TOLD],
            next_cursor=more.next_cursor,
        )


@dataclass(frozen=True, slots=True)
class EventPage:
    """A piece of a history. `next` is the `after` of the next request; `more`: there is more already.

    `gap` says why what followed `after` could not be given; then the one item is a snapshot to go on from. `done`: the
    end is among the items.
    """

    items: tuple[AnyEvent, ...]
    next: str | None
    more: bool
    gap: str | None
    done: bool = False


@dataclass(frozen=True, slots=True)
class StreamToken:
    """What a browser gets instead of an API key; times are RFC 3339. `repr` does not show the token.

    `stream_url` is the path of the stream with the token in it, for an EventSource.
    """

    token: str = field(repr=False)
    expires_at: str
    resumable_until: str
    stream_url: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEntry:
    """One task that can be submitted. The schemas are JSON Schema; `workers` is how many offer it now."""

    name: str
    description: str = ""
    params_schema: Mapping[str, Json] = field(default_factory=dict)
    result_schema: Mapping[str, Json] = field(default_factory=dict)
    queue: str = "default"
    timeout_seconds: float | None = None
    max_attempts: int = 1
    workers: int | None = None


def read(what: str, reader: Callable[[Json], T], wire: Json) -> T:
    """Return `reader(wire)`. Raises `BadAnswer` if the answer does not have the shape of `what`."""
    try:
        return reader(wire)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise BadAnswer(f"The server sent {what} that cannot be read ({error}). Is it a Milepost?") from error


def job_page(wire: Json) -> JobPage:
    """Read what `GET /v1/jobs` answers."""
    return JobPage(tuple(Job.from_wire(item) for item in wire["items"]), wire.get("next_cursor"))


def counts(wire: Json) -> JobCounts:
    """Read what `GET /v1/jobs/counts` answers."""
    return JobCounts(dict(wire["by_status"]), int(wire["total"]), frozenset(wire["capped"]))


def event_page(wire: Json) -> EventPage:
    """Read what `GET /v1/jobs/{id}/events` answers; unknown events are passed over."""
    events = tuple(event for item in wire["items"] if (event := from_wire(item)) is not None)
    return EventPage(
        events, wire.get("next"), bool(wire.get("more")), wire.get("gap"), bool(wire.get("done"))
    )


def stream_token(wire: Json) -> StreamToken:
    """Read what `POST /v1/stream-tokens` answers."""
    return StreamToken(**{f.name: str(wire[f.name]) for f in fields(StreamToken)})


def tasks(wire: Json) -> tuple[TaskEntry, ...]:
    """Read what `GET /v1/tasks` answers."""
    known = {f.name for f in fields(TaskEntry)}
    return tuple(TaskEntry(**{name: item[name] for name in item if name in known}) for item in wire["items"])


def outcome(wire: Json) -> str:
    """Read what a cancel answers."""
    return str(wire["outcome"])


def bulk(wire: Json) -> BulkOutcome:
    """Read what a bulk operation answers."""
    return BulkOutcome(
        dry_run=bool(wire["dry_run"]),
        matched=int(wire["matched"]),
        changed=int(wire["changed"]),
        skipped=int(wire["skipped"]),
        by_status=dict(wire["by_status"]),
        capped=frozenset(wire["capped"]),
        refusals=tuple(Refusal(one["id"], one["type"], one["detail"]) for one in wire["refusals"]),
        next_cursor=wire.get("next_cursor"),
    )


def nothing(_wire: Json) -> None:
    """Read an answer that says nothing but that it is done."""


def anything(wire: Json) -> Any:
    """Read a result, which may be any JSON."""
    return wire
