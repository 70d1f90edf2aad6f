"""Rows about queues: pick-up, no-op jobs, short jobs, beside the others, each on a fresh Redis."""

from __future__ import annotations

import asyncio
import importlib
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from benchmarks.bench import Bench
from benchmarks.peers import NOTES
from benchmarks.processes import SERVER_CORE, run
from benchmarks.report import Reach, Table, times

NOOPS, PAUSES, ROUNDS = 3000, 300, 40


@dataclass(frozen=True)
class Peer:
    """One queue: the module with its jobs, and how its worker is started."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    worker: str | None = None


PEERS = (
    Peer("arq (poll 0.5)", "benchmarks.peers.arq_peer", ("0.5",)),
    Peer("arq (poll 0.01)", "benchmarks.peers.arq_peer", ("0.01",)),
    Peer("saq", "benchmarks.peers.saq_peer"),
    Peer("streaq", "benchmarks.peers.streaq_peer"),
    Peer("celery", "benchmarks.peers.celery_peer"),
    Peer(
        "milepost", "benchmarks.peers.milepost_peer", ("benchmarks.peers.milepost_peer",), "milepost_worker"
    ),
)


@dataclass(frozen=True)
class Figures:
    """What one queue did. Times in seconds."""

    name: str
    pickup_median: float
    pickup_p95: float
    noops_per_second: float
    commands_per_job: float
    pauses_per_second: float


def measure(peer: Peer, url: str) -> Figures:
    """Run the three jobs on one queue; the worker on one core, everything else on the other."""
    module: Any = importlib.import_module(peer.module)
    env = {"MILEPOST_REDIS_URL": url, "MILEPOST_LOG_LEVEL": "error"}
    command = (sys.executable, "-m", peer.worker or peer.module, *peer.arguments)
    with Redis.from_url(url) as redis:
        redis.flushall()
        with run(*command, core=SERVER_CORE, env=env):
            picked_up = sorted(asyncio.run(_pick_ups(module, redis)))
        noops, commands = _throughput(module, redis, command, env, "noop", NOOPS)
        pauses, _ = _throughput(module, redis, command, env, "pause", PAUSES)
    return Figures(
        peer.name,
        statistics.median(picked_up),
        picked_up[int(len(picked_up) * 0.95)],
        noops,
        commands,
        pauses,
    )


def show(bench: Bench) -> list[Table]:
    os.environ["MILEPOST_REDIS_URL"] = bench.url  # the peers' modules read it when they are imported
    found = []
    for peer in PEERS:
        bench.say(peer.name)
        found.append(measure(peer, bench.url))
    lines = [
        (
            one.name,
            f"{one.pickup_median * 1e3:.1f}",
            f"{one.pickup_p95 * 1e3:.1f}",
            f"{one.noops_per_second:,.0f}",
            f"{one.commands_per_job:.1f}",
            f"{one.pauses_per_second:.0f}",
        )
        for one in found
    ]
    ours, arq = found[-1].noops_per_second, found[1].noops_per_second
    reach = Reach(
        "no-op jobs/s through one worker, every event recorded",
        f">= bare arq tuned ({arq:,.0f}/s)",
        f"{ours:,.0f}/s, {times(ours, arq)}",
        ours >= arq,
    )
    title = f"queues: {NOOPS:,} no-op jobs, {PAUSES} of 50 ms, 10 jobs at once (ideal: 200/s)"
    columns = ("", "pick-up ms", "p95", "no-op/s", "commands/job", "50 ms/s")
    return [Table(title, columns, lines, (), [reach])]


async def _pick_ups(module: Any, redis: Redis) -> list[float]:
    """Return the times from the submission to the job's first line, on an idle worker."""
    found = []
    async with module.sender() as send:
        for n in range(ROUNDS + 1):
            await asyncio.sleep(random.uniform(0.05, 0.55))
            began = time.monotonic_ns()
            await send("stamp")
            [noted] = await asyncio.to_thread(_notes, redis, 1, "pick up a job")
            if n:  # the first one may have waited for the worker to start
                found.append((noted - began) / 1e9)
    return found


async def _queue(module: Any, name: str, jobs: int) -> None:
    async with module.sender() as send:
        for _ in range(jobs):
            await send(name, jobs)


def _throughput(
    module: Any, redis: Redis, command: Sequence[str], env: dict[str, str], name: str, jobs: int
) -> tuple[float, float]:
    """Queue all jobs, then start the worker: jobs a second between its first and its last, and commands a job."""
    redis.flushall()
    asyncio.run(_queue(module, name, jobs))
    before = _commands(redis)
    with run(*command, core=SERVER_CORE, env=env):
        first, last = _notes(redis, 2, f"finish {jobs} jobs")
        time.sleep(0.5)  # what is recorded after the last job counts as well
        commands = _commands(redis) - before
    return (jobs - 1) / ((last - first) / 1e9), commands / jobs


def _notes(redis: Redis, count: int, what: str) -> list[int]:
    noted = []
    for _ in range(count):
        found: Any = redis.blpop([NOTES], timeout=120)
        if found is None:
            raise RuntimeError(f"the worker did not {what} within 120 s")
        noted.append(int(found[1]))
    return noted


def _commands(redis: Redis) -> int:
    """Return the commands that Redis has run, those inside scripts included."""
    stats: Any = redis.info("commandstats")
    return sum(int(one["calls"]) for one in stats.values())
