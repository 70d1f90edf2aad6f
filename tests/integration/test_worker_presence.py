"""What a worker says of itself while it works."""

from __future__ import annotations

import signal
import socket

from milepost.log import Catalogue, WorkerInfo
from tests.support.wait import eventually
from tests.support.workers import TASKS, Fleet


async def test_a_worker_says_what_it_runs_and_how_busy_it_is(fleet: Fleet) -> None:
    """And that it drains, as long as it does."""
    process = await fleet.worker(queues="a,b", concurrency=4)
    [idle] = await Catalogue(fleet.redis).workers()
    assert (idle.host, idle.pid, idle.queues, idle.modules) == (
        socket.gethostname(),
        process.pid,
        ["a", "b"],
        [TASKS],
    )
    assert (idle.state, idle.running, idle.load.slots, idle.concurrency) == ("running", [], 0.0, 4)
    assert idle.load.memory_bytes > 10 << 20
    assert idle.load.host >= 0
    assert idle.last_seen_at >= idle.started_at

    marks, go = fleet.file(), fleet.file()
    job_id = await fleet.submit("t.wait_for_file", {"marks": str(marks), "go": str(go)}, queue="b")
    await fleet.running(job_id, marks)

    async def says(state: str) -> WorkerInfo | None:
        [worker] = await Catalogue(fleet.redis).workers()
        return worker if worker.running and worker.state == state else None

    busy = await eventually(lambda: says("running"), "it says what it runs")
    [running] = busy.running
    assert (running.id, running.task, running.attempt) == (job_id, "t.wait_for_file", 1)
    assert idle.started_at <= running.since <= busy.last_seen_at
    assert busy.load.slots == 0.25
    process.send(signal.SIGTERM)
    await eventually(lambda: says("draining"), "it says that it drains")
    go.touch()
    assert process.wait() == 0
    assert await Catalogue(fleet.redis).workers() == []
