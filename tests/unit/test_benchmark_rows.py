"""What the rows about streams make of their figures: the tables, and what was promised."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from benchmarks.bench import Bench
from benchmarks.processes import Measured
from benchmarks.report import Reach, Table
from benchmarks.rows import fanout, fanout_max, many, memory, storm
from benchmarks.sides import SIDES
from benchmarks.streams import Opening, Run

BENCH = Bench("redis://nowhere", cast("Measured", None), Path("/nowhere"))


def run(
    side: str, *, offered: float = 20, per_second: float = 20_000, p99: float = 0.02, cpu: float = 0.2
) -> Run:
    """A run of one second in which all was delivered."""
    return Run(
        side=side,
        offered=offered,
        published=offered,
        expected=round(per_second),
        delivered=round(per_second),
        seconds=1.0,
        p50=p99 / 2,
        p99=p99,
        server_cpu=cpu,
        client_share=0.1,
        publisher_share=0.1,
        redis_share=0.1,
        bytes_each=290,
    )


def opening(*, seconds: float = 0.5, kilobytes: int = 20_000, added: int = 1) -> Opening:
    return Opening(
        streams=2000,
        seconds=seconds,
        turned_away=0,
        server_cpu=0.4,
        client_cpu=0.1,
        redis_cpu=0.01,
        kilobytes=kilobytes,
        redis_connections=added + 5,
        redis_added=added,
    )


def verdicts(tables: list[Table]) -> list[tuple[str, bool]]:
    for table in tables:
        assert table.text()
        assert table.markdown().count("\n| ") >= len(table.lines)
    return [(one.found, one.ok) for table in tables for one in _reach(tables)]


def _reach(tables: list[Table]) -> list[Reach]:
    return [one for table in tables for one in table.reach]


@pytest.mark.parametrize(("p99", "ok"), [(0.059, True), (0.061, False)])
def test_a_hundred_events_a_second_reach_a_p99(monkeypatch: pytest.MonkeyPatch, p99: float, ok: bool) -> None:
    """The promise is about Milepost's p99, whatever the others do."""
    monkeypatch.setattr(fanout, "measure", lambda *_: [run("nchan", p99=1.0), run("milepost", p99=p99)])

    assert [found[1] for found in verdicts(fanout.show_100(BENCH))] == [ok]


@pytest.mark.parametrize(("p99", "cpu", "ok"), [(0.02, 0.2, True), (0.03, 0.2, False), (0.02, 0.3, False)])
def test_twenty_events_a_second_are_held_against_nchan(
    monkeypatch: pytest.MonkeyPatch, p99: float, cpu: float, ok: bool
) -> None:
    """Neither the p99 nor the CPU of a write may be above nchan's."""
    monkeypatch.setattr(fanout, "measure", lambda *_: [run("nchan"), run("milepost", p99=p99, cpu=cpu)])

    assert [found[1] for found in verdicts(fanout.show_20(BENCH))] == [ok]


def test_the_most_deliveries_are_what_was_held_beside_what_the_others_did_at_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Milepost's late deliveries do not count for it; those of its peers count for them."""
    rungs = {
        "tutorial": [run("tutorial", per_second=12_000, p99=5.0)],
        "nchan": [run("nchan", per_second=90_000, p99=2.0)],
        "milepost": [run("milepost", per_second=800_000), run("milepost", per_second=1_000_000, p99=0.2)],
    }
    monkeypatch.setattr(fanout_max, "sides", lambda: [side for side in SIDES if side.name in rungs])
    monkeypatch.setattr(fanout_max, "climb", lambda _, side: fanout_max.Ladder(side.name, rungs[side.name]))

    assert verdicts(fanout_max.show(BENCH)) == [
        ("800,000/s, 8.9 x, p99 20 ms", False),
        ("800,000/s, 67 x, p99 20 ms", True),
    ]


@pytest.mark.parametrize(("published", "ok"), [(9_900.0, True), (8_000.0, False)])
def test_many_jobs_say_nothing_when_the_publisher_was_too_slow(
    monkeypatch: pytest.MonkeyPatch, published: float, ok: bool
) -> None:
    """A low p99 at a lower rate than was promised is not what was promised."""
    ours = run("milepost", offered=10_000, p99=0.01)
    object.__setattr__(ours, "published", published)
    monkeypatch.setattr(many, "measure", lambda _: [ours])

    assert [found[1] for found in verdicts(many.show(BENCH))] == [ok]


def test_a_storm_is_judged_by_streams_a_second_and_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both for one job and for many, and by the connections that streams need."""

    def measure(_: Bench, side: object, jobs: int) -> storm.Storm:
        slow = opening(seconds=1.0, added=4)
        return storm.Storm(getattr(side, "name", ""), jobs, opening() if jobs == 1 else slow)

    monkeypatch.setattr(storm, "sides", lambda: list(SIDES))
    monkeypatch.setattr(storm, "measure", measure)

    assert [ok for _, ok in verdicts(storm.show(BENCH))] == [True, False, False]


@pytest.mark.parametrize(("kilobytes", "ok"), [(20_000, True), (30_000, False)])
def test_an_idle_stream_is_weighed(monkeypatch: pytest.MonkeyPatch, kilobytes: int, ok: bool) -> None:
    """Kilobytes of the process, divided by the streams it has."""
    monkeypatch.setattr(memory, "measure", lambda _: {"milepost": opening(kilobytes=kilobytes)})

    assert [found[1] for found in verdicts(memory.show(BENCH))] == [ok]


def test_a_line_with_too_few_cells_is_refused_where_it_is_made() -> None:
    """Not after ten minutes of measuring, when it is printed."""
    with pytest.raises(ValueError, match="1 cells under 2 columns"):
        Table("title", ("", "figure"), [("milepost",)])
