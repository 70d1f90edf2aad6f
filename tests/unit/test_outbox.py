"""What one attempt still has to say."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from milepost_worker import outbox as module
from milepost_worker.outbox import PENDING_BYTES, PENDING_REPORTS, REPORT_SECONDS, Outbox, Report

from milepost.errors import BadReport, StoreUnavailable
from milepost.job import JobError, Progress, Status
from milepost.log import Call, Claim, ReportCalls
from milepost.reporting import Reporter

CLAIM = Claim("job", "task", {}, "default", 1, 1, 1, None)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(clock: Clock) -> Outbox:
    calls = ReportCalls("job", 1, 1, history_limit=10, retention_ms=1000)
    box = Outbox(CLAIM, calls, lambda _: None, clock)
    box.reporter = Reporter(box)
    return box


def report(box: Outbox, current: float, message: str | None = None) -> None:
    box.reporter.update(box.reporter.meter.root, current, None, message, None)


def end(calls: ReportCalls) -> Call:
    return calls.end(Status.SUCCEEDED, Reporter(Outbox(CLAIM, calls, lambda _: None)).meter.read(0))


def said(reports: list[Report]) -> list[Any]:
    """Return what the reports would tell: a count, a log's message, an output, or the action."""
    told: list[Any] = []
    for call, _ in reports:
        if call.args[3] == "checkpoint":
            told.append(("checkpoint", call.args[5]))
            continue
        if call.args[3] != "event":
            told.append(call.args[3])
            continue
        body = json.loads(f"{{{call.args[6]}}}")
        match call.args[5]:
            case "progress":
                told.append(body["progress"]["current"])
            case "log":
                told.append(body["message"])
            case "output":
                told.append((body["index"], body["data"]))
    return told


def numbers(reports: list[Report]) -> list[Any]:
    return [call.args[2] for call, _ in reports]


def sent(box: Outbox, now: float) -> list[Any]:
    """Send what is due and have it answered."""
    reports = box.batch(now)
    for one in reports:
        box.settle(one)
    return said(reports)


def test_the_latest_progress_wins(outbox: Outbox, clock: Clock) -> None:
    """Ten thousand reports between two sendings are one event."""
    for n in range(10_000):
        report(outbox, n)
    assert sent(outbox, clock.now) == [9999]
    assert sent(outbox, clock.now) == []


def test_progress_leaves_at_most_ten_times_a_second(outbox: Outbox, clock: Clock) -> None:
    """What comes in between waits until it is time, and is then the latest."""
    report(outbox, 1)
    assert outbox.due == 0.0
    assert sent(outbox, clock.now) == [1]
    report(outbox, 2)
    assert outbox.due == pytest.approx(clock.now + REPORT_SECONDS)
    assert sent(outbox, clock.now + REPORT_SECONDS / 2) == []
    report(outbox, 3)
    assert sent(outbox, clock.now + REPORT_SECONDS) == [3]
    assert outbox.due is None


def test_logs_and_outputs_keep_their_order_and_are_never_dropped(outbox: Outbox, clock: Clock) -> None:
    """And progress that was made before a log is not told after it as if it were older."""
    outbox.log("info", "one", None)
    outbox.output({"a": 1})
    outbox.log("info", "two", None)
    outbox.output(2)
    assert sent(outbox, clock.now) == ["one", (0, {"a": 1}), "two", (1, 2)]


def test_the_latest_checkpoint_wins_and_leaves_at_most_ten_times_a_second(
    outbox: Outbox, clock: Clock
) -> None:
    """A loop may say one for each of its items."""
    for n in range(10_000):
        outbox.checkpoint(str(n))
    assert sent(outbox, clock.now) == [("checkpoint", "9999")]
    assert outbox.due is None
    outbox.checkpoint("again")
    assert outbox.due == pytest.approx(clock.now + REPORT_SECONDS)
    assert sent(outbox, clock.now + REPORT_SECONDS / 2) == []
    assert sent(outbox, clock.now + REPORT_SECONDS) == [("checkpoint", "again")]


def test_a_checkpoint_never_overtakes_what_was_said_before_it(outbox: Outbox, clock: Clock) -> None:
    """Whoever goes on from it must find the outputs that it counts on."""
    outbox.output(1)
    outbox.checkpoint("1")
    outbox.output(2)
    assert sent(outbox, clock.now) == [(0, 1), (1, 2), ("checkpoint", "1")]


@pytest.mark.parametrize("action", ["retry", "release"])
def test_the_last_checkpoint_leaves_before_the_report_that_hands_the_job_on(
    outbox: Outbox, clock: Clock, action: str
) -> None:
    """However short before: the next attempt is given it; what comes after the end is not taken."""
    outbox.checkpoint("1")
    sent(outbox, clock.now)
    outbox.checkpoint("2")
    error = JobError(code="exception", message="x")
    outbox.close(
        lambda calls: calls.release() if action == "release" else calls.retry(error, 0), lambda answer: None
    )
    outbox.checkpoint("too late")
    reports = outbox.batch(clock.now)
    assert said(reports) == [("checkpoint", "2"), action]
    assert numbers(reports) == [2, 3]
    for one in reports:
        outbox.settle(one)
    assert outbox.due is None


@pytest.mark.parametrize("tells_progress", [False, True])
def test_the_last_progress_leaves_before_the_end_of_the_attempt(
    outbox: Outbox, clock: Clock, tells_progress: bool
) -> None:
    """However short before; unless the last report tells it itself."""
    report(outbox, 1)
    sent(outbox, clock.now)
    report(outbox, 2)
    outbox.close(end, lambda answer: None, tells_progress=tells_progress)
    assert said(outbox.batch(clock.now)) == (["end"] if tells_progress else [2, "end"])


