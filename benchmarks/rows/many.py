"""Row: a thousand jobs with one stream each, ten thousand events a second."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.report import Reach, Table
from benchmarks.rows.deliveries import COLUMNS, TWICE, WHOSE, better_of_two, line, named
from benchmarks.sides import sides
from benchmarks.streams import Run, standing

JOBS = 1000
PER_SECOND = 10_000.0
SECONDS = 3.0
P99 = 0.020
PUBLISHED = (
    "events/s is what the publisher reached: through Milepost's job log, which numbers and keeps each event; by "
    "PUBLISH for the others; by pipelined POST for nchan, which decodes it in the process that is measured."
)
REACHED = 0.95
"""The publisher has to reach this part of the rate, or the row says nothing about it."""


def measure(bench: Bench) -> list[Run]:
    """Publish round robin to many jobs, on every side."""
    found = []
    for side in sides():
        bench.say(f"{side.name}, {PER_SECOND:,.0f} events/s over {JOBS:,} jobs")
        jobs, rate = bench.scaled(JOBS), PER_SECOND * bench.scale
        with standing(bench, side, jobs, jobs) as streams:
            found.append(better_of_two(streams, round(SECONDS * rate), rate))
    return found


def show(bench: Bench) -> list[Table]:
    runs = measure(bench)
    reach = []
    if (ours := named(runs, "milepost")) is not None:
        ok = ours.complete and ours.p99 <= P99 and ours.published >= REACHED * ours.offered
        found = f"p99 {ours.p99 * 1e3:.1f} ms at {ours.published:,.0f} events/s, {ours.server_share:.0%} of a core"
        reach = [Reach("1,000 jobs x 1 stream at 10,000 events/s: p99", "<= 20 ms", found, ok)]
    title = "1,000 jobs x 1 stream, 10,000 events/s"
    plot = {
        "server CPU per delivery, 1,000 jobs x 1 stream, us": {run.side: run.cpu_each * 1e6 for run in runs}
    }
    return [Table(title, COLUMNS, [line(run) for run in runs], [PUBLISHED, TWICE, WHOSE], reach, plot)]
