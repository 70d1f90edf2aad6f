"""Row: the most deliveries a second that one core makes, of one job to a thousand streams."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.report import Reach, Table, times
from benchmarks.rows.deliveries import COLUMNS, TWICE, WHOSE, better_of_two, line
from benchmarks.sides import Side, sides
from benchmarks.streams import Run, standing

STREAMS = 1000
LOWEST = 10.0
SECONDS = 2.0
HELD_P99 = 0.100
"""A rate is held when all was delivered, 99 of 100 within this."""
HIGHEST = 5120.0


@dataclass(frozen=True)
class Ladder:
    """The rates that one side was offered, each twice the one before, until more did not bring more."""

    side: str
    rungs: list[Run]

    @property
    def most(self) -> Run:
        return max(self.rungs, key=lambda run: run.per_second)

    @property
    def held(self) -> Run | None:
        kept = [run for run in self.rungs if run.complete and run.p99 <= HELD_P99]
        return max(kept, key=lambda run: run.per_second, default=None)


def climb(bench: Bench, side: Side) -> Ladder:
    """Offer one side more and more, and at last something between what it held and what it did not."""
    rungs: list[Run] = []
    with standing(bench, side, 1, bench.scaled(STREAMS)) as streams:
        rate = LOWEST
        while rate <= HIGHEST * bench.scale:
            rungs.append(better_of_two(streams, bench.scaled(rate * SECONDS), rate))
            if not _held(rungs[-1]):
                break
            rate *= 2
        ladder = Ladder(side.name, rungs)
        if ladder.held is not None and not _held(rungs[-1]):
            streams.reader.drain()
            between = ladder.held.offered * 1.41
            rungs.append(better_of_two(streams, bench.scaled(between * SECONDS), between))
    return ladder


def _held(run: Run) -> bool:
    return run.complete and run.p99 <= HELD_P99


def show(bench: Bench) -> list[Table]:
    ladders = []
    for side in sides():
        bench.say(f"{side.name}, more and more events/s")
        ladders.append(climb(bench, side))
    lines = []
    for ladder in ladders:
        lines.append(line(ladder.most, f"{ladder.side}, most"))
        if ladder.held is not None:
            lines.append(line(ladder.held, f"{ladder.side}, held"))
    meant = (
        "most: the highest rate of deliveries, however late. held: the highest offered rate at which all were "
        f"delivered, 99 of 100 within {HELD_P99 * 1e3:.0f} ms. Rates double from {LOWEST:g} events/s."
    )
    notes = [meant, TWICE, WHOSE]
    figures = {ladder.side: ladder.most.per_second for ladder in ladders}
    return [
        Table(
            "one job -> 1,000 streams: most deliveries/s on one core",
            COLUMNS,
            lines,
            notes,
            _reach({ladder.side: ladder for ladder in ladders}),
            {"most deliveries a second, one core, 1,000 streams": figures},
        )
    ]


def _reach(ladders: dict[str, Ladder]) -> list[Reach]:
    """Ours must have been held; theirs is the most they did, however late: the harder comparison for us."""
    ours = ladders["milepost"].held
    held = ours.per_second if ours else 0.0
    found = []
    for peer, factor in (("nchan", 10), ("tutorial", 60)):
        most = ladders[peer].most.per_second if peer in ladders else math.nan
        found.append(
            Reach(
                f"one job -> 1,000 streams, most deliveries/s, beside {peer}",
                f">= {factor} x {peer} ({most:,.0f}/s), p99 <= 100 ms",
                f"{held:,.0f}/s, {times(held, most)}" + (f", p99 {ours.p99 * 1e3:.0f} ms" if ours else ""),
                held >= factor * most,
            )
        )
    return found
