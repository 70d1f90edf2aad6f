"""How a run of deliveries is shown, whatever the row."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.report import Cell
from benchmarks.streams import Run, Standing

COLUMNS = (
    "",
    "events/s",
    "delivered",
    "per second",
    "p50 ms",
    "p99 ms",
    "server CPU us each",
    "server",
    "client",
    "publisher",
    "Redis",
)
WHOSE = (
    "server, client, publisher, Redis: what each used of a core. The server has one to itself, the three others "
    "share the other one."
)


TWICE = "Each was measured twice; the run with the lower p99 is shown: what else the machine does only adds to it."


def better_of_two(streams: Standing, events: int, per_second: float) -> Run:
    """Publish twice, and return the run with the lower p99; once where that did not deliver all in its time."""
    first = streams.publish(events, per_second)
    if not first.complete:
        return first  # what is under way yet would make the next one later
    second = streams.publish(events, per_second)
    return second if second.complete and second.p99 < first.p99 else first


def line(run: Run, name: str = "") -> tuple[Cell, ...]:
    return (
        name or run.side,
        f"{run.published:,.0f}",
        f"{run.delivered / max(1, run.expected):.1%}" if not run.complete else "all",
        f"{run.per_second:,.0f}",
        milliseconds(run.p50),
        milliseconds(run.p99),
        f"{run.cpu_each * 1e6:.2f}",
        f"{run.server_share:.0%}",
        f"{run.client_share:.0%}",
        f"{run.publisher_share:.0%}",
        f"{run.redis_share:.0%}",
    )


def milliseconds(seconds: float) -> str:
    return "-" if seconds != seconds else f"{seconds * 1e3:,.1f}"  # noqa: PLR0124  (NaN)


def named(runs: Sequence[Run], side: str) -> Run | None:
    return next((run for run in runs if run.side == side), None)
