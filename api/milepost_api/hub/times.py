"""How long the hub waits for what."""

from __future__ import annotations

from dataclasses import dataclass

from milepost_api.hub.reader import DEADLINE_SECONDS, PROBE_SECONDS


@dataclass(frozen=True, slots=True)
class Times:
    """All in seconds."""

    reconcile: float = 2.0
    """A lost last message has no successor to betray it, so jobs that were silent for so long are compared with the
    history: it is found after at most twice as long."""
    line: float = 1.5
    """How often readers of waiting jobs are told where these stand. A reader hears within 10 s that nobody is there
    any more: after the 6 s in which a dead worker still counts as announced, what the roster remembers, and this."""
    linger: float = 20.0
    """A topic without readers stays for so long: a page that reloads finds it warm."""
    foreseen: float = 2.0
    """The reader of a job that was watched while it was created has so long to come."""
    answer: float = 3.0
    """A stream that opens waits so long for Redis; then its reader is asked to come back."""
    probe: float = PROBE_SECONDS
    """How often the hub publishes something to itself, to know that it hears. It says nothing about `degraded` until
    `probe` and `late` have passed: a connection that is replaced at once costs no reader anything."""
    late: float = DEADLINE_SECONDS
    """A connection on which it has not come back after so long, and nothing else has come, is replaced."""
    share: float = 1.0
    """A snapshot is given to all who come within so long, unless the job has moved: a storm costs one read."""
    rotate: float = 0.0
    """A stream is asked to come back after half of this to all of it, each at its own moment; 0: never."""


DEFAULT_TIMES = Times()
