"""What Prometheus reads from a worker."""

from __future__ import annotations

import re
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.process import Process
from tests.support.wait import eventually
from tests.support.workers import Fleet


def numbers(worker: Process) -> dict[tuple[str, ...], float]:
    """Return every sample: its name and the values of its labels."""
    [url] = re.findall(r"url=(\S+)", worker.output())
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    return {
        (sample.name.removeprefix("milepost_worker_"), *_values(sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _values(labels: dict[str, str]) -> list[str]:
    return [value for _, value in sorted(labels.items(), reverse=True)]  # the task before the outcome


async def test_attempts_are_counted_by_task_and_outcome(fleet: Fleet) -> None:
    """Each once when it begins and once when it ends, with how long it waited and ran."""
    worker = await fleet.worker(metrics_port=0, concurrency=7)
    marks = fleet.file()
    for n in range(3):
        await fleet.run("t.add", {"a": n})
    await fleet.run("t.raise", {"kind": "lookup"})
    await fleet.run("t.fail", {"marks": str(marks), "until_attempt": 2}, max_attempts=3)
    running = await fleet.submit("t.sleep", {"marks": str(fleet.file())})
    await fleet.running(running)
    seen = await eventually(lambda: _ended(worker, 6), "all is counted")
    assert seen["attempts_ended_total", "t.add", "succeeded"] == 3
    assert seen["attempts_ended_total", "t.raise", "failed"] == 1
    assert seen["attempts_ended_total", "t.fail", "retrying"] == 1
    assert seen["attempts_ended_total", "t.fail", "succeeded"] == 1
    assert seen["attempts_started_total", "t.sleep"] == 1
    assert (seen["slots",], seen["attempts_running",]) == (7, 1)
    assert seen["pick_up_seconds_count",] == 7
    assert seen["attempt_seconds_count", "t.add"] == 3
    assert seen["reports_sent_total",] >= 6
    assert seen["report_seconds_count",] >= 1
    assert seen["process_resident_memory_bytes",] > 1 << 20
    await fleet.log.cancel(running)
    await eventually(lambda: _ended(worker, 7), "the cancelled one too")
    assert numbers(worker)["attempts_ended_total", "t.sleep", "cancelled"] == 1
    await eventually(lambda: numbers(worker)["attempts_running",] == 0, "nothing runs")


def _ended(worker: Process, count: int) -> Any:
    seen = numbers(worker)
    ended = sum(value for (name, *_), value in seen.items() if name == "attempts_ended_total")
    return seen if ended == count else None


async def test_an_attempt_that_lost_its_job_is_counted_as_lost(fleet: Fleet) -> None:
    """Whatever it reports is refused; operators want to know how often that happens."""
    worker = await fleet.worker(metrics_port=0, lease_seconds=60, silence_seconds=50)
    marks, go = fleet.file(), fleet.file()
    job_id = await fleet.submit("t.deaf", {"marks": str(marks), "go": str(go)})
    await fleet.running(job_id, marks)
    await fleet.redis.hset(f"mp:{{{job_id}}}:state", "fence", "1")  # type: ignore[misc]
    go.touch()
    seen = await eventually(lambda: _ended(worker, 1), "it is counted")
    assert seen["attempts_ended_total", "t.deaf", "lost"] == 1


async def test_numbers_are_read_while_a_task_blocks_the_event_loop(fleet: Fleet) -> None:
    """They come from a thread; heartbeats are among them."""
    worker = await fleet.worker(metrics_port=0)
    marks = fleet.file()
    job_id = await fleet.submit("t.block", {"seconds": 3600, "marks": str(marks)})
    await fleet.running(job_id, marks)
    await eventually(lambda: numbers(worker)["heartbeats_sent_total",] >= 2, "heartbeats go on")


async def test_without_a_port_nothing_listens(fleet: Fleet) -> None:
    """Nobody counts what nobody reads."""
    worker = await fleet.worker()
    assert "metrics.ready" not in worker.output()
