"""What reporting costs in a loop of ten million items, inside a job, beside the bare loop and tqdm's own."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import tqdm
from milepost_worker.outbox import REPORT_SECONDS, Outbox

from benchmarks.bench import Bench
from benchmarks.report import Reach, Table, times
from milepost import progress
from milepost.log import Claim, ReportCalls
from milepost.reporting import HERE, Place, Reporter

ITEMS = 10_000_000
ROUNDS = 3


@dataclass(frozen=True)
class Row:
    """Nanoseconds an item takes, the fastest of a few rounds."""

    name: str
    nanoseconds: float


def measure(items: int = ITEMS) -> list[Row]:
    """Measure every kind of loop, inside a job whose reports are taken as a worker takes them."""
    with _job():
        return [Row(name, min(_once(loop, items) for _ in range(ROUNDS))) for name, loop in LOOPS.items()]


def show(bench: Bench) -> list[Table]:
    bench.say(f"{ITEMS:,} items in six kinds of loop")
    found = {row.name: row.nanoseconds for row in measure()}
    theirs = found["tqdm"]
    lines = [(name, f"{each:.1f}", times(each, theirs)) for name, each in found.items()]
    dearest, beside = max(found["progress()"], found["progress.advance"]), found["progress.tqdm"] / theirs
    reach = [
        Reach("`progress()` in a hot loop", "<= 1 us a call", f"{dearest / 1e3:.2f} us", dearest <= 1000),
        Reach("`progress.tqdm` beside tqdm's own loop", "< 1.1 x", f"{beside:.2f} x", beside < 1.1),
    ]
    title = f"a loop of {ITEMS:,} items, inside a job"
    return [Table(title, ("", "ns an item", "beside tqdm"), lines, (), reach)]


def _once(loop: Callable[[int], None], items: int) -> float:
    began = time.perf_counter()
    loop(items)
    return (time.perf_counter() - began) / items * 1e9


def _over(wrap: Callable[[range], Iterable[int]]) -> Callable[[int], None]:
    def loop(items: int) -> None:
        for _ in wrap(range(items)):
            pass

    return loop


def _calls(items: int) -> None:
    for n in range(items):
        progress(n)


def _advances(items: int) -> None:
    for _ in range(items):
        progress.advance()


LOOPS: dict[str, Callable[[int], None]] = {
    "for": _over(lambda items: items),
    "tqdm": _over(lambda items: tqdm.tqdm(items, file=io.StringIO())),
    "progress.tqdm": _over(progress.tqdm),
    "progress.track": _over(progress.track),
    "progress()": _calls,
    "progress.advance": _advances,
}


@contextmanager
def _job() -> Iterator[None]:
    """Be inside a job; a thread takes its reports, as the courier does, and sends them nowhere."""
    calls = ReportCalls("job", 1, 1, history_limit=10, retention_ms=1000)
    outbox = Outbox(Claim("job", "task", {}, "default", 1, 1, 1, None), calls, lambda _: None)
    outbox.reporter = Reporter(outbox)
    over = threading.Event()

    def take() -> None:
        while not over.wait(REPORT_SECONDS):
            for report in outbox.batch(time.monotonic()):
                outbox.settle(report)

    taking = threading.Thread(target=take, daemon=True)
    taking.start()
    token = HERE.set(Place(outbox.reporter))
    try:
        yield
    finally:
        HERE.reset(token)
        over.set()
        taking.join()
