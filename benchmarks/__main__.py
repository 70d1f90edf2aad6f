"""`python3 dev.py bench`: the table of what was promised, measured here and now, beside the usual recipe."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import hotloop, pickup, queues, recorder, streams, submit
from benchmarks.processes import CLIENT_CORE, free_port, pin, wait_for_port
from benchmarks.streams import Row, Shape
from milepost.launch.binary import find_server

SIDES = ("tutorial", "milepost")
SHAPES = {
    "fanout-20": Shape("one job -> 1,000 streams, 20 events/s", 1, 1000, 100, 20),
    "fanout-100": Shape("one job -> 1,000 streams, 100 events/s", 1, 1000, 500, 100),
    "fanout-max": Shape("one job -> 1,000 streams, as fast as it goes", 1, 1000, 1000, 2000),
    "many": Shape("1,000 jobs x 1 stream, 1,000 events/s", 1000, 1000, 5000, 1000),
}
ROWS = (*SHAPES, "pickup", "queues", "hotloop", "recorder", "submit")


@contextmanager
def redis_server(directory: str) -> Iterator[str]:
    """Run a Redis for the benchmark alone, on the client's core."""
    port = free_port()
    program = str(find_server(os.environ))
    process = subprocess.Popen(
        (program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", directory),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    pin(CLIENT_CORE, process.pid)
    try:
        wait_for_port(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)


def show_streams(name: str, url: str, directory: str) -> None:
    """Measure one shape on both sides and print them under each other."""
    shape = SHAPES[name]
    print(f"\n{shape.name}")
    print(
        f"  {'':10} {'delivered':>12} {'per second':>11} {'p50 ms':>8} {'p99 ms':>8} "
        f"{'CPU us each':>12} {'core':>5} {'kB/stream':>10} {'redis conn':>10}"
    )
    rows = [streams.measure(side, shape, url, f"{directory}/{side}-{name}") for side in SIDES]
    for row in rows:
        print(
            f"  {row.side:10} {row.delivered:>7,}/{shape.deliveries:<7,}{row.delivered / row.seconds:>8,.0f}"
            f" {row.p50 * 1e3:>8.1f} {row.p99 * 1e3:>8.1f} {row.cpu_per_delivery * 1e6:>12.1f}"
            f" {row.cpu_share:>5.0%} {row.kb_per_stream:>10.1f} {row.redis_connections:>10}"
        )
    _ratio(*rows)


def _ratio(tutorial: Row, milepost: Row) -> None:
    print(
        f"  milepost delivers {_times(milepost.delivered / milepost.seconds, tutorial.delivered / tutorial.seconds)}"
        f" per second, at {_times(milepost.cpu_per_delivery, tutorial.cpu_per_delivery)} the CPU each"
        f" and {_times(milepost.p99, tutorial.p99)} the p99."
    )


def _times(ours: float, theirs: float) -> str:
    return f"{ours / theirs:.2f} x" if theirs else "?"


def show_pickup(url: str, directory: str) -> None:
    """Measure the pick-up on both sides and print it."""
    print("\nsubmit -> `running` seen on the stream (idle worker, one after the other)")
    found = [pickup.measure(side, url, f"{directory}/{side}-pickup", 60) for side in SIDES]
    for one in found:
        print(
            f"  {one.side:10} median {one.median * 1e3:7.1f} ms   p95 {one.p95 * 1e3:7.1f} ms   "
            f"never seen {one.lost} of 60"
        )
    print(f"  milepost takes {_times(found[1].median, found[0].median)} the tutorial's median.")


def show_queues(url: str) -> None:
    """Measure all the queues and print them under each other."""
    os.environ["MILEPOST_REDIS_URL"] = url  # the peers' modules read it when they are imported
    print(f"\nqueues: 10 jobs at once; {queues.NOOPS:,} no-op jobs, {queues.PAUSES} of 50 ms (ideal: 200/s)")
    print(f"  {'':16} {'pick-up ms':>11} {'p95':>7} {'no-op/s':>9} {'commands/job':>13} {'50 ms/s':>8}")
    for peer in queues.PEERS:
        found = queues.measure(peer, url)
        print(
            f"  {found.name:16} {found.pickup_median * 1e3:>11.1f} {found.pickup_p95 * 1e3:>7.1f}"
            f" {found.noops_per_second:>9,.0f} {found.commands_per_job:>13.1f} {found.pauses_per_second:>8.0f}",
            flush=True,
        )


def show_hotloop() -> None:
    """Measure what reporting costs in a hot loop and print it, as a multiple of tqdm's own loop."""
    print(f"\na loop of {hotloop.ITEMS:,} items, inside a job")
    found = hotloop.measure()
    theirs = next(row.nanoseconds for row in found if row.name == "tqdm")
    for row in found:
        print(
            f"  {row.name:16} {row.nanoseconds:>8.1f} ns an item   {_times(row.nanoseconds, theirs)} tqdm's"
        )


def show_recorder(url: str, directory: str) -> None:
    """Measure the recorder on both databases and print it."""
    print(f"\n{recorder.EVENTS:,} lifecycle events that wait in Redis -> SQL, one recorder on one core")
    for database in recorder.DATABASES:
        found = recorder.measure(database, url, directory)
        print(
            f"  {found.database:10} {found.events / found.seconds:>8,.0f} events/s"
            f"   CPU {found.cpu / found.events * 1e6:>6.0f} us each"
            f"   ends recorded {found.recorded:,} of {recorder.JOBS:,}",
            flush=True,
        )


def show_submit(url: str, directory: str) -> None:
    """Measure who accepts jobs how fast and print it."""
    print(f"\n{submit.SUBMISSIONS:,} submissions, {submit.AT_ONCE} at once, to one process on one core")
    print(f"  {'':20} {'per second':>11} {'CPU us each':>12} {'p50 ms':>8} {'p95 ms':>8}")
    for number, side in enumerate(submit.SIDES):
        found = submit.measure(side, url, f"{directory}/submit-{number}")
        print(
            f"  {found.side:20} {found.per_second:>11,.0f} {found.cpu_each * 1e6:>12.0f}"
            f" {found.median * 1e3:>8.1f} {found.p95 * 1e3:>8.1f}",
            flush=True,
        )


def main() -> None:
    """Parse the rows wanted and measure them, one after the other."""
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"which rows: {', '.join(ROWS)} (default: all)"
    )
    wanted = parser.parse_args().rows or list(ROWS)
    for row in wanted:
        if row not in ROWS:
            parser.error(f"there is no row {row!r}; choose from {', '.join(ROWS)}")
    streams.raise_file_limit()
    pin(CLIENT_CORE)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}: read these as ratios."
    )
    with tempfile.TemporaryDirectory() as directory, redis_server(directory) as url:
        for row in wanted:
            Path(directory, f"{row}").mkdir()
            if row == "pickup":
                show_pickup(url, directory)
            elif row == "queues":
                show_queues(url)
            elif row == "hotloop":
                show_hotloop()
            elif row == "submit":
                show_submit(url, directory)
            elif row == "recorder":
                show_recorder(url, directory)
            else:
                show_streams(row, url, directory)


if __name__ == "__main__":
    main()
