"""Publishes marked log lines at a steady rate: through Milepost's job log, or as the tutorial does.

Log lines, because every reader must get every one of them: of progress, a reader that is behind gets the latest.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from milepost import times
from milepost.log import JobLog, NewJob
from milepost.redis import connect

TEXT = "as long as a line of log is: 20 of 4,000 pictures resized"


async def publish_milepost(url: str, jobs: list[str], events: int, per_second: float) -> None:
    """Report `events` lines in all, round robin over `jobs`, which are claimed first."""
    redis = connect(url)
    log = JobLog(redis)
    taken = await log.take(["default"], "bench", len(jobs), number=1, lease_seconds=600, room={"bench": -1})
    assert {claim.job_id for claim in taken.claims} == set(jobs)
    reports = [log.reports(claim) for claim in taken.claims]
    await _ready()
    began = time.monotonic()
    for n in range(events):
        await _pace(began, n, per_second)
        await log.call(reports[n % len(jobs)].log("info", f"{TEXT} @{time.monotonic_ns()}@", None))
    await redis.aclose()


async def publish_tutorial(url: str, jobs: list[str], events: int, per_second: float) -> None:
    """Publish the same, without history."""
    redis = connect(url)
    await _ready()
    began = time.monotonic()
    for n in range(events):
        await _pace(began, n, per_second)
        event = {"type": "log", "seq": n, "level": "info", "message": f"{TEXT} @{time.monotonic_ns()}@"}
        await redis.publish(f"job:{jobs[n % len(jobs)]}", json.dumps(event))
    await redis.aclose()


async def create(url: str, jobs: list[str]) -> None:
    """Make the jobs, so that streams can be opened before anything is published."""
    redis = connect(url)
    log = JobLog(redis)
    for job_id in jobs:
        await log.create(NewJob(id=job_id, task="bench", queue="bench", created_at=times.now()))
    await redis.aclose()


async def _ready() -> None:
    """Say so, and wait for the word."""
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)


async def _pace(began: float, n: int, per_second: float) -> None:
    ahead = began + n / per_second - time.monotonic()
    if ahead > 0.001:
        await asyncio.sleep(ahead)


def main() -> None:
    side, url, prefix, count, events, per_second = sys.argv[1:]
    jobs = [f"{prefix}{n}" for n in range(int(count))]
    publish = publish_milepost if side == "milepost" else publish_tutorial
    asyncio.run(publish(url, jobs, int(events), float(per_second)))


if __name__ == "__main__":
    main()
