"""Row: what a stream that says nothing costs."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.report import Reach, Table, times
from benchmarks.sides import sides
from benchmarks.streams import Opening, opened

STREAMS = 5000
KILOBYTES = 12.0


def measure(bench: Bench) -> dict[str, Opening]:
    """Open many streams of one job on every side, and weigh the server before and after."""
    found = {}
    for side in sides():
        bench.say(f"{side.name}, {STREAMS:,} idle streams")
        with opened(bench, side, 1, bench.scaled(STREAMS)) as opening:
            found[side.name] = opening
    return found


def show(bench: Bench) -> list[Table]:
    found = measure(bench)
    ours = found["milepost"].kilobytes_each
    lines = [
        (name, f"{one.kilobytes_each:.1f}", times(one.kilobytes_each, ours), f"{one.redis_connections:,}")
        for name, one in found.items()
    ]
    return [
        Table(
            "5,000 idle streams of one job: memory of the server's process",
            ("", "kB each", "beside Milepost", "Redis connections"),
            lines,
            ["What the kernel holds for a connection is the same for all and not counted."],
            [Reach("memory per idle stream", f"<= {KILOBYTES:g} kB", f"{ours:.1f} kB", ours <= KILOBYTES)],
            {"memory per idle stream, kB": {name: one.kilobytes_each for name, one in found.items()}},
        )
    ]
