"""What a stream of many jobs is asked for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from milepost.events import (
    AllEnded,
    Ended,
    Gap,
    JobEnded,
    JobMissing,
    Logged,
    Output,
    Reconnect,
    Selection,
    Snapshot,
)

NAMED_MOST = 500
"""Jobs that may be named, or found by a tag or a batch."""
LIVE_OPEN_MOST, LIVE_DONE_MOST = 1000, 100
"""Jobs on the list of all jobs: those that are not done, and the newest that were when the stream began."""
LIVE_INTERVAL_MS = 250
"""The list of all jobs is for eyes: four times a second is live."""

ALWAYS = frozenset(
    {kind.type for kind in (Snapshot, JobEnded, JobMissing, Ended, AllEnded, Gap, Reconnect, Selection)}
)
LONG = frozenset({Logged.type, Output.type})
"""What a list does not show: left out of the list of all jobs, unless asked for."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs of a tenant: those with this tag, of this batch (both, if both are given), or all."""

    tenant: str
    tag: str | None = None
    batch: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether it is the list of all jobs, which has no end."""
        return self.tag is None and self.batch is None

    def matches(self, tenant: str, batch: str | None, tags: tuple[str, ...]) -> bool:
        """Whether it finds a job of that tenant, batch and tags."""
        return (
            tenant == self.tenant and self.batch in (None, batch) and (self.tag is None or self.tag in tags)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`named`: the jobs, each with the cursor to go on after, as text; None: those that `filter` finds.

    `kinds` are the events wanted, None: all (but those that are long, on the list of all jobs).
    """

    filter: Filter
    named: Mapping[str, str] | None = None
    kinds: frozenset[str] | None = None
    min_interval_seconds: float = 0.0
    last_event_id: str | None = None
    until: float = math.inf
    """When, by the clock of the event loop, the reader may read no more: its token is over."""
    _hidden: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        if self.is_live and self.kinds is None:
            object.__setattr__(self, "_hidden", LONG)

    @property
    def tenant(self) -> str:
        return self.filter.tenant

    @property
    def is_live(self) -> bool:
        return self.named is None and self.filter.is_live

    @property
    def at_once(self) -> int:
        """How many jobs may be on the stream at once."""
        return LIVE_OPEN_MOST + LIVE_DONE_MOST if self.is_live else NAMED_MOST

    @property
    def of(self) -> str:
        """Say in a bookmark what its stream shows. Of named jobs any may come and go."""
        return "named" if self.named is not None else json.dumps([self.filter.tag, self.filter.batch])

    def shows(self, kind: str) -> bool:
        if kind in ALWAYS:
            return True
        return kind not in self._hidden if self.kinds is None else kind in self.kinds
