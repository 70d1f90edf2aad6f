"""Row: what the client itself can take, fed by something that does nothing but write."""

from __future__ import annotations

import math
import select
import subprocess
import time
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.processes import SERVER_CORE, free_port, told
from benchmarks.reader import Reader, Readings
from benchmarks.report import Reach, Table

STREAMS = 1000
SECONDS = 2.0
AT_ONCE = (1, 100)
CEILING = 1_500_000
"""Half as much again as the best prototype of Milepost's writing loop has delivered."""

PROMISED = f"> {CEILING:,} deliveries for each second of its CPU"
TITLE = "the client by itself: how much it takes from 1,000 sockets on its core"
COLUMNS = ("", "deliveries/s", "writes/s", "reads/s", "client", "deliveries/CPU s", "all counted")
FED = (
    "Fed by a process that only writes prepared bytes. The column `client` of the rows below says how far from this "
    "the client was with each server."
)


@dataclass(frozen=True)
class Ceiling:
    """What was written, `at_once` events together, and what the client made of it."""

    at_once: int
    written: int
    writes: int
    seconds: float
    client_cpu: float
    seen: Readings

    @property
    def per_core(self) -> float:
        """Deliveries a second, if it had the core to itself all the time: the machine may be busy with other things."""
        return self.seen.deliveries / self.client_cpu


def measure(bench: Bench) -> list[Ceiling]:
    streams, port = bench.scaled(STREAMS), free_port()
    feeding = told("benchmarks.servers.feeder", str(port), str(streams), core=SERVER_CORE)
    with feeding as feeder, Reader(port) as reader:
        reader.open(["/"] * streams, b"\r\n\r\n", 30)
        return [_once(bench, feeder, reader, at_once) for at_once in AT_ONCE]


def _once(bench: Bench, feeder: subprocess.Popen[bytes], reader: Reader, at_once: int) -> Ceiling:
    bench.say(f"the client itself, {at_once} events in a write")
    assert feeder.stdin is not None
    assert feeder.stdout is not None
    seconds = SECONDS * min(1.0, bench.scale * 10)
    own, began = time.process_time(), time.monotonic()
    feeder.stdin.write(f"{at_once} {seconds}\n".encode())
    feeder.stdin.flush()
    seen = reader.read(deliveries=math.inf, seconds=seconds)
    while not select.select([feeder.stdout], [], [], 0)[0]:  # it cannot end while nobody reads what it writes
        reader.read(deliveries=math.inf, seconds=0.1, seen=seen)
    written, writes = map(int, feeder.stdout.readline().split())
    reader.read(deliveries=written, seconds=20, seen=seen)  # what the sockets still hold
    own = time.process_time() - own
    return Ceiling(at_once, written, writes, seen.last - began, own, seen)


def show(bench: Bench) -> list[Table]:
    found = measure(bench)
    lines = [
        (
            f"{one.at_once} in a write",
            f"{one.seen.deliveries / one.seconds:,.0f}",
            f"{one.writes / one.seconds:,.0f}",
            f"{one.seen.reads / one.seconds:,.0f}",
            f"{one.client_cpu / one.seconds:.0%}",
            f"{one.per_core:,.0f}",
            "yes" if one.seen.deliveries == one.written else f"{one.seen.deliveries:,} of {one.written:,}",
        )
        for one in found
    ]
    most = max(one.per_core for one in found)
    reached = Reach("the client's own ceiling", PROMISED, f"{most:,.0f}", most > CEILING)
    return [Table(TITLE, COLUMNS, lines, [FED], [reached])]
