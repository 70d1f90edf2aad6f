"""Row: 500 readers that never read, beside 500 that do. What they cost these, and how much memory."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarks.bench import Bench
from benchmarks.report import Reach, Table
from benchmarks.rows.deliveries import COLUMNS, TWICE, WHOSE, line
from benchmarks.sides import MILEPOST
from benchmarks.streams import Run, Standing, standing

STREAMS = SLOW = 500
PER_SECOND = 100.0
FILL_SECONDS = 6.0
"""Until their buffers are full, those that do not read cost what others cost: each event is written to them."""
SECONDS = 12.0
"""From then on: they are held for 10 s, and cut."""
SLOWER = 1.10
BOUND_KB = 755
"""A stream, what the kernel holds of it (twice 64 kB), and a piece of its body, at most as large as a topic's ring,

with what asyncio keeps of it.
"""
PAGE_KB = 4


@dataclass(frozen=True)
class Slow:
    """Two runs, without and with them, and what each of them cost at most: process and kernel together."""

    alone: Run
    beside: Run
    kilobytes_each: float


def measure(bench: Bench) -> Slow:
    streams, slow = bench.scaled(STREAMS), bench.scaled(SLOW)
    events = round(SECONDS * PER_SECOND)
    with standing(bench, MILEPOST, 1, streams) as those:
        bench.say(f"{streams} readers, {PER_SECOND:g} events/s")
        alone = those.publish(events, PER_SECOND)
        bench.say(f"the same beside {slow} that never read")
        with ExitStack() as opened, _Memory(those) as memory:
            those_slow = [opened.enter_context(_never_read(those)) for _ in range(slow)]
            for reader in those_slow:
                reader.recv(1, socket.MSG_PEEK)  # it is open: what opening costs is another row
            those.publish(round(FILL_SECONDS * PER_SECOND), PER_SECOND)
            beside = those.publish(events, PER_SECOND)
    return Slow(alone, beside, memory.most_kb / slow)


def show(bench: Bench) -> list[Table]:
    found = _better(measure(bench), measure(bench))
    change = found.beside.p99 / found.alone.p99
    reach = [
        Reach(
            "p99 beside 500 readers that never read",
            "<= 1.10 x without",
            f"{change:.2f} x",
            found.beside.complete and change <= SLOWER,
        ),
        Reach(
            "memory for each that never reads, process and kernel",
            f"<= {BOUND_KB} kB",
            f"{found.kilobytes_each:.0f} kB",
            found.kilobytes_each <= BOUND_KB,
        ),
    ]
    lines = [line(found.alone, "500 readers"), line(found.beside, "and 500 that never read")]
    note = "Those that never read are opened with a receive buffer of 4 kB, and cut after 10 s."
    return [
        Table(
            "one job, 500 readers beside 500 that never read, 100 events/s",
            COLUMNS,
            lines,
            [note, TWICE, WHOSE],
            reach,
        )
    ]


def _better(one: Slow, other: Slow) -> Slow:
    """Return the better run without them and the better run beside them, and the most that they cost."""
    return Slow(
        min(one.alone, other.alone, key=_lateness),
        min(one.beside, other.beside, key=_lateness),
        max(one.kilobytes_each, other.kilobytes_each),
    )


def _lateness(run: Run) -> tuple[bool, float]:
    return not run.complete, run.p99


def _never_read(those: Standing) -> socket.socket:
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", those.server.port))
    reader.sendall(f"GET {those.path} HTTP/1.1\r\nHost: b\r\n\r\n".encode())
    return reader


class _Memory:
    """Looks again and again how much more the process and the kernel's TCP hold than before."""

    def __init__(self, those: Standing) -> None:
        self._those, self._over, self.most_kb = those, threading.Event(), 0
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._before = self._held()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.25):
            self.most_kb = max(self.most_kb, self._held() - self._before)

    def _held(self) -> int:
        counts = next(
            row.split()
            for row in Path("/proc/net/sockstat").read_text().splitlines()
            if row.startswith("TCP:")
        )
        return self._those.server.process.kilobytes() + int(counts[counts.index("mem") + 1]) * PAGE_KB
