"""Rows: one job to a thousand streams, at a rate that leaves something to gather, and at one that does not."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.report import Reach, Table, times
from benchmarks.rows.deliveries import COLUMNS, TWICE, WHOSE, better_of_two, line, named
from benchmarks.sides import sides
from benchmarks.streams import Run, standing

STREAMS = 1000
SECONDS = 4.0
P99_AT_100 = 0.060


def measure(bench: Bench, per_second: float) -> list[Run]:
    """Publish to one job at a steady rate, on every side."""
    found = []
    for side in sides():
        bench.say(f"{side.name}, {per_second:g} events/s")
        with standing(bench, side, 1, bench.scaled(STREAMS)) as streams:
            found.append(better_of_two(streams, bench.scaled(SECONDS * per_second), per_second))
    return found


def show_100(bench: Bench) -> list[Table]:
    """At 100 events a second there is something to gather: who does is far ahead."""
    runs = measure(bench, 100)
    reach = []
    if (ours := named(runs, "milepost")) is not None:
        found = f"{ours.p99 * 1e3:.0f} ms"
        ok = ours.complete and ours.p99 <= P99_AT_100
        reach = [Reach("one job -> 1,000 streams at 100 events/s: p99", "<= 60 ms", found, ok)]
    return [_table(runs, "one job -> 1,000 streams, 100 events/s", reach, "p99 at 100 events/s, ms")]


def show_20(bench: Bench) -> list[Table]:
    """At 20 events a second there is nothing to gather: every delivery is a write of its own."""
    runs = measure(bench, 20)
    ours, theirs = named(runs, "milepost"), named(runs, "nchan")
    reach = []
    if ours is not None and theirs is not None:
        found = f"p99 {ours.p99 * 1e3:.1f} ms, CPU {ours.cpu_each * 1e6:.1f} us"
        beside = f"<= nchan in both: p99 {theirs.p99 * 1e3:.1f} ms, CPU {theirs.cpu_each * 1e6:.1f} us"
        ok = ours.complete and ours.p99 <= theirs.p99 and ours.cpu_each <= theirs.cpu_each
        what = "one job -> 1,000 streams at 20 events/s: p99 and CPU per write"
        reach = [Reach(what, beside, found, ok)]
    title = "one job -> 1,000 streams, 20 events/s: nothing to gather"
    return [_table(runs, title, reach, "server CPU per delivery at 20 events/s, us")]


def _table(runs: list[Run], title: str, reach: list[Reach], plot: str) -> Table:
    figures = {run.side: (run.p99 * 1e3 if plot.startswith("p99") else run.cpu_each * 1e6) for run in runs}
    return Table(
        title, COLUMNS, [line(run) for run in runs], [*_beside(runs), TWICE, WHOSE], reach, {plot: figures}
    )


def _beside(runs: list[Run]) -> list[str]:
    ours = named(runs, "milepost")
    if ours is None:
        return []
    return [
        f"Milepost beside {run.side}: {times(ours.cpu_each, run.cpu_each)} the CPU of each delivery,"
        f" {times(ours.p99, run.p99)} the p99."
        for run in runs
        if run is not ours
    ]
