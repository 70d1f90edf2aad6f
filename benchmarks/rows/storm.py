"""Row: everybody comes back at once. New streams a second, and how many connections to Redis they need."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.report import Reach, Table, times
from benchmarks.sides import MILEPOST, Side, sides
from benchmarks.streams import Opening, opened

STREAMS = 2000
JOBS = (1, 2000)
PER_SECOND = 3000
CONNECTIONS = 3
OPEN = (
    "A stream counts when it has said its first words: Milepost's with the job's snapshot, read from Redis; the "
    "others' with the response's head, before they know anything about the job. "
    "turned away: answers that asked to come back later; the client does so at once, until all streams are open. "
    "for streams: the connections to Redis that were not there before the first stream."
)
COLUMNS = (
    "",
    "jobs",
    "streams/s",
    "turned away",
    "server CPU us each",
    "server",
    "client",
    "Redis",
    "Redis connections",
    "for streams",
)


@dataclass(frozen=True)
class Storm:
    """One side, all of its streams opened at once over so many jobs."""

    side: str
    jobs: int
    opening: Opening


def measure(bench: Bench, side: Side, jobs: int) -> Storm:
    bench.say(f"{side.name}, {STREAMS:,} new streams over {jobs:,} jobs")
    with opened(bench, side, bench.scaled(jobs), bench.scaled(STREAMS)) as opening:
        return Storm(side.name, jobs, opening)


def show(bench: Bench) -> list[Table]:
    found = [measure(bench, side, jobs) for jobs in JOBS for side in sides()]
    lines = [
        (
            storm.side,
            f"{storm.jobs:,}",
            f"{storm.opening.per_second:,.0f}",
            f"{storm.opening.turned_away:,}",
            f"{storm.opening.server_cpu / storm.opening.streams * 1e6:.0f}",
            f"{storm.opening.server_cpu / storm.opening.seconds:.0%}",
            f"{storm.opening.client_cpu / storm.opening.seconds:.0%}",
            f"{storm.opening.redis_cpu / storm.opening.seconds:.0%}",
            f"{storm.opening.redis_connections:,}",
            f"{storm.opening.redis_added:,}",
        )
        for storm in found
    ]
    notes = [OPEN]
    plot = {
        "new streams a second": {storm.side: storm.opening.per_second for storm in found if storm.jobs == 1}
    }
    return [Table("2,000 streams at once: a reconnect storm", COLUMNS, lines, notes, _reach(found), plot)]


def _reach(found: list[Storm]) -> list[Reach]:
    ours = [storm for storm in found if storm.side == MILEPOST.name]
    tutorial = next(storm for storm in found if storm.side == "tutorial")
    reach = [
        Reach(
            f"new streams/s, {storm.jobs:,} job{'s' * (storm.jobs > 1)}",
            f">= {PER_SECOND:,}",
            f"{storm.opening.per_second:,.0f},"
            f" {times(storm.opening.per_second, tutorial.opening.per_second)} the tutorial's",
            storm.opening.per_second >= PER_SECOND,
        )
        for storm in ours
    ]
    most = max(storm.opening.redis_added for storm in ours)
    return [
        *reach,
        Reach("Redis connections for 2,000 streams", f"<= {CONNECTIONS}", f"{most}", most <= CONNECTIONS),
    ]