def test_milestones_are_kept_beside_the_latest_progress(outbox: Outbox, clock: Clock) -> None:
    """Every step's beginning and end is an event of its own."""
    root = outbox.reporter.meter.root
    for name in ("a", "b"):
        with outbox.reporter.step(root, name, 1):
            pass
    reports = outbox.batch(clock.now)
    statuses = [
        [step["status"] for step in json.loads(f"{{{call.args[6]}}}")["progress"]["steps"]]
        for call, _ in reports
    ]
    assert statuses == [["running"], ["succeeded"], ["succeeded", "running"], ["succeeded", "succeeded"]]


def test_a_report_stays_until_it_is_answered(outbox: Outbox, clock: Clock) -> None:
    """A connection that breaks costs nothing: the same reports, with the same numbers, go out again."""
    outbox.log("info", "one", None)
    outbox.log("info", "two", None)
    first = outbox.batch(clock.now)
    again = outbox.batch(clock.now)
    assert numbers(first) == numbers(again) == [1, 2]
    outbox.settle(first[0])
    assert said(outbox.batch(clock.now)) == ["two"]


def test_numbers_are_dense_over_all_kinds_of_reports(outbox: Outbox, clock: Clock) -> None:
    """The log takes each number once, in order; a hole would look like lost history."""
    outbox.log("info", "one", None)
    with pytest.raises(BadReport):
        outbox.output(float("nan"))
    with pytest.raises(BadReport, match="holds at most"):
        outbox.output("x" * (9 << 20))
    outbox.output("fine")
    report(outbox, 1)
    outbox.batch(clock.now)
    outbox.close(end, lambda answer: None)
    reports = outbox.batch(clock.now)
    assert numbers(reports) == [1, 2, 3, 4]
    assert said(reports) == ["one", (0, "fine"), 1, "end"]


def test_a_batch_is_bounded(outbox: Outbox, clock: Clock) -> None:
    """One talkative job does not make the round trip of all others longer."""
    for n in range(500):
        outbox.log("info", str(n), None)
    assert len(outbox.batch(clock.now, most=100)) == 100


def test_nothing_is_accepted_after_the_end(outbox: Outbox, clock: Clock) -> None:
    """A thread that goes on after its timeout talks to nobody, and is not held up."""
    answers: list[str] = []
    outbox.log("info", "before", None)
    outbox.close(end, answers.append)
    outbox.log("info", "after", None)
    outbox.output(1)
    outbox.milestone()
    report(outbox, 99)
    assert outbox.due == 0.0
    assert sent(outbox, clock.now + 10) == ["before", "end"]
    assert outbox.due is None


def test_abandoning_drops_everything_and_names_who_waits(outbox: Outbox, clock: Clock) -> None:
    """The attempt has lost its job: whoever waits for the end's answer must be told."""
    answers: list[str] = []
    outbox.log("info", "one", None)
    outbox.close(end, answers.append)
    for answer in outbox.abandon():
        answer("refused")
    assert answers == ["refused"]
    assert outbox.batch(clock.now) == []
    assert outbox.due is None


def test_settling_what_was_abandoned_takes_nothing_else_away(outbox: Outbox, clock: Clock) -> None:
    """The answer to a report may come when it is not waited for any more, and the end has taken its place."""
    outbox.log("info", "one", None)
    (late,) = outbox.batch(clock.now)
    outbox.abandon()
    outbox.settle(late)
    outbox.close(end, lambda answer: None)
    outbox.settle(late)
    assert said(outbox.batch(clock.now)) == ["end"]


@pytest.mark.parametrize(
    ("size", "limit"), [(1, PENDING_REPORTS), (PENDING_BYTES // 8, 8)], ids=["many", "large"]
)
def test_a_task_waits_for_room_and_goes_on_when_there_is(
    outbox: Outbox, clock: Clock, size: int, limit: int
) -> None:
    """What waits to be sent is bounded in number and in size."""
    for _ in range(limit):
        outbox.log("info", "x" * size, None)
    done = threading.Event()

    def talk() -> None:
        outbox.log("info", "one more", None)
        done.set()

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    assert not done.wait(0.05)
    outbox.settle(outbox.batch(clock.now)[0])
    assert done.wait(10)
    thread.join()


def test_a_task_that_waits_for_room_is_let_go_at_its_end(outbox: Outbox) -> None:
    """A cancelled thread does not hang in a report."""
    for _ in range(PENDING_REPORTS):
        outbox.log("info", "x", None)
    thread = threading.Thread(target=outbox.log, args=("info", "one more", None), daemon=True)
    thread.start()
    outbox.close(end, lambda answer: None)
    thread.join(10)
    assert not thread.is_alive()


def test_a_task_is_told_when_redis_takes_nothing_for_long(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an error that another attempt may not meet: it is not the report that is wrong."""
    monkeypatch.setattr(module, "BACK_PRESSURE_SECONDS", 0.01)
    for _ in range(PENDING_REPORTS):
        outbox.log("info", "x", None)
    with pytest.raises(StoreUnavailable, match="1,000 reports of this job wait to be sent"):
        outbox.log("info", "one more", None)
    assert not issubclass(StoreUnavailable, BadReport)


def test_a_report_that_changes_while_it_is_read_is_sent_again(
    outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flag falls before reading: what a thread reports meanwhile raises it again."""
    report(outbox, 1)
    meter = outbox.reporter.meter
    read = meter.read

    def read_and_report(now: float, at: str | None = None) -> Progress:
        shown = read(now, at)
        report(outbox, 2)
        return shown

    with monkeypatch.context() as patched:
        patched.setattr(meter, "read", read_and_report)
        assert sent(outbox, clock.now) == [1]
    assert sent(outbox, clock.now + REPORT_SECONDS) == [2]
